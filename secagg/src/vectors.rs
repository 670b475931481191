//! The building blocks of `specs/vectors/primitives.json`, which the reference implementation in
//! `specs/reference` has written. Whole rounds and refusals are checked in `tests/vectors.rs`.

use alloc::{string::ToString, vec, vec::Vec};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    chooser, decoding,
    graph::{Graph, coordinate},
    identity::{Federation, IdentityKey, SigningIdentity},
    mask::{self, Mask},
    params::ThreatModel,
    primitives::{self, PublicKey},
    secret::{Key, Seed, Share},
    shamir::{self, Coefficients},
    vector::{Layout, Segment, Vector},
    words::Sign,
};

fn file() -> Value {
    serde_json::from_str(include_str!("vectors/primitives.json")).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    let bytes = (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16));
    bytes.map(Result::unwrap).collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    unhex(value).try_into().unwrap()
}

fn number(value: &Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn index(value: &Value) -> usize {
    number(value) as usize
}

#[test]
fn public_keys_are_accepted_and_refused() {
    let group = &file()["ristretto255"];
    let accepted = |value| PublicKey::from_bytes(array(value)).is_some();
    let multiples = list(&group["multiples_of_base"]);
    assert!(multiples.iter().skip(1).all(accepted));
    assert!(!list(&group["refused"]).iter().any(accepted));
}

#[test]
fn identities_and_credentials_are_those_of_the_file() {
    let identities = &file()["identities"];
    let authority = SigningIdentity::from_seed(&array(&identities["authority"]));
    let federation = Federation(array(&identities["federation"]));
    for each in list(&identities["each"]) {
        let key = SigningIdentity::from_seed(&array(&each["secret"]));
        assert_eq!(*key.public().as_bytes(), array(&each["public"]));
        assert_eq!(*key.client_id().as_bytes(), array(&each["id"]));
        let credential = authority.issue(key.public(), federation, number(&each["expiry"]).into());
        assert_eq!(credential.encode(), unhex(&each["credential"]));
    }
}

#[test]
fn signatures_are_verified_strictly() {
    let signatures = &file()["signatures"];
    assert_eq!(signatures["label"], "survivors-signature");
    let parts: Vec<Vec<u8>> = list(&signatures["parts"]).iter().map(unhex).collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    for each in list(&signatures["each"]) {
        let key = IdentityKey::from_bytes(array(&each["public"]));
        let valid = key.verifies(
            primitives::label::SURVIVORS_SIGNATURE,
            &parts,
            &array(&each["signature"]),
        );
        assert_eq!(each["valid"], valid, "{}", each["comment"]);
    }
}

#[test]
fn graphs_are_those_of_the_file() {
    for each in list(&file()["graphs"]) {
        let graph = Graph::new(
            index(&each["n"]),
            number(&each["k"]),
            &array(&each["roster_digest"]),
        );
        for (rank, expected) in list(&each["neighbours"]).iter().enumerate() {
            let neighbours = graph.neighbours(rank);
            assert!(neighbours.eq(list(expected).iter().map(index)));
        }
    }
}

#[test]
fn shares_are_dealt_and_combined() {
    for each in list(&file()["shares"]) {
        let expected = list(&each["shares"]);
        let threshold = number(&each["threshold"]);
        let seed = Seed::from_bytes(array(&each["seed"]));
        let mut coins = ChaCha20Rng::from_seed(array(&each["coins"]));
        let holders = u32::try_from(expected.len()).unwrap();
        let shares = shamir::split(&seed, threshold, holders, &mut coins);
        let dealt = shares.iter().map(|share| *share.as_bytes());
        assert!(dealt.eq(expected.iter().map(array)));
        let last = shares.len() - threshold as usize..shares.len();
        let coordinates: Vec<u16> = last.clone().map(coordinate).collect();
        let combined = Coefficients::new(&coordinates)
            .unwrap()
            .reconstruct(&shares[last]);
        assert_eq!(combined.as_bytes(), seed.as_bytes());
    }
}

#[test]
fn wrong_shares_are_found_up_to_the_bound() {
    for each in list(&file()["corrected"]) {
        let shares = list(&each["shares"]).iter();
        let shares: Vec<Share> = shares.map(|s| Share::from_bytes(array(s))).collect();
        let coordinates: Vec<u16> = (0..shares.len()).map(coordinate).collect();
        let shares: Vec<&Share> = shares.iter().collect();
        // What the advert commits to; where nothing can be found, it is of no account.
        let seed = (!each["seed"].is_null()).then(|| array(&each["seed"]));
        let threshold = index(&each["threshold"]);
        let found = decoding::correct(&coordinates, &shares, threshold, |found| {
            Some(*found.as_bytes()) == seed
        });
        let wrong = found.map(|found| {
            let coordinates = found.wrong.into_iter().map(|place| place as u64 + 1);
            coordinates.collect::<Vec<u64>>()
        });
        let expected = list(&each["wrong"]).iter().map(|x| x.as_u64().unwrap());
        assert_eq!(wrong, seed.map(|_| expected.collect()));
    }
}

#[test]
fn masks_are_expanded_and_packed() {
    for each in list(&file()["masks"]) {
        let (bits, segment) = (
            u8::try_from(number(&each["bits"])).unwrap(),
            index(&each["segment"]),
        );
        let segments = (0..=segment).map(|i| {
            let (name, last) = (i.to_string(), i == segment);
            Segment::new(&name, if last { number(&each["count"]) } else { 1 }, bits).unwrap()
        });
        let mut vector = Vector::zero(&Layout::new(segments.collect()).unwrap());
        let (key, sign) = (Key::from_bytes(array(&each["key"])), Sign::Plus);
        mask::apply(&[Mask { key, sign }], &mut vector);
        vector.reduce();
        let last = &vector.layout().segments()[segment];
        let elements: Vec<u64> = vector.segment(last.name()).unwrap().collect();
        let expected = list(&each["first"]).iter().map(|x| x.as_u64().unwrap());
        assert!(expected.eq(elements.iter().copied().take(8)));
        assert_eq!(each["last"], *elements.last().unwrap());
        let mut packed = vec![];
        vector.pack(&mut packed);
        let packed = &packed[packed.len() - last.packed_len()..];
        let digest: [u8; 32] = Sha256::digest(packed).into();
        assert_eq!(digest, array(&each["sha256_of_packed"]));
    }
}

#[test]
fn thresholds_are_those_that_exact_arithmetic_gives() {
    for each in list(&file()["min_threshold"]) {
        let model = match number(&each["model"]) {
            1 => ThreatModel::HonestButCurious,
            _ => ThreatModel::Malicious,
        };
        let bits = chooser::security_bits(model).into();
        let [n, k, corrupt] = ["n", "k", "corrupt"].map(|what| number(&each[what]));
        let least = chooser::min_threshold(model, n, k, corrupt, bits);
        assert_eq!(each["threshold"], least, "{each}");
    }
}
