//! Evolution strategies in which almost nothing travels in either direction: nodes hold the weights
//! themselves, through a restart of the coordinator, rounds that they missed, and a damaged disk.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};
use secagg_tests::{Event, World, node, validation_loss};
use secagg_wire::digest::Digest;

const ROUNDS: u64 = 12;

/// The first round that the second, and the third coordinator run.
const RESTARTS: [u64; 2] = [4, 7];

const MODEL: [&str; 8] = [
    "--kind",
    "tanh-rnn",
    "--text",
    "characters",
    "--embedding",
    "16",
    "--units",
    "64",
];

const SETTINGS: [(&str, &str); 10] = [
    ("cohort.min_clients", "3"),
    ("rounds.rounds", "12"),
    // Until all are there.
    ("rounds.gather_seconds", "60.0"),
    ("evolution.pairs", "64"),
    ("evolution.sigma", "0.02"),
    ("training.batch", "18"),
    ("update.clip_norm", "100.0"),
    ("update.range", "20.0"),
    ("weights.keep_last", "100"),
    (
        "server",
        "{ fedadam = { rate = 0.02, beta1 = 0.9, beta2 = 0.99, tau = 0.001 } }",
    ),
];

/// What the nodes say of their rounds: the events of each round by node.
#[derive(Default)]
struct Seen {
    weights: BTreeMap<(u64, usize), Event>,
    down: BTreeMap<(u64, usize), u64>,
}

impl Seen {
    /// Adds what a node has said since it was started.
    fn add(&mut self, world: &mut World, index: usize) -> Result<()> {
        let node = world.nodes.get_mut(index).context("no such node")?;
        for event in node.events().named("weights")? {
            let round = event["round"].as_u64().context("no round")?;
            self.weights.insert((round, index), event);
        }
        for event in node.events().named("bytes")? {
            let round = event["round"].as_u64().context("no round")?;
            let down = event["down"].as_u64().context("no bytes")?;
            // A round that ended with a coordinator is announced again.
            self.down.insert((round, index), down);
        }
        Ok(())
    }

    /// How a node came to the weights of a round: its way, and how many steps.
    fn way(&self, round: u64, node: usize) -> Result<(&str, u64)> {
        let event = self.weights.get(&(round, node));
        let event = event.with_context(|| format!("node {node} was not in round {round}"))?;
        let way = event["way"].as_str().context("no way")?;
        Ok((way, event["steps"].as_u64().context("no steps")?))
    }
}

/// Starts the coordinator again; it waits for so many nodes.
fn restart(world: &mut World, gather: &str, pauses: &[&str]) -> Result<()> {
    world.coordinator.kill()?;
    world
        .coordinator
        .set(&[("rounds.gather_seconds", gather)])?;
    world.coordinator.start(pauses)?;
    Ok(())
}

#[test]
fn nodes_hold_the_weights_themselves() -> Result<()> {
    let [second, third] = RESTARTS;
    let pause = format!("{second}:train");
    let mut world = World::with_model(&MODEL, 4, &SETTINGS, &["--pause-at", &pause])?;
    let mut seen = Seen::default();
    world.start_all()?;
    world.coordinator.paused(second, "train")?;
    let before = validation_loss(&world.round_complete(1)?)?;

    // The last node is away for three rounds. The coordinator's log outlives it.
    seen.add(&mut world, 3)?;
    world.nodes[3].kill()?;
    let pause = format!("{third}:train");
    restart(&mut world, "0.5", &[&pause])?;
    world.coordinator.paused(third, "train")?;

    // It comes back; another one only starts again, and of a third one the disk is damaged.
    world.nodes[3].start(&[])?;
    for index in [1, 2] {
        seen.add(&mut world, index)?;
        world.nodes[index].kill()?;
    }
    let file = world.nodes[2].folder().join("model/current.safetensors");
    let mut bytes = fs::read(&file)?;
    *bytes.last_mut().context("no bytes")? ^= 1;
    fs::write(&file, bytes)?;
    for index in [1, 2] {
        world.nodes[index].start(&[])?;
    }
    restart(&mut world, "60.0", &[])?;
    let last = world.round_complete(ROUNDS + 1)?;
    ensure!(last["contributors"] == 4, "{last}");
    for index in 0..4 {
        world.nodes[index].wait_end()?;
        seen.add(&mut world, index)?;
    }

    let after = validation_loss(&last)?;
    println!("loss on held-out text from {before} to {after}");
    ensure!(after < before - 0.15, "from {before} to {after}");
    came_to_the_weights(&seen)?;
    all_have_the_coordinators(&world, &seen)?;
    hardly_anything_goes_down(&world, &seen)?;
    status_says_so(&world)?;
    let written = node::generate(
        world.nodes[2].folder(),
        &["--temperature", "0.8", "--seed", "1", "s"],
    )?;
    println!("{written}");
    ensure!(written.trim().len() > 1, "{written:?}");
    Ok(())
}

