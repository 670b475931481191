//! Real nodes that train a tiny model.

use anyhow::{Context as _, Result, ensure};
use secagg_tests::{World, model, validation_loss};

/// Larger steps than by default: the messages are few.
const LEARNS: [(&str, &str); 3] = [
    ("training.epochs", "4"),
    ("training.optimizer", "{ adam = { rate = 0.02 } }"),
    ("update.range", "1.0"),
];

/// Three nodes train for three rounds, through a coordinator that is killed in the second one and
/// started again: the nodes come back by themselves, and the loss on held-out text goes down.
#[test]
fn a_whole_training_lowers_the_loss() -> Result<()> {
    let settings = [&LEARNS[..], &[("rounds.rounds", "3")]].concat();
    let mut world = World::new(3, &settings, &["--pause-at", "2:masked-input"])?;
    world.start_all()?;
    let before = world.round_complete(1)?;
    world.coordinator.paused(2, "masked-input")?;
    world.coordinator.kill()?;
    world.coordinator.start(&[])?;
    for round in 2..=4 {
        let complete = world.round_complete(round)?;
        assert_eq!(complete["contributors"], 3, "{complete}");
    }
    let after = world.round_complete(4)?;
    assert_eq!(after["kind"], "evaluate-only", "{after}");
    let (before, after) = (validation_loss(&before)?, validation_loss(&after)?);
    ensure!(
        after < 0.8 * before,
        "the loss went from {before} to {after}"
    );
    for node in &mut world.nodes {
        node.wait_end()?;
        let reconnecting = node.events().named("reconnecting")?;
        ensure!(!reconnecting.is_empty(), "{}", node.text());
    }
    // Names and shapes are those of the initial weights, the values are not.
    let (initial, last) = (world.coordinator.weights(0)?, world.coordinator.weights(3)?);
    let shapes = |weights: &std::collections::BTreeMap<String, model::Tensor>| {
        let shapes = weights.iter();
        shapes
            .map(|(name, tensor)| (name.clone(), tensor.shape.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(shapes(&initial), shapes(&last));
    assert_ne!(initial, last);
    ensure!(model::flat(&last).iter().all(|weight| weight.is_finite()));
    Ok(())
}

/// One node is killed with half of its vector on the way, another one is too slow to share its
/// keys: round 1 is complete without them, and round 2 has both. Of seven nodes five are enough
/// for a threshold of four.
#[test]
fn a_killed_and_a_slow_node_are_back_in_the_next_round() -> Result<()> {
    let settings = [
        ("network.idle_seconds", "4.0"),
        ("rounds.rounds", "2"),
        ("deadlines.masked_input.min_seconds", "30.0"),
        ("uploads.stall_seconds", "30.0"),
    ];
    let settings = [&LEARNS[..], &settings].concat();
    let mut world = World::new(7, &settings, &[])?;
    let (killed, slow) = (3, 4);
    for (index, node) in world.nodes.iter_mut().enumerate() {
        let pauses: &[&str] = match index {
            _ if index == killed => &["1:upload"],
            _ if index == slow => &["1:share-keys"],
            _ => &[],
        };
        node.start(pauses)?;
    }
    world.nodes[slow].paused(1, "share-keys")?;
    world.nodes[killed].paused(1, "upload")?;
    world.nodes[killed].kill()?;

    let complete = world.round_complete(1)?;
    assert_eq!(complete["contributors"], 5, "{complete}");
    for (phase, node, reason) in [
        ("share-keys", "node-4", "it did not answer in time"),
        (
            "masked-input",
            "node-3",
            "the connection timed out: the other side is gone or the network is down",
        ),
    ] {
        let event = world.coordinator.wait("phase", |event| {
            event["round"] == 1 && event["phase"] == phase
        })?;
        let lost = event["lost"].as_array().context("no list of those lost")?;
        assert_eq!(lost.len(), 1, "{event}");
        assert_eq!(lost[0]["name"], node, "{event}");
        assert_eq!(lost[0]["reason"], reason, "{event}");
    }
    assert_eq!(world.nodes[slow].round_end(1)?, "not-included");

    world.nodes[killed].start(&[])?;
    let complete = world.round_complete(2)?;
    assert_eq!(complete["contributors"], 7, "{complete}");
    assert_eq!(world.nodes[slow].round_end(2)?, "included");
    assert_eq!(world.nodes[killed].round_end(2)?, "included");
    Ok(())
}
