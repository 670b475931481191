//! What lets nodes hold the weights themselves: the log of the newest steps of evolution strategies, and
//! the optimiser's state, which makes a checkpoint of the weights.

use std::collections::BTreeMap;

use secagg_learning::{Evolution, RoundKind, ServerOptimizer, Step};
use secagg_wire::{
    digest::{Digest, FileDigest, checkpoint_digest},
    message::Following,
    steps::{LoggedStep, MAX_STEPS, blocks, offered},
};

use crate::{
    model::ModelFile,
    store::{KeptStep, Round},
};

/// The log, up to the current weights.
#[derive(Debug)]
pub(crate) struct StepLog {
    rule: Rule,
    /// The current weights.
    weights: FileDigest,
    /// The optimiser's state after them.
    state: Option<ModelFile>,
    /// Ascending, of the rule's plan, none missing between them; the last one led to the weights.
    steps: Vec<LoggedStep>,
}

/// Which steps are offered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// The digest of the plan of training rounds. Nodes make steps under the plan that they are shown, so
    /// that those of another one are of no use to them.
    pub(crate) plan: Digest,
    /// The plan's.
    pub(crate) evolution: Evolution,
    /// At most so many.
    pub(crate) keep: usize,
}

/// What is announced, and the files that it names.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) following: Following,
    pub(crate) files: Vec<ModelFile>,
    /// How many steps.
    pub(crate) steps: usize,
}

impl StepLog {
    /// The log of the completed rounds that led to these weights, from the steps that were kept.
    /// `start` is the checkpoint's digest before the first round.
    pub(crate) fn recover(
        rule: Rule,
        start: Digest,
        rounds: &[Round],
        mut kept: BTreeMap<u64, KeptStep>,
        weights: FileDigest,
        optimizer: &ServerOptimizer,
    ) -> Self {
        let mut steps = Vec::new();
        let mut from = start;
        let train = |round: &&Round| round.completed.kind == RoundKind::Train;
        for Round { completed, .. } in rounds.iter().filter(train) {
            let Some(after) = &completed.weights else {
                continue;
            };
            let to = checkpoint_digest(after, completed.optimizer.as_ref());
            match kept.remove(&completed.round) {
                Some(KeptStep { plan, step }) if plan == rule.plan => {
                    steps.push(LoggedStep { from, step });
                }
                // Nobody had an example.
                _ if to == from => {}
                _ => steps.clear(),
            }
            from = to;
        }
        let mut log = Self {
            rule,
            weights,
            state: optimizer.to_file().map(ModelFile::new),
            steps,
        };
        log.shorten();
        log
    }

    /// The round's step led to these weights, and this state of the optimiser.
    pub(crate) fn push(&mut self, step: Step, weights: FileDigest, state: Option<ModelFile>) {
        let from = self.checkpoint();
        self.steps.push(LoggedStep { from, step });
        self.shorten();
        self.weights = weights;
        self.state = state;
    }

    /// The digest of the plan of training rounds.
    pub(crate) fn plan(&self) -> Digest {
        self.rule.plan
    }

    /// What nodes are offered; `None` where fetching the weights costs no more.
    pub(crate) fn offer(&self) -> Option<Offer> {
        let state = self.state.as_ref();
        let checkpoint = self.weights.len + state.map_or(0, |state| state.digest.len);
        let Rule {
            evolution, keep, ..
        } = self.rule;
        let count = offered(keep, evolution.pairs, checkpoint);
        if count == 0 {
            return None;
        }
        let first = self.steps.len().saturating_sub(count);
        let steps = self.steps.get(first..).unwrap_or_default();
        let mut files: Vec<ModelFile> = blocks(steps).into_iter().map(ModelFile::new).collect();
        let following = Following {
            optimizer: state.map(|state| state.digest),
            newest: files.first().map(|newest| newest.digest),
        };
        files.extend(state.cloned());
        Some(Offer {
            following,
            files,
            steps: steps.len(),
        })
    }

    fn checkpoint(&self) -> Digest {
        let state = self.state.as_ref().map(|state| &state.digest.sha256);
        checkpoint_digest(&self.weights.sha256, state)
    }

    fn shorten(&mut self) {
        let old = self.steps.len().saturating_sub(MAX_STEPS as usize);
        self.steps.drain(..old);
    }
}

#[cfg(test)]
mod tests {
    use secagg_learning::ServerOptimizerConfig;
    use secagg_wire::steps::Block;

    use super::*;
    use crate::store::{Completed, Figures};

    const PAIRS: u32 = 3;

