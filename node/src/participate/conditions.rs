//! When a node takes part: while its machine is idle, on mains power and on an unmetered network, each
//! as its owner wants it.
//!
//! While a condition does not hold the node stays away from its coordinator altogether. Connected, it
//! would be counted among those that a round can start with, and then decline: rounds would be
//! announced that cannot reach their quorum. And on a battery or a metered network even keeping a
//! connection alive costs something.
//!
//! When a condition ends in a round, the node leaves as long as it has not sent its keys: up to there
//! nobody has to make up for it. After that it finishes the round, which takes seconds: the others
//! would have to recover its masks, and its training would be lost.

mod network;
mod power;
mod processor;

use std::fmt;
use std::mem::discriminant;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use self::network::Network;
use self::power::Power;
use self::processor::Processor;
use super::node::Node;

/// The conditions under which a node takes part. A value that exists is usable.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainWhen {
    /// Only while other programs leave the processor alone.
    pub idle: bool,
    /// Only on mains power.
    pub mains: bool,
    /// Only on a network that is not metered.
    pub unmetered: bool,
    /// The machine is idle while other programs use at most this share of all cores' time.
    pub busy_share: f64,
    /// Seconds between two looks at all of it.
    pub look_seconds: f64,
}

impl Default for TrainWhen {
    /// On mains power and an unmetered network. Not only on an idle machine: on one with several
    /// nodes, or a server with other work, that would be never.
    fn default() -> Self {
        Self {
            idle: false,
            mains: true,
            unmetered: true,
            busy_share: 0.3,
            look_seconds: 10.0,
        }
    }
}

impl TrainWhen {
    /// No conditions.
    #[must_use]
    pub fn always() -> Self {
        Self {
            idle: false,
            mains: false,
            unmetered: false,
            ..Self::default()
        }
    }

    /// The first value that is out of its range: its name, the value, and what it must be.
    pub(super) fn bad_value(&self) -> Option<(&'static str, f64, &'static str)> {
        if !(self.busy_share > 0.0 && self.busy_share <= 1.0) {
            let problem = "it must be above 0 and at most 1";
            return Some(("train_when.busy_share", self.busy_share, problem));
        }
        if !(0.001..=86_400.0).contains(&self.look_seconds) {
            let problem = "it must be from 0.001 to 86400";
            return Some(("train_when.look_seconds", self.look_seconds, problem));
        }
        None
    }

    /// The table in `node.toml`, with comments.
    pub(super) fn to_toml(self) -> String {
        let Self {
            idle,
            mains,
            unmetered,
            busy_share,
            look_seconds,
        } = self;
        format!(
            "\n\
             # When this node takes part: while one of these is not so it stays away from its\n\
             # coordinator, and says in its log what it waits for. A round whose keys it has sent is\n\
             # finished first. `secagg-node run --any-time` does without.\n\
             [train_when]\n\
             # Only while other programs leave the processor alone.\n\
             idle = {idle}\n\
             # Only on mains power. A machine without a battery always is.\n\
             mains = {mains}\n\
             # Only while NetworkManager does not call the network metered. Without NetworkManager no\n\
             # network is.\n\
             unmetered = {unmetered}\n\
             # Idle means that other programs use at most this share of all cores' time.\n\
             busy_share = {busy_share:?}\n\
             # Seconds between two looks.\n\
             look_seconds = {look_seconds:?}\n"
        )
    }
}

/// Why a node does not take part now.
#[derive(Clone, Debug, PartialEq)]
enum Obstacle {
    Busy { share: f64, most: f64 },
    Battery { percent: Option<u8> },
    Metered { device: String, answer: String },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { share, most } => write!(
                f,
                "other programs use {:.0} % of the processor (idle is up to {:.0} %)",
                100.0 * share,
                100.0 * most
            ),
            Self::Battery { percent: None } => f.write_str("the machine runs on battery"),
            Self::Battery {
                percent: Some(percent),
            } => write!(f, "the machine runs on battery ({percent} % left)"),
            Self::Metered { device, answer } => write!(
                f,
                "the network is metered (NetworkManager says \"{answer}\" of {device})"
            ),
        }
    }
}

/// What a node waits for; nothing, while it may take part.
#[derive(Clone, Debug, Default)]
struct Obstacles(Vec<Obstacle>);

impl Obstacles {
    /// Whether the same conditions do not hold; figures may differ.
    fn are_like(&self, other: &Self) -> bool {
        let kinds = |obstacles: &Self| obstacles.0.iter().map(discriminant).collect::<Vec<_>>();
        kinds(self) == kinds(other)
    }
}

impl fmt::Display for Obstacles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, obstacle) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(", ")?;
            }
            obstacle.fmt(f)?;
        }
        Ok(())
    }
}

/// Looks at the machine from time to time, for as long as somebody wants to know.
#[derive(Clone, Debug)]
pub(super) struct Conditions(watch::Receiver<Obstacles>);

