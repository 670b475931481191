//! Ways to train, through a real coordinator and real nodes.

use anyhow::{Context as _, Result, ensure};
use secagg_tests::{World, validation_loss};

/// The loss on held-out text before the first round and after the last.
fn losses(world: &mut World, rounds: u64) -> Result<[f64; 2]> {
    world.start_all()?;
    let before = validation_loss(&world.round_complete(1)?)?;
    let after = world.round_complete(rounds + 1)?;
    ensure!(after["contributors"] == 3, "{after}");
    Ok([before, validation_loss(&after)?])
}

/// Evolution strategies: a node sends a few hundred bytes a round, and the loss falls.
#[test]
fn a_tanh_rnn_is_trained_by_a_few_numbers_a_round() -> Result<()> {
    const ROUNDS: u64 = 12;
    const MODEL: [&str; 6] = ["--kind", "tanh-rnn", "--embedding", "12", "--units", "16"];
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
    let mut world = World::with_model(&MODEL, 3, &settings, &[])?;
    let [before, after] = losses(&mut world, ROUNDS)?;
    let sent = world.nodes[0].wait("uploaded", |event| event["round"] == 1)?;
    let bytes = sent["bytes"].as_u64().context("no bytes")?;
    // 64 numbers of 18 bits and ten counters.
    ensure!(bytes < 250, "{bytes} bytes");
    ensure!(
        after < before - 0.25,
        "from {before} to {after}, {bytes} bytes a round"
    );
    Ok(())
}

/// Batches added up to larger steps, a schedule, weight decay and FedProx, all at once; each node measures the
/// memory that it took.
#[test]
fn local_training_follows_the_whole_plan() -> Result<()> {
    const ROUNDS: u64 = 3;
    let settings = [
        ("rounds.rounds", "3"),
        ("training.epochs", "4"),
        ("training.optimizer", "{ adam = { rate = 0.02 } }"),
        ("update.range", "1.0"),
        ("training.batch", "2"),
        ("training.accumulate", "2"),
        (
            "training.schedule",
            "{ cosine = { steps = 6, floor = 0.5 } }",
        ),
        ("training.weight_decay", "0.001"),
        ("training.proximal", "0.01"),
    ];
    let mut world = World::new(3, &settings, &[])?;
    let [before, after] = losses(&mut world, ROUNDS)?;
    ensure!(after < 0.8 * before, "from {before} to {after}");
    for node in &mut world.nodes {
        node.wait_end()?;
        let memory = node.events().named("memory")?;
        ensure!(memory.len() == 3, "{memory:?}");
        let estimated = |event: &secagg_tests::Event| event["estimated_bytes"].as_u64();
        ensure!(
            memory.iter().all(|event| estimated(event) > Some(0)),
            "{memory:?}"
        );
    }
    Ok(())
}
