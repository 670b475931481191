//! From the events of all processes to rounds, times, bytes and deaths.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::events::{CoordinatorEvent, NodeEvent, RoundComplete, Upload, Validation};
use super::metrics::{Death, Node, Phase, Round, Split, Time, Traffic};

/// Everything that was written in a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// The coordinator's events.
    pub(crate) coordinator: Vec<CoordinatorEvent>,
    /// Each node's name and events.
    pub(crate) nodes: Vec<(String, Vec<NodeEvent>)>,
    /// Whom the demo has killed, in which round, before which phase.
    pub(crate) killed: Vec<(String, u64, String)>,
}

/// What a node writes about one attempt at a round.
#[derive(Clone, Debug, Default)]
struct Own {
    spent: Split,
    up: u64,
    down: u64,
}

impl Record {
    /// All rounds that have a sum, in order.
    pub(crate) fn rounds(&self) -> Vec<Round> {
        let complete: Vec<&RoundComplete> = self.complete().collect();
        let mut rounds = Vec::with_capacity(complete.len());
        for (place, &round) in complete.iter().enumerate() {
            let own = self.own_of(round);
            let mut spent = Split::default();
            own.iter().for_each(|own| spent.add_all(&own.spent));
            let killed = self
                .killed
                .iter()
                .filter(|(_, when, _)| *when == round.round);
            rounds.push(Round {
                round: round.round,
                attempts: round.attempt.max(1),
                trains: trains(round),
                contributors: round.contributors,
                wall_ms: round.wall_ms,
                phases: self.phases(round),
                train_loss: round.train_loss,
                validation_after: complete.get(place + 1).and_then(|next| next.validation),
                node_ms: spent.divided(own.len()),
                killed: killed.map(|(name, ..)| name.clone()).collect(),
            });
        }
        rounds
    }

    /// How good the initial weights were, by the first round, and the final ones, by the last.
    ///
    /// # Errors
    ///
    /// When a round is missing or has evaluated nothing.
    pub(crate) fn before_and_after(&self) -> Result<(Validation, Validation)> {
        let evaluated = "has no validation figures: no node had held-out text";
        let first = self.complete().next().context("no round was completed")?;
        let last = self.complete().last().context("no round was completed")?;
        let before = first
            .validation
            .with_context(|| format!("the first round {evaluated}"))?;
        let after = last
            .validation
            .with_context(|| format!("the closing round {evaluated}"))?;
        Ok((before, after))
    }

    /// Times over all training rounds.
    pub(crate) fn time(&self) -> Time {
        let training: Vec<&RoundComplete> = self.training().collect();
        let mut spent = Split::default();
        let mut count = 0;
        for own in training.iter().flat_map(|round| self.own_of(round)) {
            spent.add_all(&own.spent);
            count += 1;
        }
        let wall: f64 = training.iter().map(|round| round.wall_ms).sum();
        Time {
            round_ms: wall / training.len().max(1) as f64,
            cryptography_share: spent.cryptography_share(),
            node_ms: spent.divided(count),
        }
    }

    /// Bytes of a node in a training round, beside those of a plain vector of 32-bit floats. The
    /// first round does not count where there is another: its weights come with the model.
    pub(crate) fn traffic(&self, parameters: usize) -> Traffic {
        let (mut up, mut down, mut count) = (0, 0, 0_u32);
        let first = usize::from(self.training().count() > 1);
        for own in self
            .training()
            .skip(first)
            .flat_map(|round| self.own_of(round))
        {
            up += own.up;
            down += own.down;
            count += 1;
        }
        let (mut vector, mut vectors) = (0, 0_u32);
        for upload in self
            .training()
            .skip(first)
            .flat_map(|round| self.uploads(round))
        {
            vector += upload.bytes;
            vectors += 1;
        }
        let vector = vector as f64 / f64::from(vectors.max(1));
        let mean = |bytes: u64| bytes as f64 / f64::from(count.max(1));
        let clear = 4 * parameters as u64;
        Traffic {
            up_bytes: mean(up),
            vector_bytes: vector,
            down_bytes: mean(down),
            clear_bytes: clear,
            up_ratio: mean(up) / clear as f64,
            vector_ratio: vector / clear as f64,
            down_ratio: mean(down) / clear as f64,
        }
    }

