//! What the pieces of the protocol cost on one thread, beside what limits them: the keystream beside
//! OpenSSL's, where that is installed, a mask beside the keystream that it takes at OpenSSL's
//! rate, shares beside those of `blahaj`, agreements in batches beside single ones, and on each path
//! beside a single one of `curve25519-dalek`.
//!
//! `--only TEXT` measures what has the text in its name, `--json FILE` writes the figures.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap ends the benchmark"
)]

mod harness;

use std::hint::black_box;

use harness::{Report, argument, median, openssl_rate};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use secagg::{
    Context, GraphKind, Layout, Parameters, Segment, Session, ThreatModel, Vector,
    internals::bench::{self, Agreeing, Agreements, Combination, Dealt},
};

const ELEMENTS: u32 = 100_000;

fn main() {
    let mut report = Report::default();
    let only = argument("--only").unwrap_or_default();
    let wanted = |name: &str| name.contains(&only);
    // First, so that the machine is the same for the keystreams.
    let openssl = wanted("mask").then(openssl_rate).flatten();
    for (path, masking) in bench::paths() {
        let name = format!("keystream/{path}");
        if wanted(&name) || wanted("mask") {
            let mut buffer = Box::new([[[0; 64]; 16]; 16]);
            let seconds = median(|| {
                for _ in 0..1_000 {
                    masking.keystream(black_box(&mut buffer));
                }
            });
            let rate = size_of_val(&*buffer) as f64 * 1e-6 / seconds;
            report.add_rate(&name, rate, "GB/s", openssl);
        }
        for bits in [8, 16, 20, 24, 32, 48, 64] {
            for (sign, on) in [("", true), ("/off", false)] {
                let name = format!("mask/b{bits}/{path}{sign}");
                if wanted(&name) {
                    let limit = openssl.map(|rate| mask_bytes(bits) / rate);
                    let mut vector = vector(bits);
                    let seconds = median(|| masking.masks(20, on, black_box(&mut vector)));
                    let elements = 20.0 * f64::from(ELEMENTS);
                    report.add(&name, seconds * 1e9 / elements, "ns/element", limit);
                }
            }
        }
    }
    packing(&mut report, &wanted);
    sharing(&mut report, &wanted);
    agreements(&mut report, &wanted);
    report.finish();
}

/// Bytes of keystream for an element of so many bits.
fn mask_bytes(bits: u8) -> f64 {
    match bits {
        ..=24 => f64::from(bits) / 8.0,
        25..=32 => 4.0,
        _ => 8.0,
    }
}

fn vector(bits: u8) -> Vector {
    Vector::zero(session(bits).layout())
}

fn session(bits: u8) -> Session {
    let segment = Segment::new("update", ELEMENTS, bits).unwrap();
    let (model, graph) = (ThreatModel::HonestButCurious, GraphKind::Complete);
    let layout = Layout::new(vec![segment]).unwrap();
    let context = Context {
        round: 1,
        nonce: [7; 32],
        model_digest: [0; 32],
        plan_digest: [0; 32],
    };
    Session::new(
        Parameters::new(model, graph, 3..=100, layout).unwrap(),
        context,
    )
}

fn packing(report: &mut Report, wanted: &impl Fn(&str) -> bool) {
    for bits in [8, 16, 20, 24, 32, 48, 64] {
        let per_element = 1e9 / f64::from(ELEMENTS);
        let mut vector = vector(bits);
        let mut bytes = Vec::with_capacity(vector.layout().packed_len());
        let name = format!("pack/b{bits}");
        if wanted(&name) {
            let seconds = median(|| {
                bytes.clear();
                bench::pack(black_box(&vector), &mut bytes);
            });
            report.add(&name, seconds * per_element, "ns/element", None);
        }
        let name = format!("unpack/b{bits}");
        if wanted(&name) {
            bytes.resize(vector.layout().packed_len(), 0);
            let seconds = median(|| bench::add_packed(black_box(&mut vector), &bytes));
            report.add(&name, seconds * per_element, "ns/element", None);
        }
    }
}

fn sharing(report: &mut Report, wanted: &impl Fn(&str) -> bool) {
    let mut rng = ChaCha20Rng::from_seed([4; 32]);
    for (threshold, holders) in [(51_u16, 100_u16), (170, 255), (667, 1000)] {
        let setting = format!("{threshold}-of-{holders}");
        if !wanted(&format!("share/{setting}")) {
            continue;
        }
        let sharks = u8::try_from(holders).ok().zip(u8::try_from(threshold).ok());
        let sharks = sharks.map(|(holders, threshold)| (holders, blahaj::Sharks(threshold)));
        let theirs = sharks.map(|(holders, sharks)| {
            let dealt: Vec<blahaj::Share> = sharks.dealer(&[7; 32]).take(holders.into()).collect();
            let share = median(|| {
                let dealer = sharks.dealer(&[7; 32]);
                black_box(dealer.take(holders.into()).collect::<Vec<_>>());
            });
            let needed = &dealt[..threshold.into()];
            let open = median(|| drop(black_box(sharks.recover(needed).unwrap())));
            (share, open)
        });
        let dealt = Dealt::new(threshold.into(), holders.into(), &mut rng);
        let share = median(|| {
            black_box(Dealt::new(threshold.into(), holders.into(), &mut rng));
        });
        let prepare = median(|| drop(black_box(Combination::new(threshold, holders))));
        let combination = Combination::new(threshold, holders);
        let open = median(|| drop(black_box(dealt.open(&combination))));
        for (what, seconds, theirs) in [
            ("share", share, theirs.map(|theirs| theirs.0)),
            ("coefficients", prepare, None),
            ("reconstruct", open, theirs.map(|theirs| theirs.1)),
        ] {
            let limit = theirs.map(|seconds| seconds * 1e6);
            report.add(&format!("{what}/{setting}"), seconds * 1e6, "µs", limit);
        }
    }
}

fn agreements(report: &mut Report, wanted: &impl Fn(&str) -> bool) {
    if !wanted("agreement") {
        return;
    }
    let agreeing = Agreeing::new(&session(20), 64);
    let [single, batched] = [1, 64].map(|at_once| median(|| agreeing.agree(at_once)) * 1e6 / 64.0);
    report.add("agreement/single", single, "µs", None);
    report.add("agreement/batch", batched, "µs", Some(single));
    let agreements = Agreements::new(&session(20), 64);
    let measure = |work: &dyn Fn() -> usize| {
        let count = work() as f64;
        let seconds = median(|| {
            black_box(work());
        });
        seconds * 1e6 / count
    };
    let paths = bench::paths();
    let limit = paths
        .last()
        .map(|(_, plain)| measure(&|| plain.agree_with_each(&agreements, 1)));
    for (path, processor) in paths {
        let path = if path == "portable" { "dalek" } else { path };
        let mut add = |name: &str, work: &dyn Fn() -> usize| {
            report.add(
                &format!("agreement/{name}/{path}"),
                measure(work),
                "µs",
                limit,
            );
        };
        for (name, count) in [("with-each", 64), ("with-each-of-8", 8)] {
            let work = || processor.agree_with_each(&agreements, count);
            add(name, &work);
        }
        let settings = [("by-each", 8, 26), ("one-by-each", 1, 26), ("by-few", 8, 4)];
        for (name, keys, scalars) in settings {
            let work = || processor.agree_by_each(&agreements, keys, scalars);
            add(name, &work);
        }
    }
}
