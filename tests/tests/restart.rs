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
