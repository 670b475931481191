//! What an operator types, as a process.

mod common;

use std::process::{Command, Output};

use common::{CONFIG, Folder};
use serde_json::Value;

fn coordinator(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_secagg-coordinator"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn error(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn init_refuses_to_overwrite() {
    let folder = Folder::new(CONFIG);
    let path = folder.path();
    let config = path.join("coordinator.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    let model = path.with_file_name("model");
    let arguments = [
        "init",
        path.to_str().unwrap(),
        "--model",
        model.to_str().unwrap(),
    ];
    let shown = error(&coordinator(&arguments));
    assert!(
        shown.contains("exists already: nothing was changed"),
        "{shown}"
    );
    assert_eq!(std::fs::read_to_string(&config).unwrap(), before);
}

#[test]
fn what_is_wrong_is_said_with_key_value_and_range() {
    let folder = Folder::new("[cohort]\nmin_clients = 2\n");
    let path = folder.path();
    let shown = error(&coordinator(&["run", path.to_str().unwrap()]));
    assert!(
        shown.contains("cohort.min_clients is 2; allowed is a whole number from 3 to"),
        "{shown}"
    );
    let shown = error(&coordinator(&["status", "/nowhere"]));
    assert!(shown.contains("secagg-coordinator init"), "{shown}");
}

fn plan(more: &[&str]) -> Output {
    let mut arguments = vec!["plan", "--elements", "100000", "--bits", "20"];
    arguments.extend(more);
    coordinator(&arguments)
}

/// Degrees and thresholds for the usual bits of security, as Google's implementation of the chooser
/// of Bell et al. gives them for these numbers, and the complete graph beside them.
#[test]
fn plan_says_what_a_round_needs_and_costs() {
    let round = [
        "--clients",
        "1000",
        "--corrupt",
        "0.05",
        "--dropout",
        "0.05",
        "--security-bits",
        "40",
        "--json",
    ];
    for (model, degree, threshold) in [("honest-but-curious", 30, 17), ("malicious", 52, 37)] {
        let output = plan(&[&round[..], &["--threat-model", model]].concat());
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(shown["max_corrupt"], 50);
        assert_eq!(shown["max_input"], (1 << 20) / 1000);
        let [sparse, complete] = &shown["ways"].as_array().unwrap()[..] else {
            panic!("{shown}");
        };
        assert_eq!(sparse["degree"], degree);
        assert_eq!(sparse["threshold"], threshold);
        assert!(sparse["log2_insecure"].as_f64() < Some(-40.0), "{shown}");
        assert_eq!(complete["degree"], 999);
        assert_eq!(complete["log2_insecure"], Value::Null);
        for cost in [
            "bytes_up",
            "bytes_down",
            "client_seconds",
            "server_seconds_with_losses",
        ] {
            let [less, more] = [sparse, complete].map(|way| way[cost].as_f64().unwrap());
            assert!(0.0 < less && less < more, "{cost}: {shown}");
        }
        // A header, 100,000 elements of 20 bits, and less than a group of padding.
        let masked = sparse["bytes_masked_input"].as_u64().unwrap();
        assert!((250_000..251_000).contains(&masked), "{shown}");
    }
    let shown = plan(&["--clients", "1000", "--corrupt", "0.1", "--dropout", "0.1"]).stdout;
    let shown = String::from_utf8(shown).unwrap();
    assert!(
        shown.contains("1000 nodes, at most 100 corrupt and 100 lost"),
        "{shown}"
    );
}

#[test]
fn plan_refuses_what_is_unsafe_and_says_what_would_do() {
    let shown = error(&plan(&[
        "--clients",
        "1000",
        "--corrupt",
        "0.4",
        "--dropout",
        "0.6",
    ]));
    assert!(
        shown.contains("with 400 corrupt, 299 may be lost"),
        "{shown}"
    );
    let shown = error(&plan(&["--clients", "1000", "--corrupt", "1.5"]));
    assert!(
        shown.contains("a fraction of 1.5 corrupt clients"),
        "{shown}"
    );
    let shown = error(&plan(&["--clients", "2"]));
    assert!(shown.contains("within 3 to"), "{shown}");
    let shown = error(&coordinator(&[
        "plan",
        "--clients",
        "1000",
        "--elements",
        "10",
        "--bits",
        "8",
    ]));
    assert!(shown.contains("could wrap around"), "{shown}");
}

#[test]
fn enrol_and_status_speak_to_machines() {
    let folder = Folder::new(CONFIG);
    let path = folder.path();
    let path = path.to_str().unwrap();
    let output = coordinator(&["enrol", path, "--count", "2", "--name", "node", "--json"]);
    let enrolled: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(enrolled["tokens"][1]["name"], "node-2");
    let plain = coordinator(&["enrol", path]).stdout;
    assert_eq!(String::from_utf8(plain).unwrap().lines().count(), 1);
    let output = coordinator(&["status", path, "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["open_tokens"], 3);
    assert_eq!(status["rounds"], Value::Array(Vec::new()));
    let shown = String::from_utf8(coordinator(&["status", path]).stdout).unwrap();
    assert!(
        shown.contains("perplexity") && shown.contains("0 nodes, 3 open tokens"),
        "{shown}"
    );
}

#[cfg(not(feature = "fault-injection"))]
#[test]
fn a_default_build_has_no_test_hooks() {
    for hook in [["--pause-at", "1:train"], ["--lie-to-nodes", "swapped-key"]] {
        let shown = error(&coordinator(&[&["run", "x"], &hook[..]].concat()));
        let unexpected = format!("unexpected argument '{}'", hook[0]);
        assert!(shown.contains(&unexpected), "{shown}");
    }
}
