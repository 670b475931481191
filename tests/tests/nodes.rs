//! Real nodes that train a tiny model.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use secagg_tests::{
    Coordinator, Deadline, Event,
    authority::Authority,
    federation::QUICK,
    model,
    node::{self, Node},
};
use tempfile::TempDir;

/// A coordinator and real nodes in a temporary folder, the nodes not started yet.
struct World {
    coordinator: Coordinator,
    nodes: Vec<Node>,
    _folder: TempDir,
}

/// Larger steps than by default: the messages are few.
const LEARNS: [(&str, &str); 5] = [
    ("training.epochs", "4"),
    ("training.optimizer", "{ adam = { rate = 0.02 } }"),
    ("update.range", "1.0"),
    ("deadlines.train.min_seconds", "60.0"),
    ("deadlines.train.max_seconds", "60.0"),
];

impl World {
    fn new(nodes: usize, settings: &[(&str, &str)], pauses: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let root: &Path = folder.path();
        let deadline = Deadline::of_a_test();
        let files = node::init_model(root, &messages(0))?;
        let count = nodes.to_string();
        let mut all = QUICK.to_vec();
        all.extend(LEARNS);
        all.extend([
            ("cohort.threat_model", "\"malicious\""),
            ("cohort.min_clients", count.as_str()),
            ("cohort.max_clients", count.as_str()),
        ]);
        all.extend(settings);
        let authority = Authority::new(root)?;
        let mut coordinator = Coordinator::init(root, &files, authority.pin(), &all, deadline)?;
        let address = coordinator.start(pauses)?;
        let tokens = coordinator.tokens(nodes)?;
        let nodes = tokens.iter().enumerate().map(|(index, token)| {
            let name = format!("node-{index}");
            Node::join(
                root,
                &name,
                address,
                token,
                &authority,
                &messages(index),
                deadline,
            )
        });
        let nodes = nodes.collect::<Result<_>>()?;
        Ok(Self {
            coordinator,
            nodes,
            _folder: folder,
        })
    }

    /// Waits for a round, and shows what the nodes say when it does not come.
    fn round_complete(&mut self, round: u64) -> Result<Event> {
        let complete = self.coordinator.round_complete(round);
        complete.with_context(|| {
            for node in &mut self.nodes {
                // Read once more, so that the text has the end.
                let _ = node.events().all();
            }
            let texts: Vec<String> = self.nodes.iter().map(Node::text).collect();
            texts.concat()
        })
    }
}

/// Everyday sentences, a few of them different for each node.
fn messages(node: usize) -> Vec<String> {
    let friends = ["anna", "ben", "carla", "david", "emma"];
    let friend = friends[node % friends.len()];
    let mut messages = Vec::new();
    for day in ["monday", "tuesday", "friday", "sunday"] {
        messages.push(format!("see you on {day} at the station"));
        messages.push(format!("i will be there on {day} with {friend}"));
        messages.push(format!("call me when you are home on {day}"));
        messages.push("thank you so much for the lovely evening".to_owned());
        messages.push(format!("{friend} says hello to all of you"));
    }
    messages
}

fn loss(event: &Event) -> Result<f64> {
    let loss = event["validation"]["loss"].as_f64();
    loss.with_context(|| format!("no validation loss in {event}"))
}

/// Three nodes train for three rounds, through a coordinator that is killed in the second one and
/// started again: the nodes come back by themselves, and the loss on held-out text goes down.
#[test]
fn a_whole_training_lowers_the_loss() -> Result<()> {
    let mut world = World::new(3, &[("rounds.rounds", "3")], &["2:masked-input"])?;
    for node in &mut world.nodes {
        node.start(&[])?;
    }
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
    let (before, after) = (loss(&before)?, loss(&after)?);
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
