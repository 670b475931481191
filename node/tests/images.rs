//! Models that classify images, through the commands that a user types.

#![allow(
    clippy::unwrap_used,
    reason = "a failed step ends the test, in helpers too"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn node(directory: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_secagg-node"))
        .current_dir(directory)
        .args(arguments.split(' '))
        .output()
        .unwrap()
}

fn succeed(directory: &Path, arguments: &str) -> String {
    let output = node(directory, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(directory: &Path, arguments: &str) -> Value {
    serde_json::from_str(&succeed(directory, arguments)).unwrap()
}

/// Fails, and says all of these.
fn fail(directory: &Path, arguments: &str, hints: &[&str]) {
    let output = node(directory, arguments);
    assert!(!output.status.success(), "{arguments} succeeded");
    let said = String::from_utf8(output.stderr).unwrap();
    for hint in hints {
        assert!(said.contains(hint), "{arguments}: {said}");
    }
}

/// A folder with digits of four people, in both formats, and a small model.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    succeed(path, "digits people.jsonl --people 4 --images 50 --seed 2");
    succeed(
        path,
        "digits images.idx --labels labels.idx --people 4 --images 50 --seed 2",
    );
    succeed(path, "init-model --kind mlp --units 16 --out model");
    folder
}

#[test]
fn digits_are_the_same_in_both_formats_and_every_time() {
    let folder = folder();
    let path = folder.path();
    let read = |name: &str| fs::read(path.join(name)).unwrap();
    let images = read("images.idx");
    assert_eq!(
        images[..16],
        [0, 0, 8, 3, 0, 0, 0, 200, 0, 0, 0, 28, 0, 0, 0, 28]
    );
    assert_eq!(read("labels.idx").len(), 8 + 200);
    let lines = read("people.jsonl");
    succeed(path, "digits again.jsonl --people 4 --images 50 --seed 2");
    assert!(lines == read("again.jsonl"));
    // The second two people alone are the same people.
    succeed(
        path,
        "digits rest.jsonl --people 2 --first-person 2 --images 50 --seed 2",
    );
    assert!(lines.ends_with(&read("rest.jsonl")));
    let of_lines = json(path, "eval --json --model model --text people.jsonl");
    let of_idx = json(
        path,
        "eval --json --model model --text images.idx --labels labels.idx",
    );
    assert_eq!(of_lines, of_idx);
    assert_eq!(of_lines["messages"], 200);
    assert_eq!(of_lines["accuracy"], of_lines["top1"]);

    fail(
        path,
        "digits none.jsonl --people 0",
        &["--people 0", "1 to 10000000"],
    );
    fail(path, "digits none.jsonl --alpha -1", &["--alpha is -1"]);
    fail(path, "digits none.jsonl --alpha 0", &["--alpha is 0"]);
}

#[test]
fn a_node_keeps_images_as_it_keeps_text() {
    let folder = folder();
    let path = folder.path();
    let one = succeed(path, "add --dir one --user person-1 people.jsonl");
    assert!(
        one.contains("45 messages for training, 5 held out"),
        "{one}"
    );
    let all = succeed(
        path,
        "add --dir all --format idx --labels labels.idx images.idx",
    );
    assert!(
        all.contains("180 messages for training, 20 held out"),
        "{all}"
    );
    let report = json(path, "eval --json --dir all --model model");
    assert_eq!(report["messages"], 20);
    let table = succeed(path, "eval --dir all --model model");
    assert!(
        table.contains("images       20") && table.contains("accuracy"),
        "{table}"
    );

    fail(
        path,
        "add --dir one --format idx images.idx",
        &["images.idx", "--labels"],
    );
    fail(
        path,
        "add --dir one --labels images.idx images.idx",
        &["images.idx: its dimensions are [200, 28, 28]; the labels of 200 images are of [200]"],
    );
    fail(
        path,
        "add --dir one --format jsonl --labels labels.idx images.idx",
        &["--labels labels.idx goes with --format idx"],
    );
    fs::write(
        path.join("cut.idx"),
        &fs::read(path.join("images.idx")).unwrap()[..900],
    )
    .unwrap();
    fail(
        path,
        "add --dir one --labels labels.idx cut.idx",
        &["cut.idx: its dimensions are [200, 28, 28], and 884 bytes follow"],
    );
}

#[test]
fn pooled_training_learns_digits_and_simulation_does() {
    let folder = folder();
    let path = folder.path();
    let report = json(
        path,
        "train-pooled --json --model model --train people.jsonl --epochs 8 --rate 0.01 \
         --weights-out pooled.safetensors",
    );
    let top1 = report["best"]["validation"]["top1"].as_f64().unwrap();
    assert_eq!(report["validation_messages"], 20);
    assert!(top1 >= 0.7, "{report}");
    assert!(
        report["baseline"]["top1"].as_f64().unwrap() <= 0.3,
        "{report}"
    );
    let eval = json(
        path,
        "eval --json --model model --weights pooled.safetensors --text people.jsonl",
    );
    assert!(eval["accuracy"].as_f64().unwrap() >= 0.8, "{eval}");

    let experiment = "
[model]
vocabulary_from = [\"people.jsonl\"]
[model.description]
kind = \"cnn\"
vocabulary = 14
kernel = 3
first_filters = 4
second_filters = 8
units = 24
seed = 1
[text]
train = [\"people.jsonl\"]
split = { mixture = { clients = 6, alpha = 10.0 } }
[training]
optimizer = { adam = { rate = 0.005 } }
batch = 8
epochs = 4
[update]
range = 0.5
[rounds]
rounds = 8
[cohort]
clients = 5
";
    fs::write(path.join("digits.toml"), experiment).unwrap();
    let report = json(path, "simulate digits.toml --data . --json");
    assert_eq!(report["rounds"], 8);
    let results = fs::read_to_string(path.join("digits.results/results.jsonl")).unwrap();
    let results: Vec<Value> = results
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(results[0]["messages"], 180);
    let loss = |line: &Value| line["validation"]["loss"].as_f64().unwrap();
    assert!(loss(&results[9]) < 0.6 * loss(&results[1]), "{results:?}");
}

#[test]
fn text_is_no_image_and_a_classifier_does_not_talk() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("text.txt"), "see you soon\nsee you there\n").unwrap();
    fail(
        path,
        "eval --model model --text text.txt",
        &[
            "text.txt",
            "example 1 is not a labelled image",
            "no tab after a label",
        ],
    );
    succeed(path, "init-model --kind cnn --labels 0,1 --out two");
    fail(
        path,
        "eval --model two --text people.jsonl",
        &["label that is none of the model's 2: 0, 1"],
    );
    for command in ["generate --model model see", "suggest --model model see"] {
        fail(path, command, &["kind \"mlp\"", "language model"]);
    }
    fail(path, "quantise --model model", &["mlp"]);
    fail(
        path,
        "eval --int8 --model model --text people.jsonl",
        &["int8 weights are for language models only"],
    );
}

#[test]
fn init_model_says_which_sizes_and_words_belong_to_images() {
    let folder = folder();
    let path = folder.path();
    let vocabulary = fs::read_to_string(path.join("model/vocabulary.txt")).unwrap();
    assert_eq!(
        vocabulary,
        "<pad>\n<unk>\n<begin>\n<end>\n0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"
    );
    for (options, hints) in [
        (
            "--kind cnn --layers 2",
            &["--layers 2", "--kernel, --first-filters"][..],
        ),
        (
            "--kind mlp --kernel 3",
            &["--kernel 3", "--units, --layers"],
        ),
        ("--kind cnn --kernel 4", &["kernel is 4"]),
        (
            "--kind cnn --first-filters 0",
            &["first_filters is 0", "from 1 to 512"],
        ),
        ("--kind mlp --text characters", &["has no text"]),
        ("--kind mlp --output-bias true", &["--output-bias"]),
        ("--kind mlp --labels 1,1", &["line 6", "line 5"]),
        (
            "--kind mlp --labels a\u{7}",
            &["line 5", "control character"],
        ),
        ("--kind mlp --vocabulary-from people.jsonl", &["--labels"]),
        ("--kind gru --labels 1,2", &["--vocabulary-from"]),
        ("--kind gru", &["--vocabulary-from"]),
        (
            "--kind gru --vocabulary-from text.idx --format idx",
            &["text.idx"],
        ),
    ] {
        fail(path, &format!("init-model --out other {options}"), hints);
    }
}