impl Conditions {
    /// Begins to look; the first look is over when this returns.
    pub(super) async fn watch(node: &Node) -> Self {
        let wanted = if node.options.any_time {
            TrainWhen::always()
        } else {
            node.settings.train_when
        };
        let (sender, receiver) = watch::channel(Obstacles::default());
        if !(wanted.idle || wanted.mains || wanted.unmetered) {
            // Without a sender nothing ever changes.
            return Self(receiver);
        }
        let root = node.options.hooks.machine_root().to_owned();
        let mut looker = Looker::new(wanted, root).look().await;
        sender.send_replace(looker.found.clone());
        let wait = Duration::from_secs_f64(wanted.look_seconds);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    () = tokio::time::sleep(wait) => {}
                }
                looker = looker.look().await;
                sender.send_if_modified(|known| {
                    let changed = !known.are_like(&looker.found);
                    *known = looker.found.clone();
                    changed
                });
            }
        });
        Self(receiver)
    }

    /// Waits until the node may take part, and tells its user about it.
    pub(super) async fn met(&mut self, node: &Node) {
        let mut waited = false;
        loop {
            let obstacles = self.0.borrow_and_update().clone();
            if obstacles.0.is_empty() {
                break;
            }
            waited = true;
            tracing::info!("waiting, and away from the coordinator: {obstacles}");
            let fields = json!({ "reason": obstacles.to_string() });
            node.log.event("waiting", fields);
            if self.0.changed().await.is_err() {
                break;
            }
        }
        if waited {
            tracing::info!("going on: all conditions of node.toml hold");
            node.log.event("going_on", json!({}));
        }
    }

    /// Returns, with the reason, when the node may not take part any more; never where it always may.
    /// Can be called again after it was dropped.
    pub(super) async fn failed(&mut self) -> String {
        let failed = self.0.wait_for(|obstacles| !obstacles.0.is_empty()).await;
        match failed.map(|obstacles| obstacles.to_string()) {
            Ok(reason) => reason,
            // Nobody looks.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Reads what the machine says.
#[derive(Debug)]
struct Looker {
    wanted: TrainWhen,
    /// Where `/sys` and `/proc` are.
    root: PathBuf,
    processor: Processor,
    found: Obstacles,
    /// What the user was told that cannot be known here.
    told_network: bool,
    told_processor: bool,
}

impl Looker {
    fn new(wanted: TrainWhen, root: PathBuf) -> Self {
        Self {
            wanted,
            root,
            processor: Processor::default(),
            found: Obstacles::default(),
            told_network: false,
            told_processor: false,
        }
    }

    /// Looks in a thread of its own: `nmcli` may take a while.
    async fn look(mut self) -> Self {
        let (wanted, root) = (self.wanted, self.root.clone());
        let looked = tokio::task::spawn_blocking(move || {
            self.look_now();
            self
        });
        // The task cannot be aborted; it ends early only where the program does, or by a panic.
        looked.await.unwrap_or_else(|error| {
            tracing::error!("internal error: looking at the machine: {error}");
            Self::new(wanted, root)
        })
    }

    fn look_now(&mut self) {
        let mut found = Vec::new();
        if self.wanted.idle {
            let most = self.wanted.busy_share;
            match self.processor.look(&self.root) {
                Some(share) if share > most => found.push(Obstacle::Busy { share, most }),
                Some(_) => {}
                None => tell_once(
                    &mut self.told_processor,
                    "/proc does not say how busy the processor is: it counts as idle",
                ),
            }
        }
        if self.wanted.mains
            && let Power::Battery(percent) = power::read(&self.root)
        {
            found.push(Obstacle::Battery { percent });
        }
        if self.wanted.unmetered {
            match network::read(&self.root) {
                Network::Metered { device, answer } => {
                    found.push(Obstacle::Metered { device, answer });
                }
                Network::Unmetered => {}
                Network::Unknown => tell_once(
                    &mut self.told_network,
                    "NetworkManager is not here to say whether the network is metered: it counts as \
                     unmetered",
                ),
            }
        }
        self.found = Obstacles(found);
    }
}

fn tell_once(told: &mut bool, text: &str) {
    if !std::mem::replace(told, true) {
        tracing::info!("{text}");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn battery(root: &std::path::Path, status: &str) {
        let folder = root.join("sys/class/power_supply/BAT0");
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in [("type", "Battery"), ("status", status), ("capacity", "31")] {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    fn load(root: &std::path::Path, load: &str) {
        fs::create_dir_all(root.join("proc/self")).unwrap();
        fs::write(root.join("proc/stat"), "cpu  1 2 3 4 5 6 7 8\ncpu0 1\n").unwrap();
        let own = "1 (node) R 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1";
        fs::write(root.join("proc/self/stat"), own).unwrap();
        fs::write(root.join("proc/loadavg"), load).unwrap();
    }

    #[test]
    fn each_condition_is_looked_at_where_it_is_wanted() {
        let root = tempfile::tempdir().unwrap();
        battery(root.path(), "Discharging");
        load(root.path(), "0.64 0 0 1/2 3");
        let found = |wanted| {
            let mut looker = Looker::new(wanted, root.path().to_owned());
            looker.look_now();
            looker.found.to_string()
        };
        let on_battery = "the machine runs on battery (31 % left)";
        let busy = "other programs use 64 % of the processor (idle is up to 30 %)";
        assert_eq!(found(TrainWhen::always()), "");
        assert_eq!(found(TrainWhen::default()), on_battery);
        let idle = TrainWhen {
            idle: true,
            ..TrainWhen::always()
        };
        assert_eq!(found(idle), busy);
        let both = TrainWhen {
            idle: true,
            ..TrainWhen::default()
        };
        assert_eq!(found(both), format!("{busy}, {on_battery}"));
        let patient = TrainWhen {
            busy_share: 0.7,
            ..idle
        };
        assert_eq!(found(patient), "");
        battery(root.path(), "Charging");
        assert_eq!(found(TrainWhen::default()), "");
    }

    #[test]
    fn other_figures_are_no_other_obstacle() {
        let busy = |share| Obstacle::Busy { share, most: 0.3 };
        let battery = Obstacle::Battery { percent: None };
        let one = Obstacles(vec![busy(0.5)]);
        assert!(one.are_like(&Obstacles(vec![busy(0.9)])));
        assert!(!one.are_like(&Obstacles(vec![busy(0.5), battery])));
        assert!(!one.are_like(&Obstacles::default()));
    }
}
