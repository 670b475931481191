//! Holding the weights from round to round of evolution strategies: of those kept here, with the
//! server's optimiser as it stood, a few steps make the announced ones, to the bit
//! ([`secagg_wire::steps`]).

use secagg_learning::weights::WeightsError;
use secagg_learning::{Plan, ServerOptimizer, Shapes, StateError, StepError};
use secagg_wire::digest::{Digest, FileDigest, checkpoint_digest};
use secagg_wire::message::Following;
use secagg_wire::steps::{BlockError, LoggedStep};
use thiserror::Error;

use super::cache::{CacheError, ModelCache, ModelFile, Received};
use super::link::FetchError;

/// Weights, and the state of the server's optimiser after them where the node needs it, as files.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    pub(super) weights: Received,
    pub(super) optimizer: Option<Received>,
}

/// What is announced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) weights: FileDigest,
    pub(super) following: Following,
}

/// Why steps do not lead from what is kept here to what is announced. The node fetches the whole
/// then.
#[derive(Debug, Error)]
pub(super) enum FollowError {
    /// There are no steps at all.
    #[error("the coordinator offers no steps")]
    NoLog,
    /// A block of the log did not come.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A block of the log is none.
    #[error("the coordinator's log of steps: {0}")]
    Block(#[from] BlockError),
    /// The log does not reach back to what is kept here, or that was changed.
    #[error("none of the {steps} steps of the coordinator's log starts from what is kept here")]
    NotInLog {
        /// The steps.
        steps: usize,
    },
    /// The kept weights are no file of weights.
    #[error("the weights that are kept here: {0}")]
    Weights(#[from] WeightsError),
    /// The kept state is not that of the plan's optimiser.
    #[error("the optimiser's state that is kept here: {0}")]
    State(#[from] StateError),
    /// A step cannot be made.
    #[error("step {step} of {steps}: {error}")]
    Step {
        /// Which one, from 1.
        step: usize,
        /// Of how many.
        steps: usize,
        /// Why.
        error: StepError,
    },
    /// A step starts from something else than the one before leads to.
    #[error("step {step} of {steps} starts from {expected}, the one before it leads to {found}")]
    Chain {
        /// Which one, from 1.
        step: usize,
        /// Of how many.
        steps: usize,
        /// The checkpoint that it starts from.
        expected: Digest,
        /// The one that was made.
        found: Digest,
    },
    /// The steps lead to something else than what is announced.
    #[error("{steps} steps lead to {what} with the digest {found}, announced is {expected}")]
    Target {
        /// How many.
        steps: usize,
        /// Weights, or state.
        what: &'static str,
        /// What was made.
        found: String,
        /// What is announced.
        expected: String,
    },
    /// A thread with heavy work ended before its time.
    #[error("internal error: {problem}")]
    Worker {
        /// What the runtime says.
        problem: String,
    },
}

impl Checkpoint {
    /// What was kept of an earlier round, as far as it is whole; the state only where the optimiser has
    /// one. `caps` are the longest files of weights and of state.
    pub(super) fn kept(
        cache: &ModelCache,
        target: &Target,
        caps: [u64; 2],
    ) -> Result<Option<Self>, CacheError> {
        let [weights, state] = caps;
        let Some(weights) = cache.read_any(ModelFile::Current, weights)? else {
            return Ok(None);
        };
        let optimizer = match target.following.optimizer {
            None => None,
            Some(_) => match cache.read_any(ModelFile::Optimizer, state)? {
                None => return Ok(None),
                kept => kept,
            },
        };
        Ok(Some(Self { weights, optimizer }))
    }

    /// Keeps it for the next round.
    pub(super) fn keep(&self, cache: &ModelCache) -> Result<(), CacheError> {
        // A crash in between leaves two that do not belong together: no step starts from them.
        if let Some(optimizer) = &self.optimizer {
            cache.store(ModelFile::Optimizer, optimizer)?;
        }
        cache.store(ModelFile::Current, &self.weights)
    }

    /// What stands for it in a log.
    pub(super) fn digest(&self) -> Digest {
        let optimizer = self.optimizer.as_ref().map(Received::digest);
        checkpoint_digest(self.weights.digest(), optimizer)
    }

    /// Whether nothing is left to be done.
    pub(super) fn is(&self, target: &Target) -> bool {
        self.check(target, 0).is_ok()
    }

    /// Makes steps, the first of which starts from here. What comes out is the target.
    pub(super) fn follow(
        self,
        steps: &[LoggedStep],
        plan: &Plan,
        target: &Target,
    ) -> Result<Self, FollowError> {
        let shapes = Shapes::read(self.weights.bytes())?;
        let mut weights = shapes.flat(self.weights.bytes())?;
        let state = self.optimizer.as_ref().map(Received::bytes);
        let mut optimizer = ServerOptimizer::from_file(plan.server(), weights.len(), state)?;
        let mut made = self;
        let count = steps.len();
        for (number, LoggedStep { from, step }) in (1..).zip(steps) {
            let found = made.digest();
            if found != *from {
                return Err(FollowError::Chain {
                    step: number,
                    steps: count,
                    expected: *from,
                    found,
                });
            }
            step.make(plan, &mut optimizer, &mut weights)
                .map_err(|error| FollowError::Step {
                    step: number,
                    steps: count,
                    error,
                })?;
            // The header stays that of the coordinator's own file.
            let file = shapes.file(&weights, made.weights.bytes())?;
            made = Self {
                weights: Received::hashed(file),
                optimizer: optimizer.to_file().map(Received::hashed),
            };
        }
        made.check(target, count)?;
        Ok(made)
    }

    fn check(&self, target: &Target, steps: usize) -> Result<(), FollowError> {
        let pairs = [
            (
                "weights",
                Some(self.weights.digest()),
                Some(&target.weights),
            ),
            (
                "a state of the optimiser",
                self.optimizer.as_ref().map(Received::digest),
                target.following.optimizer.as_ref(),
            ),
        ];
        for (what, found, expected) in pairs {
            let (found, expected) = (found.copied(), expected.map(|file| file.sha256));
            if found != expected {
                let shown = |digest: Option<Digest>| {
                    digest.map_or_else(|| "none".to_owned(), |digest| digest.to_string())
                };
                return Err(FollowError::Target {
                    steps,
                    what,
                    found: shown(found),
                    expected: shown(expected),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "following/tests.rs"]
mod tests;
