//! The commands that need no coordinator, as a user runs them.

#![allow(
    clippy::unwrap_used,
    reason = "a failed step ends the test, in helpers too"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use secagg_node::model::ModelFiles;
use serde_json::Value;

fn node(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_secagg-node"))
        .current_dir(directory)
        .args(arguments)
        .output()
        .unwrap()
}

fn succeed(directory: &Path, arguments: &[&str]) -> String {
    let output = node(directory, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(directory: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed(directory, arguments)).unwrap()
}

fn fail(directory: &Path, arguments: &[&str]) -> String {
    let output = node(directory, arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    String::from_utf8(output.stderr).unwrap()
}

/// A folder with text and a small model made from it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut text = String::new();
    let mut people = String::new();
    for place in 0..20 {
        let hour = place % 4 + 1;
        text += &format!("see you at {hour} at the station\nare you home at {hour}?\n");
        people += &format!("{{\"user\":\"u{hour}\",\"text\":\"see you at {hour}\"}}\n");
    }
    fs::write(path.join("text.txt"), text).unwrap();
    fs::write(path.join("people.jsonl"), people).unwrap();
    succeed(
        path,
        &[
            "init-model",
            "--vocabulary-from",
            "text.txt",
            "people.jsonl",
            "--out",
            "model",
            "--vocabulary-size",
            "100",
            "--embedding",
            "12",
            "--units",
            "16",
            "--output-bias",
            "false",
            "--seed",
            "3",
        ],
    );
    folder
}

#[test]
fn init_model_writes_a_model_once() {
    let folder = folder();
    let model = folder.path().join("model");
    let description = fs::read_to_string(model.join("model.toml")).unwrap();
    for line in [
        "kind = \"cifg-lstm\"",
        "units = 16",
        "output_bias = false",
        "seed = 3",
    ] {
        assert!(
            description.lines().any(|found| found == line),
            "{line}: {description}"
        );
    }
    let vocabulary = fs::read_to_string(model.join("vocabulary.txt")).unwrap();
    assert!(
        vocabulary.starts_with("<pad>\n<unk>\n<begin>\n<end>\nat\n"),
        "{vocabulary}"
    );
    assert!(model.join("initial.safetensors").is_file());
    let again = [
        "init-model",
        "--vocabulary-from",
        "text.txt",
        "--out",
        "model",
    ];
    assert!(fail(folder.path(), &again).contains("--force"));
}

#[test]
fn each_kind_of_model_has_its_own_sizes() {
    let folder = folder();
    let path = folder.path();
    let init = |kind: &'static str, sizes: &[&'static str]| {
        let start = ["init-model", "--vocabulary-from", "text.txt", "--out"];
        [start.as_slice(), &[kind, "--kind", kind], sizes].concat()
    };
    for (kind, sizes, line) in [
        ("lstm", &["--units", "16"][..], "units = 16"),
        ("gru", &["--embedding", "8"], "embedding = 8"),
        ("tanh-rnn", &["--layers", "3"], "layers = 3"),
        (
            "transformer",
            &["--embedding", "16", "--heads", "2", "--layers", "1"],
            "feed_forward = 64",
        ),
    ] {
        succeed(path, &init(kind, sizes));
        let description = fs::read_to_string(path.join(kind).join("model.toml")).unwrap();
        let lines: Vec<&str> = description.lines().collect();
        assert!(lines.contains(&line), "{line}: {description}");
        let report = json(
            path,
            &["eval", "--model", kind, "--text", "text.txt", "--json"],
        );
        assert!(report["loss"].as_f64().unwrap() > 1.0, "{kind}: {report}");
    }
    for (kind, sizes, hints) in [
        (
            "cifg-lstm",
            &["--layers", "2"][..],
            ["--layers 2", "--units"],
        ),
        ("transformer", &["--units", "16"], ["--units 16", "--heads"]),
        ("gru", &["--heads", "2"], ["--heads 2", "--kind gru"]),
        ("transformer", &["--heads", "5"], ["5 heads", "96 elements"]),
        (
            "tanh-rnn",
            &["--layers", "99"],
            ["layers is 99", "from 1 to 32"],
        ),
    ] {
        let mut arguments = init(kind, sizes);
        arguments[4] = "other";
        let error = fail(path, &arguments);
        assert!(hints.iter().all(|hint| error.contains(hint)), "{error}");
        assert!(!path.join("other").exists());
    }
}

