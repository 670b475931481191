//! Every kind of model, trained through a real coordinator by real nodes.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use secagg_tests::{Event, World, digits, everyday, model, node, validation_loss};

const ROUNDS: u64 = 3;

/// Larger steps than by default: the messages are few.
const LEARNS: [(&str, &str); 4] = [
    ("rounds.rounds", "3"),
    ("training.epochs", "4"),
    ("training.optimizer", "{ adam = { rate = 0.02 } }"),
    ("update.range", "1.0"),
];

/// Three rounds of three nodes; the loss on held-out text falls to less than `share` of what it was.
/// `model` are options of `init-model`.
fn trains(model: &str, settings: &[(&str, &str)], share: f64) -> Result<()> {
    let options: Vec<&str> = model.split(' ').collect();
    let settings = [&LEARNS[..], settings].concat();
    let mut world = World::with_model(&options, 3, &settings, &[])?;
    learns(&mut world, model, share)
}

/// The same in a world that is there.
fn learns(world: &mut World, model: &str, share: f64) -> Result<()> {
    world.start_all()?;
    let before = validation_loss(&world.round_complete(1)?)?;
    let last = world.round_complete(ROUNDS + 1)?;
    ensure!(last["contributors"] == 3, "{last}");
    let after = validation_loss(&last)?;
    println!("{model}: from {before} to {after} nats a token");
    ensure!(after < share * before, "{model}: from {before} to {after}");
    Ok(())
}

#[test]
fn a_cifg_lstm_is_trained() -> Result<()> {
    trains("--kind cifg-lstm --embedding 12 --units 16", &[], 0.7)
}

#[test]
fn an_lstm_is_trained() -> Result<()> {
    trains("--kind lstm --embedding 12 --units 16", &[], 0.8)
}

#[test]
fn a_gru_is_trained() -> Result<()> {
    trains("--kind gru --embedding 12 --units 16", &[], 0.65)
}

#[test]
fn a_tanh_rnn_of_two_layers_is_trained() -> Result<()> {
    trains(
        "--kind tanh-rnn --embedding 12 --units 16 --layers 2",
        &[],
        0.5,
    )
}

#[test]
fn a_transformer_is_trained() -> Result<()> {
    trains(
        "--kind transformer --embedding 16 --layers 2 --heads 2 --feed-forward 32 --context 16",
        &[],
        0.5,
    )
}

#[test]
fn a_transformer_over_characters_is_trained() -> Result<()> {
    trains(
        "--text characters --kind transformer --embedding 16 --layers 1 --heads 2 --context 12",
        &[("training.max_words", "160")],
        0.8,
    )
}

#[test]
fn a_model_of_byte_pairs_is_trained() -> Result<()> {
    const NODES: usize = 3;
    let folder = tempfile::tempdir()?;
    let tokenizer = folder.path().join("made.json");
    // What everybody says, without the names that only one of them writes.
    let public = everyday(NODES);
    node::train_tokenizer(&public, &["--model", "bpe", "--size", "360"], &tokenizer)?;
    let path = tokenizer.to_str().context("no UTF-8")?;
    let model = "--kind cifg-lstm --embedding 12 --units 16";
    let options = [
        &["--tokenizer", path][..],
        &model.split(' ').collect::<Vec<_>>(),
    ]
    .concat();
    let data = (0..NODES).map(everyday).collect();
    let settings = [&LEARNS[..], &[("training.max_words", "48")]].concat();
    let mut world = World::with_data(&[], &options, data, &settings, &[])?;
    learns(&mut world, "byte pairs", 0.75)?;
    // The nodes have the file as it was made, and it is what turns tokens into words again.
    let kept = world.nodes[0].folder().join("model/tokenizer.json");
    ensure!(
        fs::read(kept)? == fs::read(&tokenizer)?,
        "another tokenizer"
    );
    let files = world.folder().join("model-files");
    let weights = world.coordinator.weights_file(ROUNDS);
    let suggested = node::suggest(&files, &weights, &["see yo", "thank you so mu"])?;
    let words = |index: usize| suggested[index]["suggestions"][0]["word"].as_str();
    ensure!(
        words(0) == Some("you") && words(1) == Some("much"),
        "{suggested}"
    );
    Ok(())
}

