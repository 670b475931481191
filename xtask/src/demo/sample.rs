//! A small run, made by hand, for the tests: four nodes, three rounds and a closing one, one node
//! killed in round 2.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::arguments::Arguments;
use super::checks;
use super::events::{Timed, Validation};
use super::exhibit::{Exhibit, Tests};
use super::metrics::{
    Completion, Continuation, Metrics, MostFrequent, Pooled, PooledRun, Quality, Run,
};
use super::png::Picture;
use super::record::Record;
use super::statistics::ByteTest;

/// The nodes' names; hana is killed.
pub(crate) const NAMES: [&str; 4] = ["amara", "bruno", "chiara", "hana"];

fn parse<E: DeserializeOwned>(events: Vec<Value>) -> Vec<E> {
    let timed = |mut event: Value| {
        event["t_ms"] = json!(1.0);
        serde_json::from_value::<Timed<E>>(event).unwrap().event
    };
    events.into_iter().map(timed).collect()
}

fn validation(round: u64) -> Value {
    let loss = 7.6 - f64::from(u32::try_from(round).unwrap());
    json!({ "loss": loss, "perplexity": loss.exp(), "top1": 0.05 * round as f64,
            "top3": 0.08 * round as f64, "tokens": 2345,
            "personal": { "loss": loss - 0.1, "top1": 0.06 * round as f64, "top3": 0.09 * round as f64 } })
}

/// What all processes wrote.
pub(crate) fn record() -> Record {
    let mut coordinator = vec![json!({ "event": "listening", "addr": "127.0.0.1:1" })];
    for name in NAMES {
        let client = format!("id-of-{name}");
        coordinator.push(json!({ "event": "node_connected", "client": client, "name": name }));
    }
    let mut nodes: Vec<(String, Vec<Value>)> = NAMES
        .iter()
        .map(|name| ((*name).to_owned(), Vec::new()))
        .collect();
    for round in 1..=4_u64 {
        let trains = round < 4;
        let at = json!({ "round": round, "attempt": 1 });
        let with = |mut event: Value| {
            event["round"] = at["round"].clone();
            event["attempt"] = at["attempt"].clone();
            event
        };
        coordinator.push(with(
            json!({ "event": "round_started", "kind": "train", "selected": 4 }),
        ));
        let dead = |name: &str| round == 2 && name == "hana";
        for (name, events) in &mut nodes {
            for (kind, wall, cpu) in [
                ("evaluation", 40.0, 30.0),
                ("training", if trains { 700.0 } else { 0.0 }, 350.0),
                ("cryptography", 5.0, 3.5),
                ("network", 25.0, 0.0),
                ("waiting", 230.0, 0.0),
            ] {
                events.push(with(json!({
                    "event": "span", "kind": kind, "name": kind, "start_ms": 1.0,
                    "wall_ms": wall, "cpu_ms": cpu,
                })));
            }
            if !dead(name) {
                events.push(with(
                    json!({ "event": "bytes", "up": 250_000, "down": 420_000 }),
                ));
                coordinator.push(with(json!({
                    "event": "upload", "client": format!("id-of-{name}"), "name": name,
                    "bytes": 240_000, "blake3": format!("{name}-{round}"),
                })));
            }
        }
        let lost = json!([{ "client": "id-of-hana", "name": "hana", "reason": "connection lost" }]);
        for (phase, wall) in [
            ("train", 750.0),
            ("share-keys", 60.0),
            ("masked-input", 90.0),
            ("unmask", 40.0),
        ] {
            let lost = if round == 2 && phase == "masked-input" {
                lost.clone()
            } else {
                json!([])
            };
            coordinator.push(with(json!({
                "event": "phase", "phase": phase, "wall_ms": wall, "have": 4, "lost": lost,
            })));
        }
        coordinator.push(with(json!({
            "event": "round_complete", "kind": if trains { "train" } else { "evaluate-only" },
            "contributors": if round == 2 { 3 } else { 4 }, "wall_ms": 1010.0,
            "train_loss": trains.then_some(7.0 - 0.5 * round as f64),
            "validation": validation(round),
        })));
    }
    coordinator.push(json!({ "event": "finished", "rounds": 3, "reason": "all rounds are done" }));
    Record {
        coordinator: parse(coordinator),
        nodes: nodes
            .into_iter()
            .map(|(name, events)| (name, parse(events)))
            .collect(),
        killed: vec![("hana".to_owned(), 2, "masked-input".to_owned())],
    }
}