    /// Every node.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        let clients = self.clients();
        let each = |(name, events): &(String, Vec<NodeEvent>)| {
            let mut node = Node {
                name: name.clone(),
                client: clients.get(name).cloned().unwrap_or_default(),
                uploads: 0,
                in_sums: 0,
                own_ms: Split::default(),
                own_up_bytes: 0,
                own_down_bytes: 0,
            };
            for event in &self.coordinator {
                if let CoordinatorEvent::Upload(upload) = event {
                    node.uploads += u32::from(upload.name == *name);
                }
            }
            for round in self.complete() {
                node.in_sums += u32::from(self.is_in_sum(round, name));
            }
            for event in events {
                match event {
                    NodeEvent::Span(span) => {
                        node.own_ms.add(span.kind, span.wall_ms, span.cpu_ms);
                    }
                    NodeEvent::Bytes { up, down, .. } => {
                        node.own_up_bytes += up;
                        node.own_down_bytes += down;
                    }
                    _ => {}
                }
            }
            node
        };
        self.nodes.iter().map(each).collect()
    }

    /// Every node that was killed.
    pub(crate) fn deaths(&self) -> Vec<Death> {
        let each = |(name, round, before_phase): &(String, u64, String)| {
            let missed = self.coordinator.iter().find_map(|event| match event {
                CoordinatorEvent::Phase(phase) if phase.round == *round => {
                    let lost = phase.lost.iter().find(|lost| lost.name == *name);
                    lost.map(|lost| (phase.phase.clone(), lost.reason.clone()))
                }
                _ => None,
            });
            let (missed_in, reason) = missed.unzip();
            let mut later = self.complete().filter(|complete| complete.round > *round);
            let back = later.find(|complete| self.is_in_sum(complete, name));
            Death {
                name: name.clone(),
                round: *round,
                before_phase: before_phase.clone(),
                missed_in,
                reason,
                back_in_round: back.map(|complete| complete.round),
            }
        };
        self.killed.iter().map(each).collect()
    }

    /// The hash of the vector that the coordinator has received from a node in a round, and how
    /// many nodes are in that round's sum.
    ///
    /// # Errors
    ///
    /// When it has received none.
    pub(crate) fn received(&self, name: &str, round: u64) -> Result<(&str, u32)> {
        let mut complete = self.complete().filter(|complete| complete.round == round);
        let complete = complete
            .next()
            .with_context(|| format!("round {round} was not completed"))?;
        let upload = self.uploads(complete).find(|upload| upload.name == name);
        let upload =
            upload.with_context(|| format!("{name} has uploaded nothing in round {round}"));
        Ok((&upload?.blake3, complete.contributors))
    }

    fn complete(&self) -> impl Iterator<Item = &RoundComplete> {
        self.coordinator.iter().filter_map(|event| match event {
            CoordinatorEvent::RoundComplete(round) => Some(round),
            _ => None,
        })
    }

    fn training(&self) -> impl Iterator<Item = &RoundComplete> {
        self.complete().filter(|round| trains(round))
    }

    fn phases(&self, round: &RoundComplete) -> Vec<Phase> {
        let phases = self.coordinator.iter().filter_map(|event| match event {
            CoordinatorEvent::Phase(phase)
                if (phase.round, phase.attempt) == (round.round, round.attempt) =>
            {
                Some(Phase {
                    phase: phase.phase.clone(),
                    wall_ms: phase.wall_ms,
                    have: phase.have,
                    lost: phase.lost.iter().map(|lost| lost.name.clone()).collect(),
                })
            }
            _ => None,
        });
        phases.collect()
    }

    /// Names by which the coordinator knows clients.
    fn clients(&self) -> BTreeMap<String, String> {
        let named = self.coordinator.iter().filter_map(|event| match event {
            CoordinatorEvent::NodeConnected { client, name } => {
                Some((name.clone(), client.clone()))
            }
            _ => None,
        });
        named.collect()
    }

    /// Whether a node's vector has arrived in the attempt that was completed.
    fn is_in_sum(&self, round: &RoundComplete, name: &str) -> bool {
        self.uploads(round).any(|upload| upload.name == name)
    }

    /// The vectors that arrived in the attempt that was completed.
    fn uploads(&self, round: &RoundComplete) -> impl Iterator<Item = &Upload> {
        let at = (round.round, round.attempt);
        self.coordinator
            .iter()
            .filter_map(move |event| match event {
                CoordinatorEvent::Upload(upload) if (upload.round, upload.attempt) == at => {
                    Some(upload)
                }
                _ => None,
            })
    }

    /// What each node in a round's sum has written about it.
    fn own_of(&self, round: &RoundComplete) -> Vec<Own> {
        let takes_part = |(name, _): &&(String, Vec<NodeEvent>)| self.is_in_sum(round, name);
        self.nodes
            .iter()
            .filter(takes_part)
            .map(|(_, events)| own(events, round))
            .collect()
    }
}

fn own(events: &[NodeEvent], complete: &RoundComplete) -> Own {
    let mut own = Own::default();
    for event in events {
        match event {
            NodeEvent::Span(span)
                if (span.round, span.attempt) == (complete.round, complete.attempt) =>
            {
                own.spent.add(span.kind, span.wall_ms, span.cpu_ms);
            }
            NodeEvent::Bytes {
                round,
                attempt,
                up,
                down,
            } if (*round, *attempt) == (complete.round, complete.attempt) => {
                own.up += up;
                own.down += down;
            }
            _ => {}
        }
    }
    own
}

fn trains(round: &RoundComplete) -> bool {
    round.kind == "train"
}

#[cfg(test)]
mod tests;
