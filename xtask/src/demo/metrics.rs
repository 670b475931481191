//! What a run has shown: the content of `metrics.json`, of the report, and of what is printed at
//! the end. Field names in the file are those here.

use std::collections::BTreeMap;

use serde::Serialize;

use super::arguments::Settings;
use super::events::{SpanKind, Validation};
use super::exhibit::Exhibit;

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Metrics {
    /// What was run.
    pub(crate) run: Run,
    /// With which settings.
    pub(crate) settings: Settings,
    /// Loss and accuracy, and what they are compared with.
    pub(crate) quality: Quality,
    /// Every round in order, the closing one, which only evaluates, included.
    pub(crate) rounds: Vec<Round>,
    /// Times over all training rounds.
    pub(crate) time: Time,
    /// Bytes of a node.
    pub(crate) traffic: Traffic,
    /// Every node.
    pub(crate) nodes: Vec<Node>,
    /// Nodes that were killed.
    pub(crate) deaths: Vec<Death>,
    /// What the model makes of phrases.
    pub(crate) completions: Vec<Completion>,
    /// One update in the clear, masked, and in the sum.
    pub(crate) exhibit: Exhibit,
    /// What the demo asserts.
    pub(crate) checks: Vec<Check>,
}

/// What was run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    /// Whose text: `None` for the bundled people.
    pub(crate) corpus: Option<String>,
    /// The file with held-out messages: `None` where every tenth message was held out.
    pub(crate) validation: Option<String>,
    /// What the vocabulary was made from.
    pub(crate) vocabulary_from: String,
    /// Words of the vocabulary, the four special ones included.
    pub(crate) vocabulary: u32,
    /// Nodes.
    pub(crate) nodes: usize,
    /// Training rounds.
    pub(crate) rounds: u32,
    /// Nodes to be killed.
    pub(crate) kill: usize,
    /// What nodes trusted the coordinator with, as in `coordinator.toml`.
    pub(crate) threat_model: String,
    /// The seed.
    pub(crate) seed: u32,
    /// Parameters of the model.
    pub(crate) parameters: usize,
    /// Seconds from the start of the coordinator to the end of the last node.
    pub(crate) federated_seconds: f64,
    /// Seconds of the comparison with pooled training.
    pub(crate) pooled_seconds: f64,
    /// Seconds of everything after the build.
    pub(crate) total_seconds: f64,
    /// Cores of the machine.
    pub(crate) cores: usize,
}

/// Loss and accuracy on held-out text. Unknown words count as wrong; the end of a message is a
/// token too.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Quality {
    /// Of the initial weights, summed over all nodes inside the first round.
    pub(crate) before: Validation,
    /// Of the final weights, summed inside the closing round.
    pub(crate) after: Validation,
    /// What pooled training reaches; `None` when it was not asked for.
    pub(crate) pooled: Option<Pooled>,
    /// What always answering the most frequent token reaches; `None` without pooled training,
    /// which counts it.
    pub(crate) most_frequent: Option<MostFrequent>,
}

/// Training with all text in one place: the best of a small grid.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pooled {
    /// Its optimiser.
    pub(crate) optimizer: String,
    /// Its rate.
    pub(crate) rate: f64,
    /// The epoch with the best validation top-1.
    pub(crate) epoch: u32,
    /// The most epochs that a run may take: rounds × local epochs.
    pub(crate) most_epochs: u32,
    /// What it reaches.
    pub(crate) validation: Validation,
    /// Every run that was tried.
    pub(crate) tried: Vec<PooledRun>,
}

/// One run of the grid.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PooledRun {
    /// Its optimiser.
    pub(crate) optimizer: String,
    /// Its rate.
    pub(crate) rate: f64,
    /// Epochs that it ran.
    pub(crate) epochs: u32,
    /// Its best validation top-1.
    pub(crate) top1: f64,
    /// Why it ended before its last epoch.
    pub(crate) ended: Option<String>,
}

/// Always answering the token that is most frequent in the text trained on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MostFrequent {
    /// The token.
    pub(crate) token: String,
    /// How often it is right on held-out text.
    pub(crate) top1: f64,
}

/// One round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    /// Its number, from 1.
    pub(crate) round: u64,
    /// Attempts that it took.
    pub(crate) attempts: u32,
    /// Whether nodes trained, or only evaluated.
    pub(crate) trains: bool,
    /// Nodes whose vectors are in the sum.
    pub(crate) contributors: u32,
    /// From announcement to sum, by the coordinator's clock, in milliseconds.
    pub(crate) wall_ms: f64,
    /// Its phases, by the coordinator's clock.
    pub(crate) phases: Vec<Phase>,
    /// Mean loss of the nodes' local training, nats a token.
    pub(crate) train_loss: Option<f64>,
    /// How good the weights are that this round has made; measured inside the next round.
    pub(crate) validation_after: Option<Validation>,
    /// What a node's time went to, on average over the nodes in the sum, by their own clocks.
    pub(crate) node_ms: Split,
    /// Nodes killed in it.
    pub(crate) killed: Vec<String>,
}

/// One phase of a round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Phase {
    /// Its name.
    pub(crate) phase: String,
    /// Milliseconds.
    pub(crate) wall_ms: f64,
    /// Nodes that were through with it.
    pub(crate) have: u32,
    /// Nodes that were lost in it.
    pub(crate) lost: Vec<String>,
}

/// Time by what it went to, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Split {
    /// On the wall.
    pub(crate) wall: BTreeMap<SpanKind, f64>,
    /// Of a processor.
    pub(crate) cpu: BTreeMap<SpanKind, f64>,
}