#[test]
fn a_model_of_characters_is_trained_and_writes_text() {
    let folder = folder();
    let path = folder.path();
    let init = "init-model --vocabulary-from text.txt --out letters --text characters \
                --kind tanh-rnn --embedding 16 --units 32";
    let said = succeed(path, &init.split(' ').collect::<Vec<_>>());
    assert!(said.contains("characters from"), "{said}");
    let vocabulary = fs::read_to_string(path.join("letters/vocabulary.txt")).unwrap();
    assert!(
        vocabulary.starts_with("<pad>\n<unk>\n<begin>\n<end>\n<space>\n"),
        "{vocabulary}"
    );
    let train = "train-pooled --model letters --train text.txt --epochs 10 --batch 4 --rate 0.01 \
                 --patience 0 --weights-out best --json";
    let report = json(path, &train.split_whitespace().collect::<Vec<_>>());
    let top1 = report["best"]["validation"]["top1"].as_f64().unwrap();
    assert!(top1 > 0.6, "{report}");
    let source = ["--model", "letters", "--weights", "best", "--json"];
    let phrase = [&["generate", "see you a"][..], &source].concat();
    let completions = json(path, &phrase);
    let continuation = completions[0]["continuation"].as_str().unwrap();
    assert!(continuation.starts_with("t "), "{completions}");
    let typed = [&["suggest", "see yo"][..], &source].concat();
    let suggested = json(path, &typed);
    assert_eq!(suggested[0]["suggestions"][0]["word"], "u", "{suggested}");
}

#[test]
fn text_is_added_and_evaluated() {
    let folder = folder();
    let path = folder.path();
    let added = succeed(path, &["add", "--dir", "node", "text.txt"]);
    assert!(
        added.contains("36 messages for training, 4 held out"),
        "{added}"
    );
    let again = succeed(path, &["add", "--dir", "node", "text.txt"]);
    assert!(again.contains("added before"), "{again}");
    let one = ["add", "--dir", "node", "people.jsonl", "--user", "u2"];
    let added = succeed(path, &one);
    assert!(
        added.contains("5 messages for training, 0 held out"),
        "{added}"
    );
    let held_out = ["add", "--dir", "node", "--held-out", "people.jsonl"];
    let added = succeed(path, &held_out);
    assert!(
        added.contains("0 messages for training, 20 held out"),
        "{added}"
    );
    let figures = json(
        path,
        &["eval", "--dir", "node", "--model", "model", "--json"],
    );
    assert_eq!(figures["messages"], 24);
    assert!(figures["loss"].as_f64().unwrap() > 1.0, "{figures}");
    let table = succeed(
        path,
        &["eval", "--model", "model", "--text", "people.jsonl"],
    );
    assert!(table.contains("perplexity"), "{table}");
}

#[test]
fn pooled_training_is_reported_and_its_weights_continue_phrases() {
    let folder = folder();
    let path = folder.path();
    let report = json(
        path,
        &[
            "train-pooled",
            "--model",
            "model",
            "--train",
            "text.txt",
            "people.jsonl",
            "--epochs",
            "8",
            "--batch",
            "4",
            "--rate",
            "0.01",
            "--patience",
            "0",
            "--weights-out",
            "best.safetensors",
            "--json",
        ],
    );
    assert_eq!(
        report["runs"][0]["epochs"].as_array().unwrap().len(),
        8,
        "{report}"
    );
    assert_eq!(report["training_messages"], 54);
    assert_eq!(report["validation_messages"], 6);
    let best = report["best"]["validation"]["top1"].as_f64().unwrap();
    assert!(
        best > report["baseline"]["top1"].as_f64().unwrap(),
        "{report}"
    );
    let weights = [
        "--model",
        "model",
        "--weights",
        "best.safetensors",
        "--json",
    ];
    let figures = json(
        path,
        &[["eval", "--text", "text.txt"].as_slice(), &weights].concat(),
    );
    assert!(figures["top1"].as_f64().unwrap() > 0.3, "{figures}");
    let completions = json(
        path,
        &[["generate", "See you"].as_slice(), &weights].concat(),
    );
    assert_eq!(completions[0]["phrase"], "See you");
    assert_eq!(
        completions[0]["suggestions"][0]["word"], "at",
        "{completions}"
    );
    assert_eq!(completions[0]["suggestions"].as_array().unwrap().len(), 3);
}