fn came_to_the_weights(seen: &Seen) -> Result<()> {
    let [second, third] = RESTARTS;
    for node in 0..4 {
        ensure!(seen.way(1, node)? == ("kept", 0), "node {node} in round 1");
        for round in [2, 3, third + 1, third + 2, ROUNDS, ROUNDS + 1] {
            let way = seen.way(round, node)?;
            ensure!(way == ("steps", 1), "node {node} in round {round}: {way:?}");
        }
    }
    for round in second..third {
        ensure!(!seen.weights.contains_key(&(round, 3)));
        for node in 0..3 {
            ensure!(seen.way(round, node)? == ("steps", 1), "round {round}");
        }
    }
    // From its disk; by the damaged disk not at all; and what was missed at once.
    ensure!(seen.way(third, 1)? == ("steps", 1));
    ensure!(seen.way(third, 2)? == ("fetched", 0));
    let missed = third - second + 1;
    ensure!(seen.way(third, 3)? == ("steps", missed));
    Ok(())
}

fn all_have_the_coordinators(world: &World, seen: &Seen) -> Result<()> {
    for ((round, node), event) in &seen.weights {
        let file = fs::read(world.coordinator.weights_file(round - 1))?;
        let expected = Digest::of(&file).to_string();
        ensure!(event["sha256"] == expected, "node {node}: {event}");
    }
    ensure!(seen.weights.len() as u64 == 4 * (ROUNDS + 1) - 3);
    Ok(())
}

fn hardly_anything_goes_down(world: &World, seen: &Seen) -> Result<()> {
    let weights = fs::metadata(world.coordinator.weights_file(ROUNDS))?.len();
    let mut most = 0;
    for ((round, node), down) in &seen.down {
        match seen.way(*round, *node)? {
            ("fetched", _) => ensure!(*down > 3 * weights, "{down} bytes with FedAdam's state"),
            // The protocol's messages are most of it.
            _ => most = most.max(*down),
        }
    }
    println!("at most {most} bytes a round and node, weights of {weights}");
    ensure!(most < weights / 3, "{most} bytes, weights of {weights}");
    Ok(())
}

/// The coordinator's own figures are what went over the network.
fn status_says_so(world: &World) -> Result<()> {
    let weights = fs::metadata(world.coordinator.weights_file(ROUNDS))?.len();
    let status = world.coordinator.status()?;
    let rounds = status["rounds"].as_array().context("no rounds")?;
    ensure!(rounds.len() as u64 == ROUNDS + 1, "{status}");
    for round in rounds {
        let down = round["bytes_down"].as_u64().context("no bytes")?;
        let number = round["round"].as_u64().context("no number")?;
        // What nodes fetch when they join may be among the first round's bytes, or come before it.
        if number == 1 {
            continue;
        }
        // Four nodes, whose connections also find out how long a packet may be.
        let few = down < 2 * weights;
        let expected = number != RESTARTS[1];
        ensure!(few == expected, "round {number}: {down} bytes");
    }
    Ok(())
}
