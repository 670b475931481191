//! Nodes that take part only when it suits their machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use secagg_tests::{World, node::Node};

/// A machine's readings, in a folder: a laptop with one battery.
struct Laptop {
    root: PathBuf,
}

impl Laptop {
    fn plugged_in(folder: &Path) -> Result<Self> {
        let laptop = Self {
            root: folder.join("laptop"),
        };
        for (file, text) in [("AC/type", "Mains"), ("BAT0/type", "Battery")] {
            laptop.write(file, text)?;
        }
        laptop.write("BAT0/capacity", "57")?;
        laptop.plug_in()?;
        Ok(laptop)
    }

    fn plug_in(&self) -> Result<()> {
        self.write("AC/online", "1")?;
        self.write("BAT0/status", "Charging")
    }

    fn unplug(&self) -> Result<()> {
        self.write("BAT0/status", "Discharging")?;
        self.write("AC/online", "0")
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.root.join("sys/class/power_supply").join(file);
        let folder = path.parent().context("a file lies in a folder")?;
        fs::create_dir_all(folder)?;
        // Whole or not at all: the node may read at any time.
        let new = self.root.join("new");
        fs::write(&new, format!("{text}\n"))?;
        Ok(fs::rename(new, path)?)
    }

    /// Starts a node on this machine, under the conditions that `join` has written.
    fn start(&self, node: &mut Node, options: &[&str]) -> Result<()> {
        node.set_setting("look_seconds = 10.0", "look_seconds = 0.02")?;
        let root = self.root.to_str().context("a path of a test is text")?;
        node.start_with(&[&["--machine-root", root], options].concat())
    }
}

const ON_BATTERY: &str = "the machine runs on battery (57 % left)";

/// A node whose battery discharges stays away, so that the coordinator waits for it instead of
/// beginning a round that cannot succeed; it says what it waits for, and takes part on mains power.
#[test]
fn a_node_waits_for_mains_power() -> Result<()> {
    let mut world = World::new(3, &[("rounds.rounds", "1")], &[])?;
    let laptop = Laptop::plugged_in(world.folder())?;
    laptop.unplug()?;
    laptop.start(&mut world.nodes[2], &[])?;
    let waiting = world.nodes[2].wait("waiting", |_| true)?;
    assert_eq!(waiting["reason"], ON_BATTERY);
    for node in &mut world.nodes[..2] {
        node.start(&[])?;
        node.wait("connected", |_| true)?;
    }
    // Three are needed, and the third one does not count as there.
    ensure!(world.nodes[2].events().named("connected")?.is_empty());
    for node in &mut world.nodes {
        ensure!(node.events().named("announced")?.is_empty());
    }

    laptop.plug_in()?;
    let complete = world.round_complete(1)?;
    assert_eq!(complete["contributors"], 3, "{complete}");
    assert_eq!(complete["attempt"], 1, "{complete}");
    let log = world.nodes[2].log();
    for line in [
        "waiting, and away from the coordinator: the machine runs on battery (57 % left)",
        "going on: all conditions of node.toml hold",
    ] {
        ensure!(log.contains(line), "{line:?} is not in {log}");
    }
    Ok(())
}

/// Unplugged before its keys are out, a node leaves the round at once; the others go on without it.
/// Unplugged after that, it finishes the round.
#[test]
fn a_node_leaves_a_round_only_before_its_keys() -> Result<()> {
    let settings = [
        ("cohort.min_clients", "4"),
        // All five are in the round, however long the last one takes to connect.
        ("rounds.gather_seconds", "300.0"),
        ("rounds.rounds", "1"),
    ];
    let mut world = World::new(5, &settings, &[])?;
    let (leaves, finishes) = (0, 1);
    let leaver = Laptop::plugged_in(&world.folder().join("leaver"))?;
    let finisher = Laptop::plugged_in(&world.folder().join("finisher"))?;
    leaver.start(&mut world.nodes[leaves], &["--pause-at", "1:train"])?;
    finisher.start(&mut world.nodes[finishes], &[])?;
    for node in &mut world.nodes[2..] {
        node.start(&[])?;
    }
    world.nodes[leaves].paused(1, "train")?;
    // From its keys on it waits for the roster, which waits for the one that trains.
    world.nodes[finishes].wait("span", |event| event["name"] == "keygen")?;
    finisher.unplug()?;
    let finishing = world.nodes[finishes].wait("finishing", |event| event["round"] == 1)?;
    assert_eq!(finishing["reason"], ON_BATTERY, "{finishing}");

    leaver.unplug()?;
    world.nodes[leaves].wait("waiting", |_| true)?;
    let id = world.nodes[leaves].id().to_owned();
    let gone = world
        .coordinator
        .wait("node_gone", |event| event["client"] == id.as_str())?;
    assert_eq!(gone["reason"], "it left: the node comes back later");
    ensure!(world.nodes[leaves].events().named("finishing")?.is_empty());

    assert_eq!(world.nodes[finishes].round_end(1)?, "included");
    let complete = world.round_complete(1)?;
    assert_eq!(complete["contributors"], 4, "{complete}");
    Ok(())
}