#[test]
fn a_grid_tries_both_optimisers_within_its_time() {
    let folder = folder();
    let mut arguments = vec!["train-pooled", "--model", "model", "--train", "text.txt"];
    arguments.extend(["--epochs", "1", "--grid", "--json", "--budget-seconds", "0"]);
    let report = json(folder.path(), &arguments);
    assert_eq!(report["best"], Value::Null);
    arguments.truncate(arguments.len() - 2);
    let report = json(folder.path(), &arguments);
    let names: Vec<_> = report["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["optimizer"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["adam", "adam", "adam", "sgd", "sgd", "sgd"]);
    assert_eq!(report["best"]["epoch"], 1);
}

#[test]
fn errors_say_what_was_wrong_and_what_to_do() {
    let folder = folder();
    let path = folder.path();
    fs::write(
        path.join("bad.jsonl"),
        "{\"text\": \"fine\"}\n{\"txt\": \"not\"}\n",
    )
    .unwrap();
    let error = fail(path, &["add", "--dir", "node", "bad.jsonl"]);
    assert!(
        error.contains("bad.jsonl, line 2: missing field `text`"),
        "{error}"
    );
    assert!(!path.join("node").exists(), "an error left a store");
    let error = fail(path, &["eval", "--dir", "node", "--model", "model"]);
    assert!(error.contains("secagg-node add"), "{error}");
    let error = fail(path, &["generate", "hi"]);
    assert!(error.contains("--model"), "{error}");
    let error = fail(path, &["eval", "--model", "nowhere", "--text", "text.txt"]);
    assert!(
        error.contains("nowhere") && error.contains("init-model"),
        "{error}"
    );
    fs::write(path.join("broken"), b"not weights").unwrap();
    let weights = ["generate", "hi", "--model", "model", "--weights", "broken"];
    let error = fail(path, &weights);
    assert!(
        error.contains("broken") && error.contains("safetensors"),
        "{error}"
    );
}

#[test]
fn words_can_be_drawn_or_searched() {
    let folder = folder();
    let path = folder.path();
    let generate = |options: &[&str]| -> Value {
        let command = [
            "generate", "see", "--model", "model", "--json", "--words", "12",
        ];
        json(path, &[&command, options].concat())
    };
    let drawn = ["--temperature", "1.5", "--top-p", "0.9", "--seed", "5"];
    let first = generate(&drawn);
    assert_eq!(first, generate(&drawn));
    let other = generate(&["--temperature", "1.5", "--top-p", "0.9", "--seed", "6"]);
    assert_ne!(first[0]["continuation"], other[0]["continuation"]);
    assert_eq!(first[0]["suggestions"], other[0]["suggestions"]);
    // A nucleus of next to nothing, and a single beam, leave the most probable word.
    let greedy = generate(&[]);
    assert_eq!(greedy, generate(&["--top-p", "0.000001"]));
    assert_eq!(greedy, generate(&["--beams", "1"]));
}

#[test]
fn a_way_to_generate_that_cannot_be_is_refused() {
    let folder = folder();
    for (options, problem) in [
        (
            ["--beams", "4", "--temperature", "0.5"].as_slice(),
            "cannot be used with",
        ),
        (&["--beams", "4", "--top-p", "0.5"], "cannot be used with"),
        (&["--seed", "1"], "--temperature <T>|--top-p <P>"),
        (&["--length-penalty", "0.5"], "--beams <N>"),
        (
            &["--temperature", "0"],
            "the temperature is 0; it must be above 0",
        ),
        (
            &["--temperature", "-1"],
            "the temperature is -1; it must be above 0",
        ),
        (
            &["--top-p", "1.5"],
            "(top-p) is 1.5; it must be above 0 and at most 1",
        ),
        (&["--beams", "0"], "0 beams; there must be from 1 to 256"),
        (
            &["--beams", "2", "--length-penalty", "9"],
            "the length penalty is 9",
        ),
    ] {
        let command = ["generate", "see", "--model", "model"];
        let error = fail(folder.path(), &[&command, options].concat());
        assert!(error.contains(problem), "{options:?}: {error}");
    }
}

#[test]
fn int8_weights_are_a_quarter_and_answer_like_the_others() {
    let folder = folder();
    let path = folder.path();
    let trained = ["--model", "model", "--weights", "best.safetensors"];
    let int8 = ["--model", "model", "--weights", "best.int8.safetensors"];
    let epochs = ["--epochs", "8", "--rate", "0.01", "--patience", "0"];
    let out = [
        "--batch",
        "4",
        "--weights-out",
        "best.safetensors",
        "--json",
    ];
    let train = ["train-pooled", "--model", "model", "--train", "text.txt"];
    succeed(path, &[&train[..], &epochs, &out].concat());
    let quantised = succeed(path, &[&["quantise"][..], &trained].concat());
    assert!(quantised.contains("best.int8.safetensors"), "{quantised}");

    let eval = ["eval", "--text", "text.txt", "--json"];
    let both = json(path, &[&eval[..], &trained, &["--int8"]].concat());
    for name in ["loss", "top1", "top3", "bytes", "suggestion_ms"] {
        let [f32, int8] = [&both, &both["int8"]].map(|figures| figures[name].as_f64().unwrap());
        assert!(f32 > 0.0 && int8 > 0.0, "{both}");
    }
    let loss = |figures: &Value| figures["loss"].as_f64().unwrap();
    assert!((loss(&both) - loss(&both["int8"])).abs() < 0.05, "{both}");
    assert_eq!(both["top1"], both["int8"]["top1"], "{both}");
    // The file holds what rounding gives.
    let alone = json(path, &[&eval[..], &int8, &["--int8"]].concat());
    assert_eq!(alone["loss"], both["int8"]["loss"], "{alone}");
    assert_eq!(alone["bytes"], both["int8"]["bytes"], "{alone}");
    let table = succeed(
        path,
        &[&["eval", "--text", "text.txt", "--int8"][..], &trained].concat(),
    );
    assert!(
        table.contains("int8") && table.contains("suggestion"),
        "{table}"
    );

    let suggest = [
        "suggest",
        "see y",
        "see you ",
        "--suggestions",
        "2",
        "--json",
    ];
    let rounded = json(path, &[&suggest[..], &trained, &["--int8"]].concat());
    let from_file = json(path, &[&suggest[..], &int8].concat());
    for texts in [&rounded, &from_file] {
        assert_eq!(texts[0]["suggestions"][0]["word"], "you", "{texts}");
        assert_eq!(texts[1]["suggestions"][0]["word"], "at", "{texts}");
    }
    let f32 = json(
        path,
        &[&["generate", "see you", "--json"][..], &trained].concat(),
    );
    let generated = json(
        path,
        &[&["generate", "see you", "--json"][..], &int8].concat(),
    );
    assert_eq!(f32[0]["continuation"], generated[0]["continuation"]);

    let error = fail(path, &[&["quantise"][..], &int8].concat());
    assert!(error.contains("holds int8 weights already"), "{error}");
    let error = fail(path, &["quantise", "--model", "model", "--weights", "none"]);
    assert!(error.contains("no weights in none"), "{error}");
}

#[test]
fn weights_are_averaged_number_by_number() {
    fn average<'a>(files: &[&'a str]) -> Vec<&'a str> {
        let options = ["--model", "model", "--out", "mean.safetensors"];
        [&["average"][..], files, &options].concat()
    }
    let folder = folder();
    let path = folder.path();
    let train = "train-pooled --model model --train text.txt --batch 4 --rate 0.02";
    for (epochs, out) in [("1", "a.safetensors"), ("3", "b.safetensors")] {
        let line = format!("{train} --epochs {epochs} --weights-out {out}");
        succeed(path, &line.split(' ').collect::<Vec<_>>());
    }
    let said = succeed(path, &average(&["a.safetensors", "b.safetensors"]));
    assert!(said.contains("the mean of 2 files"), "{said}");
    let files = ModelFiles::read(&path.join("model")).unwrap();
    let values = |name: &str| files.read_weights(&path.join(name)).unwrap().into_values();
    let [a, b, mean] = ["a", "b", "mean"].map(|name| values(&format!("{name}.safetensors")));
    assert_ne!(a, b);
    for (index, mean) in mean.iter().enumerate() {
        let expected = (f64::from(a[index]) + f64::from(b[index])) / 2.0;
        assert!((f64::from(*mean) - expected).abs() <= 1e-7, "{index}");
    }
    succeed(path, &average(&["a.safetensors"]));
    assert_eq!(values("mean.safetensors"), a);

    let error = fail(path, &average(&["a.safetensors", "none.safetensors"]));
    assert!(error.contains("none.safetensors"), "{error}");
    succeed(
        path,
        &"quantise --model model --weights a.safetensors"
            .split(' ')
            .collect::<Vec<_>>(),
    );
    // Weights of fewer bits count as what they stand for.
    succeed(path, &average(&["a.int8.safetensors"]));
    let largest = a.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let rounded = values("mean.safetensors");
    assert_ne!(rounded, a);
    for (rounded, value) in rounded.iter().zip(&a) {
        assert!((rounded - value).abs() <= largest / 127.0);
    }

    let error = fail(path, &average(&[]));
    assert!(error.contains("<FILE>"), "{error}");
}

