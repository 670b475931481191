//! How a node comes to the weights of a round.

use std::sync::Arc;

use secagg_learning::{Plan, ServerOptimizer};
use secagg_wire::digest::FileDigest;
use secagg_wire::events::{Round, SpanKind, SpanTimer};
use secagg_wire::steps::{Block, MAX_BLOCKS};
use serde_json::json;

use super::{RoundError, RoundTask};
use crate::participate::announcement::Announced;
use crate::participate::cache::{ModelFile, Received};
use crate::participate::following::{Checkpoint, FollowError, Target};

/// How it came to them, for its own log.
enum Way {
    /// They were here already.
    Kept,
    /// It has made so many steps.
    Steps(usize),
    /// It has fetched them.
    Fetched,
}

impl RoundTask {
    /// The weights of this round: kept from before, made of those, or from the coordinator.
    pub(super) async fn weights(
        &self,
        announced: &Announced,
        plan: &Plan,
    ) -> Result<Checkpoint, RoundError> {
        let following = announced.following.filter(|_| plan.evolution().is_some());
        let (checkpoint, way) = match following {
            None => {
                let (weights, way) = self.whole(&announced.weights).await?;
                let optimizer = None;
                (Checkpoint { weights, optimizer }, way)
            }
            Some(following) => {
                let weights = announced.weights;
                self.followed(Target { weights, following }, plan).await?
            }
        };
        let Round { round, attempt } = self.round;
        let (way, steps) = match way {
            Way::Kept => ("kept", 0),
            Way::Steps(steps) => ("steps", steps),
            Way::Fetched => ("fetched", 0),
        };
        self.node.log.event(
            "weights",
            json!({
                "round": round,
                "attempt": attempt,
                "way": way,
                "steps": steps,
                "sha256": checkpoint.weights.digest().to_string(),
            }),
        );
        Ok(checkpoint)
    }

    /// Where nodes hold the weights: by the steps since those of before, or else whole, with the
    /// optimiser's state.
    async fn followed(&self, target: Target, plan: &Plan) -> Result<(Checkpoint, Way), RoundError> {
        let node = Arc::clone(&self.node);
        let caps = [self.model.weights_cap(), self.state_cap(plan)];
        let held = self
            .heavy(move || Checkpoint::kept(&node.cache, &target, caps))
            .await??;
        match held {
            Some(held) if held.is(&target) => return Ok((held, Way::Kept)),
            Some(held) => match self.stepped(held, &target, plan).await {
                Ok((made, steps)) => return Ok((made, Way::Steps(steps))),
                Err(error) => {
                    let Round { round, attempt } = self.round;
                    let reason = error.to_string();
                    tracing::info!("round {round}: {reason}; this node fetches the weights");
                    let fields = json!({ "round": round, "attempt": attempt, "reason": reason });
                    self.node.log.event("steps_refused", fields);
                }
            },
            None => {}
        }
        let (weights, way) = self.whole(&target.weights).await?;
        let optimizer = match target.following.optimizer {
            Some(expected) => Some(self.state(expected, plan).await?),
            None => None,
        };
        Ok((Checkpoint { weights, optimizer }, way))
    }

    /// Fetches the steps since what is held, block by block, and makes them.
    async fn stepped(
        &self,
        held: Checkpoint,
        target: &Target,
        plan: &Plan,
    ) -> Result<(Checkpoint, usize), FollowError> {
        let span = SpanTimer::start(SpanKind::Network);
        let pairs = plan.evolution().map_or(0, |evolution| evolution.pairs);
        let from = held.digest();
        let mut next = target.following.newest;
        let (mut blocks, mut seen) = (Vec::new(), 0);
        // A coordinator that names one block after the other must not keep the node busy for ever.
        for _ in 0..MAX_BLOCKS {
            let Some(wanted) = next else { break };
            let cap = Block::longest(pairs);
            let received = self.fetcher.fetch("steps", &wanted, cap).await?;
            self.received("steps", &wanted);
            let mut block = Block::decode(received.bytes(), pairs)?;
            seen += block.steps.len();
            next = block.earlier;
            let start = block.steps.iter().rposition(|step| step.from == from);
            let steps = block.steps.split_off(start.unwrap_or(0));
            blocks.push(steps);
            if start.is_some() {
                span.finish(&self.node.log, self.round, "steps");
                let steps: Vec<_> = blocks.into_iter().rev().flatten().collect();
                let count = steps.len();
                let (plan, target) = (plan.clone(), *target);
                let made = self
                    .heavy(move || held.follow(&steps, &plan, &target))
                    .await
                    .map_err(|error| FollowError::Worker {
                        problem: error.to_string(),
                    })??;
                return Ok((made, count));
            }
        }
        match seen {
            0 => Err(FollowError::NoLog),
            steps => Err(FollowError::NotInLog { steps }),
        }
    }

    /// The whole file of the weights.
    async fn whole(&self, expected: &FileDigest) -> Result<(Received, Way), RoundError> {
        let expected = *expected;
        let node = Arc::clone(&self.node);
        let kept = self
            .heavy(
                move || match node.cache.read(ModelFile::Current, &expected)? {
                    Some(kept) => Ok(Some(kept)),
                    None => node.cache.read(ModelFile::Initial, &expected),
                },
            )
            .await??;
        if let Some(kept) = kept {
            return Ok((kept, Way::Kept));
        }
        let span = SpanTimer::start(SpanKind::Network);
        let cap = self.model.weights_cap();
        let received = self.fetcher.fetch("weights", &expected, cap).await?;
        span.finish(&self.node.log, self.round, "weights");
        self.received("weights", &expected);
        Ok((received, Way::Fetched))
    }

    /// The optimiser's state: kept, or as it is before the first round, or from the coordinator.
    async fn state(&self, expected: FileDigest, plan: &Plan) -> Result<Received, RoundError> {
        let (node, server) = (Arc::clone(&self.node), *plan.server());
        let len = self.model.files.description.parameters();
        let kept = self
            .heavy(move || {
                if let Some(kept) = node.cache.read(ModelFile::Optimizer, &expected)? {
                    return Ok(Some(kept));
                }
                let fresh = ServerOptimizer::new(&server, len).ok();
                let fresh = fresh
                    .and_then(|fresh| fresh.to_file())
                    .map(Received::hashed);
                Ok::<_, RoundError>(fresh.filter(|fresh| *fresh.digest() == expected.sha256))
            })
            .await??;
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let span = SpanTimer::start(SpanKind::Network);
        let cap = self.state_cap(plan);
        let received = self.fetcher.fetch("optimizer", &expected, cap).await?;
        span.finish(&self.node.log, self.round, "optimizer");
        self.received("optimizer", &expected);
        // A state that is none would only show in the next round.
        self.heavy(move || {
            ServerOptimizer::from_file(&server, len, Some(received.bytes()))?;
            Ok(received)
        })
        .await?
    }

    fn state_cap(&self, plan: &Plan) -> u64 {
        let len = self.model.files.description.parameters();
        ServerOptimizer::longest_file(plan.server(), len)
    }

    fn received(&self, file: &'static str, received: &FileDigest) {
        self.node.log.event(
            "model_received",
            json!({ "round": self.round.round, "file": file, "bytes": received.len }),
        );
    }
}
