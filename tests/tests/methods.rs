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

/// Batches added up to larger steps, a schedule, weight decay, FedProx and dropout, all at once; each node measures the
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
        ("training.dropout", "0.1"),
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

/// The bytes of the weights that a node got for a round.
fn received(world: &mut World, round: u64) -> Result<f64> {
    let event = world.nodes[0].wait("model_received", |event| {
        event["file"] == "weights" && event["round"] == round
    })?;
    event["bytes"].as_f64().context("no bytes")
}

/// Weights of 8 bits go down, a quarter of the bytes, and the coordinator's own are finer; the nodes'
/// updates of what they have got are of use to it.
#[test]
fn a_model_is_trained_by_nodes_that_get_it_in_8_bits() -> Result<()> {
    const ROUNDS: u64 = 4;
    const MODEL: [&str; 6] = ["--kind", "gru", "--embedding", "96", "--units", "96"];
    let settings = [
        ("rounds.rounds", "4"),
        ("rounds.weights_down", "\"int8\""),
        ("training.epochs", "4"),
        ("training.optimizer", "{ adam = { rate = 0.004 } }"),
        ("update.range", "1.0"),
    ];
    let mut world = World::with_model(&MODEL, 3, &settings, &[])?;
    let [before, after] = losses(&mut world, ROUNDS)?;
    println!("from {before} to {after} nats a token");
    ensure!(after < 0.5 * before, "from {before} to {after}");
    // The first weights too: what they are in f32 came with the model.
    let (first, second) = (received(&mut world, 1)?, received(&mut world, 2)?);
    let weights = world.coordinator.weights(ROUNDS)?;
    let elements: usize = weights.values().map(|tensor| tensor.values.len()).sum();
    let whole = 4.0 * elements as f64;
    println!("{first} and {second} bytes of {whole}");
    ensure!(
        first <= 0.27 * whole && second <= 0.27 * whole,
        "{second} of {whole}"
    );
    // The coordinator's own are no multiples of a row's largest magnitude over 127.
    let embedding = &weights.get("embedding").context("no embedding")?.values;
    let in_steps = embedding.chunks_exact(96).filter(|row| {
        let largest = row.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let off = |x: &f32| {
            let steps = 127.0 * x / largest;
            (steps - steps.round()).abs() < 1e-3
        };
        row.iter().all(off)
    });
    let in_steps = in_steps.count();
    ensure!(in_steps == 0, "{in_steps} rows have 8 bits");
    Ok(())
}

/// Half of the bytes, and all nodes get the same.
#[test]
fn weights_go_down_in_bf16() -> Result<()> {
    const MODEL: [&str; 6] = ["--kind", "gru", "--embedding", "96", "--units", "96"];
    let settings = [("rounds.rounds", "1"), ("rounds.weights_down", "\"bf16\"")];
    let mut world = World::with_model(&MODEL, 3, &settings, &[])?;
    world.start_all()?;
    let last = world.round_complete(2)?;
    ensure!(last["contributors"] == 3, "{last}");
    let weights = world.coordinator.weights(1)?;
    let elements: usize = weights.values().map(|tensor| tensor.values.len()).sum();
    let bytes = received(&mut world, 2)?;
    let whole = 4.0 * elements as f64;
    ensure!(
        (0.5 * whole..0.51 * whole).contains(&bytes),
        "{bytes} of {whole}"
    );
    Ok(())
}

/// Half of all matrices become zeros while real nodes train on, and what they know comes back in the
/// weights that are left.
#[test]
fn a_model_is_pruned_while_it_is_trained() -> Result<()> {
    const ROUNDS: u64 = 5;
    const MODEL: [&str; 6] = ["--kind", "gru", "--embedding", "48", "--units", "48"];
    let settings = [
        ("rounds.rounds", "5"),
        (
            "rounds.pruning",
            "{ sparsity = 0.5, begin = 1, end = 4, every = 1 }",
        ),
        ("rounds.weights_down", "\"bf16\""),
        ("training.epochs", "4"),
        ("training.optimizer", "{ adam = { rate = 0.004 } }"),
        ("update.range", "1.0"),
    ];
    let mut world = World::with_model(&MODEL, 3, &settings, &[])?;
    let [before, after] = losses(&mut world, ROUNDS)?;
    println!("from {before} to {after} nats a token");
    ensure!(after < 0.6 * before, "from {before} to {after}");
    let mut last = 0.0;
    for round in 1..=ROUNDS {
        let event = world.round_complete(round)?;
        let sparsity = event["sparsity"].as_f64().context("no sparsity")?;
        ensure!(
            sparsity >= last && (round == 1) == (sparsity < 0.1),
            "{event}"
        );
        last = sparsity;
    }
    ensure!((last - 0.5).abs() < 1e-3, "{last}");
    // Half of what is not zero, and a bit for each weight: 9 of 16 bits, where vectors are few.
    let (first, late) = (received(&mut world, 2)?, received(&mut world, ROUNDS + 1)?);
    println!("{first} bytes, pruned {late}");
    ensure!((0.55..0.62).contains(&(late / first)), "{late} of {first}");
    for (name, tensor) in world.coordinator.weights(ROUNDS)? {
        let zeros = tensor.values.iter().filter(|element| **element == 0.0);
        let share = zeros.count() as f64 / tensor.values.len() as f64;
        let expected = if tensor.shape.len() > 1 { 0.5 } else { 0.0 };
        ensure!((share - expected).abs() < 0.1, "{name}: {share}");
    }
    Ok(())
}
