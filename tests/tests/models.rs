//! Every kind of model, trained through a real coordinator by real nodes.

use anyhow::{Context as _, Result, ensure};
use secagg_tests::{Event, World};

const ROUNDS: u64 = 3;

/// Larger steps than by default: the messages are few.
const LEARNS: [(&str, &str); 4] = [
    ("rounds.rounds", "3"),
    ("training.epochs", "4"),
    ("training.optimizer", "{ adam = { rate = 0.02 } }"),
    ("update.range", "1.0"),
];

fn loss(event: &Event) -> Result<f64> {
    let loss = event["validation"]["loss"].as_f64();
    loss.with_context(|| format!("no validation loss in {event}"))
}

/// Three rounds of three nodes; the loss on held-out text falls to less than `share` of what it was.
/// `model` are options of `init-model`.
fn trains(model: &str, settings: &[(&str, &str)], share: f64) -> Result<()> {
    let options: Vec<&str> = model.split(' ').collect();
    let settings = [&LEARNS[..], settings].concat();
    let mut world = World::with_model(&options, 3, &settings, &[])?;
    world.start_all()?;
    let before = loss(&world.round_complete(1)?)?;
    let last = world.round_complete(ROUNDS + 1)?;
    ensure!(last["contributors"] == 3, "{last}");
    let after = loss(&last)?;
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
