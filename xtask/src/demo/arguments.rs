//! What the user can choose, and what the demo chooses otherwise.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

/// Arguments of `cargo xtask demo`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Nodes, one for each person.
    #[arg(long, default_value_t = 12, value_name = "N")]
    pub(crate) nodes: usize,
    /// Rounds of training; one more round only evaluates.
    #[arg(long, default_value_t = 10, value_name = "R")]
    pub(crate) rounds: u32,
    /// Train on these messages and not on those of the bundled people: JSON Lines of the form
    /// {"user": …, "text": …}. The N users with the most messages take part, and the vocabulary
    /// is made from the whole file.
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) corpus: Option<PathBuf>,
    /// Evaluate on these messages; without it every tenth message of each person is held out.
    #[arg(long, value_name = "FILE.jsonl", requires = "corpus")]
    pub(crate) validation: Option<PathBuf>,
    /// Fixes the initial weights, the order of pooled training, and who is killed.
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub(crate) seed: u32,
    /// Nodes that are killed in the middle of a round; they come back.
    #[arg(long, default_value_t = 2, value_name = "K")]
    pub(crate) kill: usize,
    /// Let nodes trust the coordinator to follow the protocol: no signatures, one phase fewer.
    #[arg(long)]
    pub(crate) honest_but_curious: bool,
    /// Do not compare with pooled training.
    #[arg(long)]
    pub(crate) no_pooled: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// Settings to replace those that were tuned.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings to try others than the tuned ones")]
struct Overrides {
    /// Most words of the vocabulary.
    #[arg(long, value_name = "N")]
    vocabulary: Option<u32>,
    /// Elements of a word's vector.
    #[arg(long, value_name = "N")]
    embedding: Option<u32>,
    /// Units of the cell.
    #[arg(long, value_name = "N")]
    units: Option<u32>,
    /// Times that a node goes through its text in a round.
    #[arg(long, value_name = "N")]
    local_epochs: Option<u32>,
    /// Messages of a local step.
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// Optimiser of the local steps.
    #[arg(long, value_enum)]
    local_optimizer: Option<LocalOptimizer>,
    /// Rate of the local steps.
    #[arg(long, value_name = "X")]
    local_rate: Option<f64>,
    /// Optimiser of the coordinator.
    #[arg(long, value_enum)]
    server_optimizer: Option<ServerOptimizer>,
    /// Rate of the coordinator's optimiser.
    #[arg(long, value_name = "X")]
    server_rate: Option<f64>,
    /// Decay of the coordinator's momentum (fedavgm), or of its mean (fedadam, fedyogi).
    #[arg(long, value_name = "X")]
    server_momentum: Option<f64>,
    /// Adaptivity of the coordinator's optimiser (fedadam, fedyogi).
    #[arg(long, value_name = "X")]
    server_tau: Option<f64>,
    /// Largest L2 norm of an update.
    #[arg(long, value_name = "X")]
    clip_norm: Option<f64>,
    /// Largest magnitude of one element of an update.
    #[arg(long, value_name = "X")]
    range: Option<f64>,
    /// Largest weight of one node: messages above it do not count.
    #[arg(long, value_name = "N")]
    weight_cap: Option<u32>,
}

/// Optimisers of local steps, named as in `coordinator.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LocalOptimizer {
    Sgd,
    Adam,
}

/// Optimisers of the coordinator, named as in `coordinator.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub(crate) enum ServerOptimizer {
    FedAvg,
    FedAvgM,
    FedAdam,
    FedYogi,
}

/// With what a run was made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Settings {
    /// Most words of the vocabulary, the four special ones included.
    pub(crate) vocabulary: u32,
    /// Elements of a word's vector, and of the recurrent projection.
    pub(crate) embedding: u32,
    /// Units of the cell.
    pub(crate) units: u32,
    /// Times that a node goes through its text in a round.
    pub(crate) local_epochs: u32,
    /// Messages of a local step.
    pub(crate) batch: u32,
    /// Optimiser of the local steps.
    pub(crate) local_optimizer: LocalOptimizer,
    /// Rate of the local steps.
    pub(crate) local_rate: f64,
    /// Optimiser of the coordinator.
    pub(crate) server_optimizer: ServerOptimizer,
    /// Rate of the coordinator's optimiser.
    pub(crate) server_rate: f64,
    /// Decay of the coordinator's momentum or mean; unused by `fedavg`.
    pub(crate) server_momentum: f64,
    /// Adaptivity; unused by `fedavg` and `fedavgm`.
    pub(crate) server_tau: f64,
    /// Largest L2 norm of an update.
    pub(crate) clip_norm: f64,
    /// Largest magnitude of one element of an update.
    pub(crate) range: f64,
    /// Largest weight of one node.
    pub(crate) weight_cap: u32,
}

/// Tuned for twelve people with about 180 messages each to train on.
const BUNDLED: Settings = Settings {
    vocabulary: 2_000,
    embedding: 64,
    units: 128,
    local_epochs: 3,
    batch: 16,
    local_optimizer: LocalOptimizer::Adam,
    local_rate: 0.004,
    server_optimizer: ServerOptimizer::FedAvgM,
    server_rate: 1.0,
    server_momentum: 0.5,
    server_tau: 0.001,
    clip_norm: 20.0,
    range: 1.0,
    weight_cap: 200,
};

