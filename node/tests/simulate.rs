//! Simulations, as a user runs them.

#![allow(
    clippy::unwrap_used,
    reason = "a failed step ends the test, in helpers too"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secagg-node"));
    command
        .current_dir(directory)
        .arg("simulate")
        .args(arguments);
    command
}

fn simulate(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).output().unwrap()
}

fn succeed(directory: &Path, arguments: &[&str]) -> String {
    let output = simulate(directory, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn fail(directory: &Path, arguments: &[&str]) -> String {
    let output = simulate(directory, arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    String::from_utf8(output.stderr).unwrap()
}

/// The lines of the results, without what the clock says.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("seconds");
        line
    };
    text.lines().map(line).collect()
}

const SYNTHETIC: &str = "
[synthetic]
clients = 30
parameters = 300
[rounds]
rounds = 40
save_every = 7
[cohort]
clients = 8
dropout = 0.1
";

#[test]
fn a_killed_simulation_goes_on_to_the_same_results() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("one.toml"), SYNTHETIC).unwrap();
    succeed(path, &["one.toml", "--out", "whole"]);
    let whole = lines(&path.join("whole/results.jsonl"));
    assert_eq!(whole.len(), 42);

    let mut child = command(path, &["one.toml", "--out", "killed"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let results = path.join("killed/results.jsonl");
    // Somewhere behind the first rounds; the result must not depend on where.
    while fs::read_to_string(&results).map_or(0, |text| text.lines().count()) < 12 {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let output = simulate(path, &["one.toml", "--out", "killed"]);
    assert!(output.status.success());
    let said: Vec<String> = BufReader::new(output.stderr.as_slice())
        .lines()
        .map(Result::unwrap)
        .collect();
    assert!(said[0].contains("goes on after round"), "{said:?}");
    assert_eq!(lines(&results), whole);
    let state = |out: &str| fs::read(path.join(out).join("state.safetensors")).unwrap();
    assert!(state("killed") == state("whole"));
}

const TEXT: &str = "
[model]
vocabulary_from = [\"people\"]
[model.description]
kind = \"cifg-lstm\"
vocabulary = 60
embedding = 8
units = 8
projection = 8
output_bias = true
seed = 1
[text]
train = [\"people\"]
[training]
optimizer = { adam = { rate = 0.02 } }
[rounds]
rounds = 4
[cohort]
clients = 5
";

/// Six people, each with a file.
fn people(folder: &Path) {
    fs::create_dir_all(folder.join("people")).unwrap();
    for person in ["ann", "bob", "carl", "dora", "eve", "fred"] {
        let text = format!("see you at home\n{person} is late again\nwhere are you?\n").repeat(7);
        fs::write(folder.join(format!("people/{person}.txt")), text).unwrap();
    }
}

#[test]
fn text_is_trained_on_reported_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    people(&path.join("data"));
    fs::write(path.join("one.toml"), TEXT).unwrap();
    fs::write(
        path.join("two.toml"),
        TEXT.to_owned() + "[update]\nvalue_bits = 4\n",
    )
    .unwrap();
    let report = succeed(path, &["one.toml", "--data", "data", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["rounds"], 4);
    let loss = |line: &Value| line["validation"]["loss"].as_f64().unwrap();
    let results = lines(&path.join("one.results/results.jsonl"));
    assert_eq!(results[0]["experiment"], "one");
    assert_eq!(results[0]["clients"], 6);
    assert_eq!(results[0]["messages"], 6 * 19);
    assert!(loss(&results[5]) < loss(&results[1]) - 0.3, "{results:?}");
    assert_eq!(report["best"]["round"], 4);
    assert!(report["cryptography"].as_f64().unwrap() > 0.0);

    let table = succeed(path, &["two.toml", "--data", "data"]);
    assert!(
        table.contains("all 4 rounds are done") && table.contains("top-1"),
        "{table}"
    );
    let fewer = lines(&path.join("two.results/results.jsonl"));
    let up = |line: &Value| line["bytes_up"].as_u64().unwrap();
    assert!(up(&fewer[2]) < up(&results[2]));
    let arguments = [
        "--plot",
        "plot.svg",
        "one.results",
        "two.results/results.jsonl",
    ];
    succeed(path, &arguments);
    let plot = fs::read_to_string(path.join("plot.svg")).unwrap();
    assert!(plot.starts_with("<svg") && plot.contains("one") && plot.contains("two"));

    // The weights are ones that other commands take.
    fs::write(path.join("text.txt"), "see you at home\n").unwrap();
    let weights = fs::read(path.join("one.results/best.safetensors")).unwrap();
    assert!(weights == fs::read(path.join("one.results/last.safetensors")).unwrap());
}

#[test]
fn errors_say_what_was_wrong_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    people(path);
    let error = fail(path, &["nowhere.toml"]);
    assert!(error.contains("nowhere.toml"), "{error}");
    fs::write(
        path.join("one.toml"),
        TEXT.replace("rounds = 4", "rounds = -4"),
    )
    .unwrap();
    let error = fail(path, &["one.toml"]);
    assert!(
        error.contains("one.toml") && error.contains("rounds.rounds is -4"),
        "{error}"
    );
    fs::write(path.join("one.toml"), TEXT).unwrap();
    fs::write(path.join("two.toml"), SYNTHETIC).unwrap();
    let error = fail(path, &["one.toml", "two.toml"]);
    assert!(error.contains("one experiment"), "{error}");
    let error = fail(path, &["one.toml", "--data", "elsewhere"]);
    assert!(error.contains("elsewhere"), "{error}");

    succeed(path, &["one.toml"]);
    fs::write(path.join("one.toml"), TEXT.replace("seed = 1", "seed = 2")).unwrap();
    let error = fail(path, &["one.toml"]);
    assert!(
        error.contains("another experiment") && error.contains("--restart"),
        "{error}"
    );
    succeed(path, &["one.toml", "--restart"]);
    fs::write(path.join("one.results/results.jsonl"), "nonsense\n").unwrap();
    let error = fail(path, &["one.toml"]);
    assert!(
        error.contains("line 1") && error.contains("--out"),
        "{error}"
    );
    let error = fail(path, &["--plot", "plot.svg", "one.results"]);
    assert!(error.contains("results.jsonl, line 1"), "{error}");
}

/// What the repository's own experiments say is understood.
#[test]
fn the_experiments_of_the_repository_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments");
    let mut found = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let text = fs::read_to_string(&path).unwrap();
            let experiment = secagg_node::simulate::Experiment::parse(&text);
            assert!(experiment.is_ok(), "{}: {experiment:?}", path.display());
            found += 1;
        }
    }
    assert!(found >= 6, "{found}");
}
