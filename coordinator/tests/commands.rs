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