/// Tuned for two dozen people with about a thousand messages each.
const CORPUS: Settings = Settings {
    vocabulary: 5_000,
    embedding: 96,
    units: 256,
    local_epochs: 1,
    batch: 16,
    local_rate: 0.002,
    server_optimizer: ServerOptimizer::FedAvg,
    clip_norm: 150.0,
    weight_cap: 4_000,
    ..BUNDLED
};

/// How many clients a round may sum, by the limits of the protocol's parameters.
const NODES: RangeInclusive<usize> = 3..=1_000;

impl Arguments {
    /// The settings of this run.
    ///
    /// # Errors
    ///
    /// When the wishes cannot be met together.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let (nodes, kill) = (self.nodes, self.kill);
        ensure!(
            NODES.contains(&nodes),
            "--nodes {nodes}: from {} to {} nodes can take part; a sum of two would show each \
             what the other sent",
            NODES.start(),
            NODES.end()
        );
        ensure!(self.rounds >= 1, "--rounds 0: at least one round is needed");
        let most = self.most_kills();
        ensure!(
            kill <= most,
            "--kill {kill}: of {nodes} nodes at most {most} may die in a round"
        );
        ensure!(
            kill == 0 || self.rounds >= 2,
            "--kill {kill} --rounds 1: killed nodes come back for the next round, but there is none"
        );
        let defaults = if self.corpus.is_some() {
            CORPUS
        } else {
            BUNDLED
        };
        let own = &self.overrides;
        Ok(Settings {
            vocabulary: own.vocabulary.unwrap_or(defaults.vocabulary),
            embedding: own.embedding.unwrap_or(defaults.embedding),
            units: own.units.unwrap_or(defaults.units),
            local_epochs: own.local_epochs.unwrap_or(defaults.local_epochs),
            batch: own.batch.unwrap_or(defaults.batch),
            local_optimizer: own.local_optimizer.unwrap_or(defaults.local_optimizer),
            local_rate: own.local_rate.unwrap_or(defaults.local_rate),
            server_optimizer: own.server_optimizer.unwrap_or(defaults.server_optimizer),
            server_rate: own.server_rate.unwrap_or(defaults.server_rate),
            server_momentum: own.server_momentum.unwrap_or(defaults.server_momentum),
            server_tau: own.server_tau.unwrap_or(defaults.server_tau),
            clip_norm: own.clip_norm.unwrap_or(defaults.clip_norm),
            range: own.range.unwrap_or(defaults.range),
            weight_cap: own.weight_cap.unwrap_or(defaults.weight_cap),
        })
    }

    /// Nodes that a round can lose: about a third, and more have to be left than the threshold for
    /// one corrupt node, 2, or ⌈(n + 1) / 2⌉ where the coordinator is not trusted.
    fn most_kills(&self) -> usize {
        let nodes = self.nodes;
        let threshold = match self.honest_but_curious {
            true => 2,
            false => (nodes + 1).div_ceil(2),
        };
        (nodes / 3).min(nodes.saturating_sub(threshold + 1))
    }

    /// The round in which nodes are killed.
    pub(crate) fn kill_round(&self) -> u64 {
        u64::from((self.rounds * 2 / 5).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Arguments {
        let words = ["demo"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().arguments
    }

    #[test]
    fn defaults_are_those_of_the_bundled_people() {
        let arguments = parse("");
        assert_eq!(
            (arguments.nodes, arguments.rounds, arguments.kill),
            (12, 10, 2)
        );
        assert_eq!(arguments.settings().unwrap(), BUNDLED);
        assert_eq!(arguments.kill_round(), 4);
    }

    #[test]
    fn a_corpus_has_settings_of_its_own_and_each_can_be_replaced() {
        let arguments = parse(
            "--corpus x --nodes 24 --local-optimizer sgd --local-rate 0.5 --server-optimizer fedyogi",
        );
        let expected = Settings {
            local_optimizer: LocalOptimizer::Sgd,
            local_rate: 0.5,
            server_optimizer: ServerOptimizer::FedYogi,
            ..CORPUS
        };
        assert_eq!(arguments.settings().unwrap(), expected);
    }

    #[test]
    fn validation_needs_a_corpus() {
        assert!(Line::try_parse_from(["demo", "--validation", "x"]).is_err());
    }

    #[test]
    fn impossible_wishes_are_named() {
        for (line, named) in [
            ("--nodes 2", "--nodes 2"),
            ("--rounds 0", "--rounds 0"),
            ("--kill 5", "at most 4"),
            ("--nodes 3 --kill 2", "at most 0"),
            ("--nodes 6 --kill 2", "at most 1"),
            ("--rounds 1", "--rounds 1"),
        ] {
            let message = parse(line).settings().unwrap_err().to_string();
            assert!(message.contains(named), "{line}: {message}");
        }
    }
}
