//! What clients receive in a round: the weights whole, or, with evolution strategies, the steps since
//! those that they hold.

use std::collections::BTreeMap;

use secagg_learning::{Plan, ServerOptimizer};
use secagg_wire::steps::{bytes_to_follow, offered};

/// Which weights the clients hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holdings {
    /// Steps that led to the current weights.
    steps: u32,
    /// How many of them a client has made that has taken part.
    made: BTreeMap<u32, u32>,
}

/// What the clients of a round receive, beside the messages of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Download {
    /// The mean of their bytes.
    pub(super) bytes: u64,
    /// Those that get the weights whole.
    pub(super) whole: u32,
}

impl Holdings {
    pub(super) fn new(steps: u32, made: BTreeMap<u32, u32>) -> Self {
        Self { steps, made }
    }

    pub(super) const fn steps(&self) -> u32 {
        self.steps
    }

    pub(super) const fn made(&self) -> &BTreeMap<u32, u32> {
        &self.made
    }

    /// One more step was made.
    pub(super) fn step(&mut self) {
        self.steps += 1;
    }

    /// These clients get the current weights, of `weights` bytes, under a plan that keeps at most so
    /// many steps.
    pub(super) fn download(
        &mut self,
        clients: &[u32],
        plan: &Plan,
        optimizer: &ServerOptimizer,
        weights: u64,
        keep: usize,
    ) -> Download {
        let state: usize = optimizer.state().iter().map(|(_, state)| state.len()).sum();
        let state = 4 * state as u64;
        let offer = plan
            .evolution()
            .map(|evolution| {
                (
                    evolution.pairs,
                    offered(keep, evolution.pairs, weights + state),
                )
            })
            .filter(|(_, offered)| *offered > 0);
        let Some((pairs, offered)) = offer else {
            let whole = u32::try_from(clients.len()).unwrap_or(u32::MAX);
            let bytes = weights;
            return Download { bytes, whole };
        };
        // The state before the first step follows from the plan.
        let checkpoint = weights + if self.steps > 0 { state } else { 0 };
        let offered = offered.min(self.steps as usize);
        let (mut bytes, mut whole) = (0, 0);
        for client in clients {
            let missed = self
                .made
                .insert(*client, self.steps)
                .map(|made| self.steps.saturating_sub(made) as usize);
            bytes += missed.map_or(0, |missed| bytes_to_follow(missed, offered, pairs));
            if missed.is_none_or(|missed| missed > offered) {
                bytes += checkpoint;
                whole += 1;
            }
        }
        let bytes = bytes.div_ceil(clients.len().max(1) as u64);
        Download { bytes, whole }
    }
}

#[cfg(test)]
mod tests {
    use secagg_learning::{Evolution, RoundKind, ServerOptimizerConfig, TrainingPlan, UpdatePlan};

    use super::*;

    const WEIGHTS: u64 = 4_000;
    /// Of 5 directions.
    const STEP: u64 = 72 + 20;

    fn plan(evolution: bool) -> Plan {
        let server = ServerOptimizerConfig::FedAvgM {
            rate: 1.0,
            momentum: 0.5,
        };
        let update = UpdatePlan::default_for(1_000, 3);
        let evolution = evolution.then_some(Evolution {
            pairs: 5,
            sigma: 0.1,
        });
        Plan::new(RoundKind::Train, update, TrainingPlan::DEFAULT, server)
            .and_then(|plan| plan.with_evolution(evolution))
            .unwrap()
    }

    #[test]
    fn clients_get_what_they_lack() {
        let plan = plan(true);
        let optimizer = ServerOptimizer::new(plan.server(), 1_000).unwrap();
        let mut holdings = Holdings::default();
        let mut download = |clients: &[u32], steps: u32, keep| {
            for _ in 0..steps {
                holdings.step();
            }
            let download = holdings.download(clients, &plan, &optimizer, WEIGHTS, keep);
            (download.bytes, download.whole)
        };
        // Nobody has anything; the momentum is zero.
        assert_eq!(download(&[1, 2], 0, 63), (WEIGHTS, 2));
        assert_eq!(download(&[1, 2], 0, 63), (0, 0));
        assert_eq!(download(&[1, 2], 1, 63), (2 + STEP, 0));
        // The third was away, and a fourth joins: weights and momentum.
        let steady = 42 + STEP;
        assert_eq!(download(&[1, 4], 1, 63), ((steady + 8_000).div_ceil(2), 1));
        assert_eq!(download(&[2], 1, 63), (42 + STEP + 2 + 2 * STEP, 0));
        // Four steps were missed, and two are kept: they are fetched before that is known.
        let in_vain = 42 + STEP + 2 + STEP;
        assert_eq!(download(&[4], 3, 2), (in_vain + 8_000, 1));
        assert_eq!(download(&[4], 0, 0), (WEIGHTS, 1));
    }

    #[test]
    fn without_evolution_all_get_the_weights() {
        let plan = plan(false);
        let optimizer = ServerOptimizer::new(plan.server(), 1_000).unwrap();
        let mut holdings = Holdings::default();
        for _ in 0..2 {
            let download = holdings.download(&[1, 2, 3], &plan, &optimizer, WEIGHTS, 63);
            let (bytes, whole) = (WEIGHTS, 3);
            assert_eq!(download, Download { bytes, whole });
        }
    }
}
