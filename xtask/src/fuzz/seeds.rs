//! What the fuzzer begins with: the messages, rounds and shares of `specs/vectors`, in the form that
//! each target reads.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Seeds by target.
type Seeds = BTreeMap<&'static str, Vec<Vec<u8>>>;

/// Targets of decoders by the number of their message's kind.
const MESSAGES: [&str; 9] = [
    "secagg_advert",
    "secagg_roster",
    "secagg_share_keys",
    "secagg_delivery",
    "secagg_masked_input",
    "secagg_survivors",
    "secagg_unmask_shares",
    "secagg_consistency_check",
    "secagg_signatures",
];

/// Bytes before a message's body.
const HEADER: usize = 18;

/// Writes the seeds into a folder for each target.
///
/// # Errors
///
/// When the vectors cannot be read or the seeds cannot be written.
pub(super) fn write(vectors: &Path, corpus: &Path) -> Result<()> {
    let read = |name: &str| -> Result<Value> {
        let path = vectors.join(name);
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
    };
    let seeds = seeds(
        &read("primitives.json")?,
        &read("rounds.json")?,
        &read("negative.json")?,
    );
    for (target, seeds) in seeds {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for (number, seed) in seeds.iter().enumerate() {
            let path = folder.join(format!("vector-{number:03}"));
            fs::write(&path, seed).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

fn seeds(primitives: &Value, rounds: &Value, negative: &Value) -> Seeds {
    let mut seeds = Seeds::new();
    for each in list(&primitives["identities"]["each"]) {
        add(&mut seeds, "secagg_credential", unhex(&each["credential"]));
    }
    for each in list(&primitives["corrected"]) {
        add(&mut seeds, "secagg_shamir", shares(each));
    }
    for round in list(&rounds["rounds"]) {
        let parameters = unhex(&round["session"]["parameters"]);
        if let Some(session) = session(&parameters, list(&round["clients"]).len()) {
            add(&mut seeds, "secagg_server", operations(round, session));
            add(&mut seeds, "secagg_client", shown(round, session));
        }
        add(&mut seeds, "secagg_parameters", parameters);
        for event in list(&round["events"]) {
            message(&mut seeds, &event[2]);
        }
    }
    for case in list(&negative["cases"]) {
        match case["to"].as_str() {
            Some("parameters") => {
                add(&mut seeds, "secagg_parameters", unhex(&case["message"]));
            }
            _ => message(&mut seeds, &case["message"]),
        }
    }
    seeds
}

fn add(seeds: &mut Seeds, target: &'static str, seed: Vec<u8>) {
    seeds.entry(target).or_default().push(seed);
}

/// The body of a message, for the decoder of its kind: the targets put a header before it.
fn message(seeds: &mut Seeds, hex: &Value) {
    let bytes = unhex(hex);
    let kind = bytes.get(1).map(|kind| usize::from(*kind));
    let target = kind.and_then(|kind| MESSAGES.get(kind.checked_sub(1)?));
    if let (Some(target), Some(body)) = (target, bytes.get(HEADER..)) {
        add(seeds, target, body.to_vec());
    }
}

/// The number of the target's session that is most like this one; `None` for a cohort larger than
/// any.
fn session(parameters: &[u8], cohort: usize) -> Option<u8> {
    let [_, model @ 1..=2, graph @ 1..=2, ..] = *parameters else {
        return None;
    };
    (cohort <= 8).then_some(4 * (model - 1) + 2 * (graph - 1))
}

/// A round as operations on the server: see `fuzz/src/server.rs`.
fn operations(round: &Value, session: u8) -> Vec<u8> {
    let mut seed = vec![session];
    let mut closed = false;
    for event in list(&round["events"]) {
        let client = |operation: u8| (byte(&event[1]) << 4) | operation;
        match event[0].as_str() {
            Some("up") => seed.push(client(0)),
            // A wrong share, or a box that does not open.
            Some("forged") => seed.extend([client(8), 0, 0, 0, 2, 3, 1]),
            Some("drop") => seed.push(client(11)),
            Some("close") => {
                seed.push(13);
                if !closed {
                    seed.extend(degree_and_threshold(round));
                }
                closed = true;
            }
            _ => {}
        }
    }
    seed
}

/// The choices that give a round's degree and threshold.
fn degree_and_threshold(round: &Value) -> [u8; 2] {
    let (degree, threshold) = (byte(&round["degree"]), byte(&round["threshold"]));
    let complete = usize::from(degree) + 1 == list(&round["clients"]).len();
    // The first of the numbers from 0x80 up that is degree / 2 − 1 modulo 3.
    let ring = (0x80..=0x82).find(|byte| 2 * (1 + byte % 3) == degree);
    [
        if complete { 0 } else { ring.unwrap_or(0) },
        0x80 + threshold.saturating_sub(2),
    ]
}

/// What an honest server shows one client: see `fuzz/src/client.rs`.
fn shown(round: &Value, session: u8) -> Vec<u8> {
    let cohort = list(&round["clients"]).len();
    // The first client; the policy's floors, of which the second is for one corrupt client.
    let mut seed = vec![session, 0, 0, 1, 0, 0, 0];
    // Who is absent; the ninth, too, who shares a bit with the first.
    let present = (1_u16 << cohort) - 2;
    seed.push(!(present.to_le_bytes()[0]));
    // Adverts as they are.
    seed.extend(vec![0; cohort]);
    seed.extend(degree_and_threshold(round));
    // Everybody shares, survives and signs.
    seed.extend([0; 40]);
    seed
}

/// Shares with errors: see `fuzz/src/shamir.rs`.
fn shares(each: &Value) -> Vec<u8> {
    let holders = u8::try_from(list(&each["shares"]).len()).unwrap_or(48);
    let threshold = byte(&each["threshold"]);
    let wrong = list(&each["wrong"]);
    let mut seed = vec![holders - 1, threshold - 1];
    seed.extend([7; 64]);
    // All answer, in order.
    seed.push(holders - threshold);
    seed.extend(vec![0; holders.into()]);
    seed.push(u8::try_from(wrong.len()).unwrap_or(0));
    for coordinate in wrong {
        let place = byte(coordinate).saturating_sub(1);
        seed.extend([place, 3, 1, 5]);
    }
    seed
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn byte(value: &Value) -> u8 {
    value
        .as_u64()
        .and_then(|number| u8::try_from(number).ok())
        .unwrap_or(0)
}

/// The bytes of a string of hexadecimal digits; none for anything else.
fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default();
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    pairs.iter().map_while(byte).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workspace;

    #[test]
    fn every_vector_target_gets_seeds() {
        let folder = tempfile::tempdir().unwrap();
        let vectors = workspace::root().join("specs/vectors");
        write(&vectors, folder.path()).unwrap();
        let others = [
            "secagg_client",
            "secagg_credential",
            "secagg_parameters",
            "secagg_server",
            "secagg_shamir",
        ];
        for target in MESSAGES.iter().chain(&others) {
            assert!(folder.path().join(target).join("vector-000").is_file());
            let source = format!("fuzz/fuzz_targets/{target}.rs");
            assert!(workspace::root().join(source).is_file(), "{target}");
        }
    }

    #[test]
    fn a_round_becomes_operations() {
        let round = json!({
            "degree": 4, "threshold": 3, "clients": [{}, {}, {}, {}, {}, {}],
            "events": [["up", 1, "00"], ["drop", 2], ["down", 0, "00"], ["close"], ["close"]],
        });
        let expected = [6, 0x10, 0x2b, 13, 0x82, 0x81, 13];
        assert_eq!(operations(&round, 6), expected);
        assert_eq!(session(&[1, 2, 2, 40], 6), Some(6));
        assert_eq!(session(&[1, 2, 2, 40], 9), None);
    }
}