#[test]
fn some_rows_of_the_embedding_are_trained() -> Result<()> {
    /// `<end>` and the words that are most frequent.
    const CHOSEN: std::ops::Range<usize> = 3..30;
    let tensors = format!("[\"embedding[{}..{}]\"]", CHOSEN.start, CHOSEN.end);
    let settings = [&LEARNS[..], &[("update.tensors", tensors.as_str())]].concat();
    let options = ["--embedding", "12", "--units", "16"];
    let mut world = World::with_model(&options, 3, &settings, &[])?;
    learns(&mut world, "some rows", 0.9)?;
    let [before, after] =
        [0, ROUNDS].map(|round| model::read(&world.coordinator.weights_file(round)));
    let (before, after) = (before?, after?);
    for (name, tensor) in &before {
        let columns = tensor.shape.get(1..).unwrap_or_default().iter().product();
        let rows = tensor
            .values
            .chunks(columns)
            .zip(after[name].values.chunks(columns));
        for (row, (old, new)) in rows.enumerate() {
            let same = old
                .iter()
                .zip(new)
                .all(|(old, new)| old.to_bits() == new.to_bits());
            let trained = name == "embedding" && CHOSEN.contains(&row);
            ensure!(
                same != trained,
                "{name}, row {row}: from {old:?} to {new:?}"
            );
        }
    }
    Ok(())
}

/// The share of digits that a model of images must tell right.
const ACCURACY: f64 = 0.95;

/// Four nodes with the digits of twenty-five people each; a few rounds later the model tells the digits right that
/// they held out, and those of forty people whom no node knows. `model` are options of `init-model`.
fn tells_digits(model: &str, settings: &[(&str, &str)]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (ours, others) = (
        folder.path().join("ours.jsonl"),
        folder.path().join("others.jsonl"),
    );
    let people = digits::draw(&ours, &["--people", "100", "--images", "50"])?;
    let unknown = "--people 40 --images 25 --first-person 1000";
    digits::draw(&others, &unknown.split(' ').collect::<Vec<_>>())?;
    let data = people.chunks(25).map(<[_]>::concat).collect();
    let options: Vec<&str> = model.split(' ').collect();
    let mut world = World::with_data(&[], &options, data, settings, &[])?;
    world.start_all()?;
    let first = world.round_complete(1)?;
    let rounds = settings.iter().find(|(key, _)| *key == "rounds.rounds");
    let rounds: u64 = rounds.context("no rounds")?.1.parse()?;
    let last = world.round_complete(rounds + 1)?;
    ensure!(last["contributors"] == 4, "{last}");
    let top1 = |event: &Event| event["validation"]["top1"].as_f64().unwrap_or_default();
    let weights = world.coordinator.weights_file(rounds);
    let model_files = world.folder().join("model-files");
    let accuracy = digits::accuracy(&model_files, &weights, &others)?;
    println!(
        "{model}: from {} to {}, by others {accuracy}",
        top1(&first),
        top1(&last)
    );
    // Nothing learnt is a tenth.
    ensure!(top1(&first) < 0.3, "{first}");
    ensure!(last["validation"]["tokens"] == 500, "{last}");
    ensure!(top1(&last) >= ACCURACY, "{model}: {last}");
    ensure!(
        accuracy >= ACCURACY,
        "{model}: {accuracy} of others' digits"
    );
    Ok(())
}

#[test]
fn an_mlp_tells_digits() -> Result<()> {
    tells_digits(
        "--kind mlp --units 128",
        &[
            ("rounds.rounds", "5"),
            ("training.epochs", "3"),
            ("training.batch", "32"),
            ("training.optimizer", "{ adam = { rate = 0.002 } }"),
            ("update.range", "0.5"),
        ],
    )
}