#[test]
fn a_student_learns_from_a_teacher_and_can_begin_a_federation() {
    let folder = folder();
    let path = folder.path();
    let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
    let command = |line: &str| {
        json(
            path,
            &words(line).iter().map(String::as_str).collect::<Vec<_>>(),
        )
    };
    let student = "init-model --kind gru --embedding 8 --units 10 --vocabulary-size 100 --out";
    let init = |line: &str| succeed(path, &line.split(' ').collect::<Vec<_>>());
    init(&format!(
        "{student} student --vocabulary-from text.txt people.jsonl"
    ));
    let teach =
        "train-pooled --json --model model --train text.txt --epochs 8 --batch 4 --rate 0.02";
    command(&format!("{teach} --weights-out teacher.safetensors"));
    let before = fs::read(path.join("student/initial.safetensors")).unwrap();
    let report = command(
        "distil --json --teacher model --teacher-weights teacher.safetensors --model student \
         --out student/initial.safetensors text.txt --epochs 6 --batch 4 --rate 0.02 --share 0.8 \
         --temperature 1.5 --schedule {cosine={steps=200,floor=0.1}}",
    );
    let number = |value: &Value| value.as_f64().unwrap();
    let teacher = &report["teacher"];
    assert_eq!(teacher["kind"], "cifg-lstm", "{report}");
    assert_eq!(
        (number(&teacher["share"]), number(&teacher["temperature"])),
        (0.8, 1.5)
    );
    let [first, best] = ["initial", "best"].map(|which| match which {
        "initial" => number(&report["initial"]["loss"]),
        _ => number(&report["best"]["validation"]["loss"]),
    });
    assert!(best < 0.6 * first, "{report}");
    assert!(
        number(&teacher["validation"]["loss"]) < 0.6 * first,
        "{report}"
    );
    // What the folder begins with now is what was best.
    assert_ne!(
        fs::read(path.join("student/initial.safetensors")).unwrap(),
        before
    );
    let again = command("train-pooled --json --model student --train text.txt --steps 1");
    assert_eq!(
        again["initial"]["loss"], report["best"]["validation"]["loss"],
        "{again}"
    );
    assert!(again.get("teacher").is_none(), "{again}");

    init(
        "init-model --kind gru --embedding 8 --units 10 --vocabulary-from text.txt --out other --vocabulary-size 9",
    );
    let said = |line: &str| fail(path, &line.split(' ').collect::<Vec<_>>());
    let distil = "distil --teacher model --out out.safetensors";
    let error = said(&format!("{distil} --model other text.txt"));
    assert!(
        error.contains("vocabulary") && error.contains("9 tokens"),
        "{error}"
    );
    let error = said(&format!("{distil} --model student text.txt --share 1.5"));
    assert!(error.contains("the teacher's share is 1.5"), "{error}");
    let error = said(&format!(
        "{distil} --model student text.txt --temperature 0"
    ));
    assert!(error.contains("the temperature is 0"), "{error}");
    let error = said(&format!(
        "{distil} --model student text.txt --budget-seconds 0"
    ));
    assert!(error.contains("out.safetensors was not written"), "{error}");
    assert!(!path.join("out.safetensors").exists());
}
