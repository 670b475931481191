//! Every kind of model and every way to train, through a real coordinator and real nodes.

use anyhow::{Context as _, Result, ensure};
use secagg_tests::{Event, World};

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

/// The loss on held-out text before the first round and after the last.
fn losses(world: &mut World, rounds: u64) -> Result<[f64; 2]> {
    world.start_all()?;
    let before = loss(&world.round_complete(1)?)?;
    let after = world.round_complete(rounds + 1)?;
    ensure!(after["contributors"] == 3, "{after}");
    Ok([before, loss(&after)?])
}

fn trains(kind: &[&str]) -> Result<()> {
    let mut world = World::with_model(kind, 3, &LEARNS, &[])?;
    let [before, after] = losses(&mut world, 3)?;
    ensure!(after < 0.8 * before, "{kind:?}: from {before} to {after}");
    Ok(())
}

#[test]
fn an_lstm_is_trained() -> Result<()> {
    trains(&["--kind", "lstm", "--units", "16"])
}

#[test]
fn a_gru_is_trained() -> Result<()> {
    trains(&["--kind", "gru", "--units", "16"])
}

#[test]
fn a_tanh_rnn_of_two_layers_is_trained() -> Result<()> {
    trains(&["--kind", "tanh-rnn", "--layers", "2", "--units", "16"])
}

#[test]
fn a_transformer_is_trained() -> Result<()> {
    trains(&["--kind", "transformer", "--heads", "2", "--context", "32"])
}

/// Evolution strategies: a node sends a few hundred bytes a round, and the loss falls.
#[test]
fn a_tanh_rnn_is_trained_by_a_few_numbers_a_round() -> Result<()> {
    const ROUNDS: u64 = 12;
    let settings = [
        ("rounds.rounds", "12"),
        ("evolution.pairs", "64"),
        ("evolution.sigma", "0.02"),
        ("training.batch", "18"),
        ("update.clip_norm", "100.0"),
        ("update.range", "20.0"),
        (
            "server",
            "{ fedadam = { rate = 0.05, beta1 = 0.9, beta2 = 0.99, tau = 0.001 } }",
        ),
    ];
    let mut world = World::with_model(&["--kind", "tanh-rnn", "--units", "16"], 3, &settings, &[])?;
    let [before, after] = losses(&mut world, ROUNDS)?;
    let sent = world.nodes[0].wait("uploaded", |event| event["round"] == 1)?;
    let bytes = sent["bytes"].as_u64().context("no bytes")?;
    // 64 numbers of 18 bits and seven counters.
    ensure!(bytes < 250, "{bytes} bytes");
    ensure!(
        after < before - 0.25,
        "from {before} to {after}, {bytes} bytes a round"
    );
    Ok(())
}