impl Split {
    /// Adds a span.
    pub(crate) fn add(&mut self, kind: SpanKind, wall_ms: f64, cpu_ms: f64) {
        *self.wall.entry(kind).or_default() += wall_ms;
        *self.cpu.entry(kind).or_default() += cpu_ms;
    }

    /// Adds all of another one.
    pub(crate) fn add_all(&mut self, other: &Self) {
        for kind in SpanKind::ALL {
            self.add(kind, other.wall(kind), other.cpu(kind));
        }
    }

    /// Every time divided by this number; all zero for 0.
    pub(crate) fn divided(&self, count: usize) -> Self {
        let share = |times: &BTreeMap<SpanKind, f64>| {
            let each = |(&kind, &ms): (&SpanKind, &f64)| (kind, ms / count.max(1) as f64);
            times.iter().map(each).collect()
        };
        Self {
            wall: share(&self.wall),
            cpu: share(&self.cpu),
        }
    }

    /// Wall milliseconds that went to this.
    pub(crate) fn wall(&self, kind: SpanKind) -> f64 {
        self.wall.get(&kind).copied().unwrap_or(0.0)
    }

    /// CPU milliseconds that went to this.
    pub(crate) fn cpu(&self, kind: SpanKind) -> f64 {
        self.cpu.get(&kind).copied().unwrap_or(0.0)
    }

    /// Wall milliseconds altogether.
    pub(crate) fn wall_sum(&self) -> f64 {
        self.wall.values().sum()
    }

    /// The cryptography's share of the CPU time of cryptography and training; 0 without both.
    pub(crate) fn cryptography_share(&self) -> f64 {
        let cryptography = self.cpu(SpanKind::Cryptography);
        let both = cryptography + self.cpu(SpanKind::Training);
        if both > 0.0 { cryptography / both } else { 0.0 }
    }
}

/// Times over all training rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Time {
    /// Mean of a training round, by the coordinator's clock, in milliseconds.
    pub(crate) round_ms: f64,
    /// Mean of a node in a training round, by the nodes' clocks.
    pub(crate) node_ms: Split,
    /// CPU time of cryptography over CPU time of cryptography and training, in all nodes.
    pub(crate) cryptography_share: f64,
}

/// Bytes of a node in a training round, on average over the nodes in the sums. The first round does
/// not count where there is another: its weights come with the model.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Traffic {
    /// Sent by a node: all that went over the network, repetitions included.
    pub(crate) up_bytes: f64,
    /// The masked vector alone.
    pub(crate) vector_bytes: f64,
    /// Received by a node.
    pub(crate) down_bytes: f64,
    /// An update as plain 32-bit floats.
    pub(crate) clear_bytes: u64,
    /// Sent bytes over those of a plain update.
    pub(crate) up_ratio: f64,
    /// The masked vector's bytes over those of a plain update.
    pub(crate) vector_ratio: f64,
    /// Received bytes over those of plain weights.
    pub(crate) down_ratio: f64,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Node {
    /// The name with which it joined: known to the coordinator.
    pub(crate) name: String,
    /// Its id: known to the coordinator.
    pub(crate) client: String,
    /// Masked vectors that arrived from it: known to the coordinator.
    pub(crate) uploads: u32,
    /// Rounds in whose sum it is: known to the coordinator.
    pub(crate) in_sums: u32,
    /// From its own event file: what its time went to in all rounds, in milliseconds.
    pub(crate) own_ms: Split,
    /// From its own event file: bytes sent in all rounds.
    pub(crate) own_up_bytes: u64,
    /// From its own event file: bytes received in all rounds.
    pub(crate) own_down_bytes: u64,
}

/// A node that was killed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Death {
    /// Its name.
    pub(crate) name: String,
    /// The round.
    pub(crate) round: u64,
    /// The phase before which it stood still and was killed, by its own last event.
    pub(crate) before_phase: String,
    /// The phase in which the coordinator missed it.
    pub(crate) missed_in: Option<String>,
    /// Why, in the coordinator's words.
    pub(crate) reason: Option<String>,
    /// The next round in whose sum it is.
    pub(crate) back_in_round: Option<u64>,
}

/// What the model makes of a phrase.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Completion {
    /// The phrase.
    pub(crate) phrase: String,
    /// With the initial weights.
    pub(crate) before: Continuation,
    /// With the final weights.
    pub(crate) after: Continuation,
}

/// How a phrase goes on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Continuation {
    /// The most probable words in a row.
    pub(crate) text: String,
    /// The most probable next words, each with its probability.
    pub(crate) suggestions: Vec<(String, f64)>,
}

/// One thing that the demo asserts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Check {
    /// What should hold.
    pub(crate) claim: String,
    /// The figures.
    pub(crate) found: String,
    /// Whether it holds.
    pub(crate) holds: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_means_of_a_split() {
        let mut split = Split::default();
        assert!(split.cryptography_share() == 0.0);
        split.add(SpanKind::Training, 30.0, 18.0);
        split.add(SpanKind::Cryptography, 4.0, 1.0);
        split.add(SpanKind::Cryptography, 1.0, 1.0);
        split.add(SpanKind::Waiting, 5.0, 0.0);
        assert!((split.cryptography_share() - 0.1).abs() < 1e-12);
        assert!((split.wall_sum() - 40.0).abs() < 1e-12);
        let mut twice = split.clone();
        twice.add_all(&split);
        assert_eq!(twice.divided(2).wall, {
            let mut expected = split.wall.clone();
            expected.insert(SpanKind::Evaluation, 0.0);
            expected.insert(SpanKind::Network, 0.0);
            expected
        });
        let json = serde_json::to_value(&split).unwrap();
        assert_eq!(json["wall"]["cryptography"], 5.0);
    }
}