/// What that run has shown.
pub(crate) fn metrics() -> Metrics {
    let record = record();
    let (before, after) = record.before_and_after().unwrap();
    let arguments = arguments();
    let pooled = Validation {
        top1: 0.21,
        personal: None,
        ..after
    };
    let continuation = |text: &str| Continuation {
        text: text.to_owned(),
        suggestions: vec![("later".to_owned(), 0.31), ("<end>".to_owned(), 0.11)],
    };
    let noise = ByteTest {
        bytes: 300_000,
        chi_square: 251.3,
        p: 0.55,
    };
    let pattern = ByteTest {
        bytes: 300_000,
        chi_square: 1.2e6,
        p: 0.0,
    };
    let tests = |bytes: ByteTest, correlation: f64, looks_like_noise| Tests {
        bytes,
        correlation,
        correlation_limit: 0.0115,
        looks_like_noise,
    };
    let pixels = |factor: u32| {
        let pixels = (0..96 * 64)
            .map(|n| u8::try_from(n * factor % 97 % 3).unwrap())
            .collect();
        Picture::new(
            96,
            vec![[24, 78, 170], [244, 243, 238], [196, 82, 8]],
            pixels,
        )
        .unwrap()
    };
    let mut metrics = Metrics {
        run: Run {
            corpus: None,
            validation: None,
            vocabulary_from: "public.txt".to_owned(),
            vocabulary: 2_000,
            nodes: 4,
            rounds: 3,
            kill: 1,
            threat_model: "honest-but-curious".to_owned(),
            seed: 1,
            parameters: 120_000,
            federated_seconds: 31.0,
            pooled_seconds: 62.0,
            total_seconds: 97.0,
            cores: 2,
        },
        settings: arguments.settings().unwrap(),
        quality: Quality {
            before,
            after,
            pooled: Some(Pooled {
                optimizer: "adam".to_owned(),
                rate: 0.002,
                epoch: 7,
                most_epochs: 9,
                validation: pooled,
                tried: vec![PooledRun {
                    optimizer: "adam".to_owned(),
                    rate: 0.002,
                    epochs: 9,
                    top1: 0.21,
                    ended: None,
                }],
            }),
            most_frequent: Some(MostFrequent {
                token: ".".to_owned(),
                top1: 0.101,
            }),
        },
        rounds: record.rounds(),
        time: record.time(),
        traffic: record.traffic(120_000),
        nodes: record.nodes(),
        deaths: record.deaths(),
        completions: vec![Completion {
            phrase: "see you".to_owned(),
            before: continuation("zebra zebra"),
            after: continuation("at <home> & bring tea."),
        }],
        exhibit: Exhibit {
            node: "bruno".to_owned(),
            round: 2,
            contributors: 3,
            plain_mean: true,
            elements: 120_000,
            bits: 20,
            sent_blake3: "ab".repeat(32),
            received_blake3: "ab".repeat(32),
            masked: tests(noise, 0.0012, true),
            unmasked: tests(pattern, 0.99, false),
            sum_correlation: 0.41,
            pictures: Some([pixels(1), pixels(7919), pixels(3)]),
        },
        checks: Vec::new(),
    };
    metrics.checks = checks::checks(&metrics);
    metrics
}

fn arguments() -> Arguments {
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    Line::parse_from([
        "demo",
        "--honest-but-curious",
        "--nodes",
        "4",
        "--rounds",
        "3",
        "--kill",
        "1",
    ])
    .arguments
}