    fn rule(plan: &[u8]) -> Rule {
        Rule {
            plan: Digest::of(plan),
            evolution: Evolution {
                pairs: PAIRS,
                sigma: 0.1,
            },
            keep: MAX_STEPS as usize,
        }
    }

    fn step(round: u8) -> Step {
        Step {
            factor: 1.0,
            seed: [round; 32],
            falls: vec![0.5; PAIRS as usize],
        }
    }

    /// Large enough for many steps.
    fn weights(round: u8) -> ModelFile {
        ModelFile::new(vec![round; 100_000])
    }

    fn round(number: u8, weights: Option<&ModelFile>) -> Round {
        let kind = match weights {
            Some(_) => RoundKind::Train,
            None => RoundKind::EvaluateOnly,
        };
        Round {
            completed: Completed {
                round: number.into(),
                attempt: 1,
                kind,
                wall_ms: 1.0,
                bytes_up: 2,
                bytes_down: 3,
                figures: Figures::default(),
                weights: weights.map(|weights| weights.digest.sha256),
                optimizer: None,
            },
            contributors: 3,
            lost: 0,
            attempts: 1,
        }
    }

    fn plain() -> ServerOptimizer {
        ServerOptimizer::new(&ServerOptimizerConfig::FedAvg { rate: 1.0 }, 1).unwrap()
    }

    fn start() -> Digest {
        checkpoint_digest(&weights(0).digest.sha256, None)
    }

    fn recovered(rounds: &[Round], kept: &[(u64, &[u8])], last: u8) -> StepLog {
        let kept = kept.iter().map(|(round, plan)| {
            let step = step(u8::try_from(*round).unwrap());
            let plan = Digest::of(plan);
            (*round, KeptStep { plan, step })
        });
        let weights = weights(last).digest;
        StepLog::recover(
            rule(b"plan"),
            start(),
            rounds,
            kept.collect(),
            weights,
            &plain(),
        )
    }

    fn numbers(log: &StepLog) -> Vec<u8> {
        log.steps.iter().map(|logged| logged.step.seed[0]).collect()
    }

    #[test]
    fn a_log_that_is_recovered_is_the_one_that_grew() {
        let mut log = recovered(&[], &[], 0);
        for number in 1..=3 {
            log.push(step(number), weights(number).digest, None);
        }
        // Between them a round of evaluation, and one in which nobody had an example.
        let rounds = [
            round(1, Some(&weights(1))),
            round(2, Some(&weights(1))),
            round(3, Some(&weights(2))),
            round(4, None),
            round(5, Some(&weights(3))),
        ];
        let plan: &[u8] = b"plan";
        let again = recovered(&rounds, &[(1, plan), (3, plan), (5, plan)], 3);
        let froms = |log: &StepLog| log.steps.iter().map(|step| step.from).collect::<Vec<_>>();
        assert_eq!(froms(&again), froms(&log));
        assert_eq!(again.steps[0].from, start());
        assert_eq!(again.checkpoint(), log.checkpoint());
    }

    #[test]
    fn what_cannot_be_followed_ends_the_log() {
        let all: Vec<Round> = (1..=4).map(|n| round(n, Some(&weights(n)))).collect();
        let plan: &[u8] = b"plan";
        // Nodes trained in round 2; the steps before have another plan.
        let trained = [(1, plan), (3, plan), (4, plan)];
        assert_eq!(numbers(&recovered(&all, &trained, 4)), [3, 4]);
        let other: &[u8] = b"other plan";
        let planned = [(1, plan), (2, other), (3, other), (4, plan)];
        assert_eq!(numbers(&recovered(&all, &planned, 4)), [4]);
    }

    #[test]
    fn the_offer_names_the_newest_block_and_the_state() {
        let mut log = recovered(&[], &[], 0);
        let first = log.offer().unwrap();
        assert_eq!((first.steps, first.following.newest), (0, None));
        assert!(first.files.is_empty());
        let state = ModelFile::new(vec![7; 9]);
        for number in 1..=5 {
            log.push(step(number), weights(number).digest, Some(state.clone()));
        }
        let offer = log.offer().unwrap();
        assert_eq!(offer.steps, 5);
        assert_eq!(offer.following.optimizer, Some(state.digest));
        assert_eq!(offer.files.len(), 4);
        let newest = offer.files.first().unwrap();
        assert_eq!(offer.following.newest, Some(newest.digest));
        let block = Block::decode(&newest.bytes, PAIRS).unwrap();
        assert_eq!(block.steps.last().unwrap().step, step(5));
        log.rule.keep = 2;
        assert_eq!(log.offer().unwrap().steps, 2);
        // A step of 84 bytes beside weights of 84.
        log.weights.len = 84;
        assert!(log.offer().is_none());
    }
}
