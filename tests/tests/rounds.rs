//! Rounds in which nothing goes wrong.

use anyhow::{Result, ensure};
use secagg_tests::{Federation, model, swarm::Options};

/// Two rounds and the closing evaluation: the weights follow the plain weighted mean, the figures
/// are the plain sums, and everybody hears the end.
#[test]
fn a_training_follows_the_plain_weighted_mean() -> Result<()> {
    let mut federation = Federation::new(4, Options::default(), &[], &[])?;
    let initial = federation.coordinator.weights(0)?;
    ensure!(model::flat(&initial).len() == secagg_tests::federation::PARAMETERS);
    federation.swarm.start_all()?;
    for round in 1..=2 {
        federation.check_sum(round, &[0, 1, 2, 3])?;
    }
    // The closing round evaluates the weights after round 2, and changes none.
    let closing = federation.round_complete(3)?;
    assert_eq!(closing["kind"], "evaluate-only");
    federation.check_sum(3, &[0, 1, 2, 3])?;
    assert!(!federation.coordinator.has_weights(3));
    for client in 0..4 {
        for round in 1..=3 {
            assert_eq!(federation.round_end(client, round)?, "included");
        }
        federation.wait(client, "finished", |_| true)?;
    }
    let status = federation.coordinator.wait_end()?;
    assert!(status.success(), "{status}");
    let finished = &federation.coordinator.events().named("finished")?[0];
    assert_eq!(finished["rounds"], 2);
    let status = federation.coordinator.status()?;
    assert_eq!(
        status["rounds"].as_array().map(Vec::len),
        Some(3),
        "{status}"
    );
    // All figures are the same, so that the initial weights count as the best.
    let path = |name: &str| status[name].as_str().map(std::path::Path::new);
    let (best, last) = (path("best_weights"), path("weights"));
    ensure!(best.is_some_and(|path| path.is_file() && path.ends_with("model/initial.safetensors")));
    ensure!(last.is_some_and(|path| path.is_file() && path.ends_with("round-0002.safetensors")));
    Ok(())
}

/// What the coordinator logs about an upload is what was sent.
#[test]
fn the_digests_of_uploads_agree() -> Result<()> {
    let mut federation = Federation::new(3, Options::default(), &[("rounds.rounds", "1")], &[])?;
    federation.swarm.start_all()?;
    federation.round_complete(2)?;
    for client in 0..3 {
        for round in 1..=2 {
            let sent = federation.wait(client, "uploaded", |event| event["round"] == round)?;
            let name = federation.swarm.name(client).to_owned();
            let received = federation.coordinator.wait("upload", |event| {
                event["round"] == round && event["name"] == name.as_str()
            })?;
            assert!(sent["blake3"].is_string());
            assert_eq!(sent["blake3"], received["blake3"]);
            assert_eq!(sent["bytes"], received["bytes"]);
            assert_eq!(
                received["client"],
                federation.swarm.id(client).to_string(),
                "{received}"
            );
        }
    }
    Ok(())
}