#[test]
fn a_cnn_tells_digits() -> Result<()> {
    tells_digits(
        "--kind cnn --first-filters 6 --second-filters 12 --units 48",
        &[
            ("rounds.rounds", "3"),
            ("training.epochs", "2"),
            ("training.batch", "32"),
            ("training.optimizer", "{ adam = { rate = 0.003 } }"),
            ("update.range", "0.5"),
        ],
    )
}

/// Three nodes learn to say numbers that none of them has seen. `numbers` are options of the command
/// that makes them, and `model` of `init-model`. At least 95 % of the held-out ones must be right.
fn says_numbers(numbers: &[&str], model: &[&str], rounds: u64, epochs: &str) -> Result<()> {
    const NODES: usize = 3;
    /// Nobody's training has the numbers of each person's tenth lines.
    const PEOPLE: &str = "20";
    const HELD_OUT_EVERY: usize = 10;
    let people = node::numbers(&[&["--people", PEOPLE][..], numbers].concat())?;
    let held_out: Vec<String> = people
        .iter()
        .flat_map(|lines| {
            lines
                .iter()
                .skip(HELD_OUT_EVERY - 1)
                .step_by(HELD_OUT_EVERY)
        })
        .cloned()
        .collect();
    let kind = ["--kind", "encoder-decoder", "--text", "words-and-digits"];
    let last = rounds.to_string();
    let settings = [
        ("rounds.rounds", last.as_str()),
        ("training.epochs", epochs),
        ("training.batch", "16"),
        ("training.optimizer", "{ adam = { rate = 0.005 } }"),
        ("update.range", "1.0"),
    ];
    let texts = people[..NODES].to_vec();
    let model = [&kind, model].concat();
    let mut world = World::with_data(&people.concat(), &model, texts, &settings, &[])?;
    world.start_all()?;
    let complete = world.round_complete(rounds)?;
    ensure!(complete["contributors"] == NODES, "{complete}");
    let files = world.folder().join("model-files");
    let exact = |round: u64| -> Result<f64> {
        let weights = world.coordinator.weights_file(round);
        let evaluation = node::evaluate(&files, &weights, &held_out)?;
        let exact = evaluation["exact"].as_f64();
        exact.with_context(|| format!("no exact share in {evaluation}"))
    };
    let (before, after) = (exact(0)?, exact(rounds)?);
    println!("{numbers:?}: from {before} to {after} exact");
    ensure!(
        before < 0.05 && after >= 0.95,
        "from {before} to {after} exact"
    );
    let (source, target) = held_out[0].split_once('\t').context("no pair")?;
    for search in [&[][..], &["--beams", "4"]] {
        let weights = world.coordinator.weights_file(rounds);
        let said = node::translate(&files, &weights, &[&[source], search].concat())?;
        ensure!(said.trim_end() == format!("{source} → {target}"), "{said}");
    }
    Ok(())
}

#[test]
fn numbers_are_said_digit_by_digit() -> Result<()> {
    says_numbers(
        &["--pairs", "250", "--digits", "1..=6", "--style", "digits"],
        &[
            "--embedding",
            "32",
            "--encoder-layers",
            "1",
            "--decoder-layers",
            "1",
            "--heads",
            "2",
            "--feed-forward",
            "64",
            "--context",
            "8",
        ],
        6,
        "8",
    )
}

#[test]
fn numbers_are_said_in_english() -> Result<()> {
    says_numbers(
        &["--pairs", "300", "--digits", "3", "--style", "english"],
        &[
            "--embedding",
            "32",
            "--encoder-layers",
            "1",
            "--decoder-layers",
            "1",
            "--heads",
            "2",
            "--feed-forward",
            "64",
            "--context",
            "12",
        ],
        5,
        "6",
    )
}
