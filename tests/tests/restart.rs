//! The coordinator killed with SIGKILL at each phase, and started again: the round that was running
//! is lost, never resumed; everything before it stands; the clients come back by themselves.

use anyhow::{Result, ensure};
use secagg_tests::{Federation, model, swarm::Options};

/// Kills the coordinator in round 2 before `phase`, and starts it again.
fn killed_before(phase: &str) -> Result<()> {
    let options = Options {
        // The round that is lost may have been uploaded for.
        uploads_per_model: 2,
        ..Options::default()
    };
    let pause = format!("2:{phase}");
    let mut federation = Federation::new(4, options, &[], &[&pause])?;
    federation.swarm.start_all()?;
    federation.check_sum(1, &[0, 1, 2, 3])?;
    let first = model::flat(&federation.coordinator.weights(1)?);
    federation.coordinator.paused(2, phase)?;
    let lost = federation
        .coordinator
        .wait("round_started", |event| event["round"] == 2)?;
    federation.coordinator.kill()?;

    // What was running has left nothing behind that counts.
    let status = federation.coordinator.status()?;
    assert_eq!(
        status["rounds"].as_array().map(Vec::len),
        Some(1),
        "{status}"
    );
    ensure!(model::flat(&federation.coordinator.weights(1)?) == first);

    federation.coordinator.start(&[])?;
    let started = federation.coordinator.wait("round_started", |_| true)?;
    assert_eq!(started["round"], 2, "{started}");
    ensure!(started["attempt"] != lost["attempt"], "{started}");
    assert_eq!(started["selected"], 4, "{started}");
    federation.check_sum(2, &[0, 1, 2, 3])?;
    ensure!(model::flat(&federation.coordinator.weights(1)?) == first);
    for client in 0..4 {
        federation.wait(client, "reconnecting", |_| true)?;
        federation.wait(client, "finished", |_| true)?;
    }
    Ok(())
}

#[test]
fn killed_before_train() -> Result<()> {
    killed_before("train")
}

#[test]
fn killed_before_advertise_keys() -> Result<()> {
    killed_before("advertise-keys")
}

#[test]
fn killed_before_share_keys() -> Result<()> {
    killed_before("share-keys")
}

#[test]
fn killed_before_masked_input() -> Result<()> {
    killed_before("masked-input")
}

#[test]
fn killed_before_unmask() -> Result<()> {
    killed_before("unmask")
}

/// The sum is known and the optimiser has stepped, but nothing of it was saved.
#[test]
fn killed_before_save() -> Result<()> {
    killed_before("save")
}

/// What is pruned is nowhere else than in the weights: a coordinator that was killed prunes on, and brings
/// nothing back, though its optimiser has momentum.
#[test]
fn pruned_weights_stay_zero_after_a_restart() -> Result<()> {
    let settings = [
        ("rounds.rounds", "5"),
        ("weights.keep_last", "5"),
        (
            "rounds.pruning",
            "{ sparsity = 0.75, begin = 1, end = 4, every = 1 }",
        ),
        ("server", "{ fedavgm = { rate = 1.0, momentum = 0.9 } }"),
    ];
    let mut federation = Federation::new(4, Options::default(), &settings, &["3:train"])?;
    federation.swarm.start_all()?;
    federation.coordinator.paused(3, "train")?;
    federation.coordinator.kill()?;
    federation.coordinator.start(&[])?;
    federation.round_complete(6)?;
    let mut pruned: Vec<usize> = Vec::new();
    for (round, done) in (1..=5).zip([0.0, 1.0, 2.0, 3.0, 3.0]) {
        let weights = federation.coordinator.weights(round)?;
        let matrix = &weights["output.weight"].values;
        let zeros = (0..matrix.len()).filter(|&place| matrix[place] == 0.0);
        let zeros: Vec<usize> = zeros.collect();
        let share = 0.75 * (1.0 - (1.0 - done / 3.0_f64).powi(3));
        let found = zeros.len() as f64 / matrix.len() as f64;
        ensure!(
            (found - share).abs() < 0.01,
            "round {round}: {found}, not {share}"
        );
        ensure!(
            pruned.iter().all(|place| zeros.contains(place)),
            "round {round}: a weight came back"
        );
        pruned = zeros;
        // Vectors are not pruned.
        let vector = &weights["embedding"].values;
        let zeros = vector.iter().filter(|element| **element == 0.0).count();
        ensure!(zeros < vector.len() / 10, "{zeros} zeros in a vector");
    }
    let status = federation.coordinator.status()?;
    let sparsity = status["sparsity"].as_f64().unwrap_or_default();
    ensure!((sparsity - 0.75).abs() < 0.01, "{status}");
    Ok(())
}
