//! Weights that the server sets to zero: magnitude pruning on a schedule (Zhu and Gupta, "To prune, or not
//! to prune: exploring the efficacy of pruning for model compression", 2017, section 3).
//!
//! In each tensor of at least two dimensions the weights with the smallest magnitudes become 0, more of
//! them with every step of the schedule:
//!
//! ```text
//! s_t = s_f − s_f·(1 − (t − t_0)/(n·Δt))³     for t = t_0, t_0 + Δt, …, t_0 + n·Δt
//! ```
//!
//! A pruned weight stays 0: what the clients have changed of it is left out of their mean, and no momentum
//! brings it back. Which weights are pruned is nowhere else than in the weights, as zeros, so that a server
//! that is started again goes on as it would have. Clients know nothing of it. They train all of the
//! weights that they get, and the server takes what it has use for.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{
    optimizer::{OptimizerError, ServerOptimizer},
    plan::{Parts, PlanError, check},
};

/// How many weights are zero after which training round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pruning {
    /// The last share s_f of each tensor's weights that is zero, above 0 and below 1.
    pub sparsity: f32,
    /// The training round t_0 with which it begins, at least 1; the share is then still 0.
    pub begin: u32,
    /// The training round t_0 + n·Δt from which on the share is s_f; after `begin`.
    pub end: u32,
    /// Training rounds Δt between two steps, at least 1. Where they do not end at `end`, the last one is
    /// shorter.
    pub every: u32,
}

/// One training round of the server.
#[derive(Clone, Copy, Debug)]
pub struct ServerStep<'a> {
    /// Which training round it is, the first is 1.
    pub round: u64,
    /// What the rate is multiplied by.
    pub factor: f64,
    /// The weights that are trained.
    pub parts: &'a Parts,
    /// What is pruned, if anything is.
    pub pruning: Option<&'a Pruning>,
}

impl Pruning {
    /// Whether every value is within its bounds.
    fn check(&self) -> Result<(), PlanError> {
        const SPARSITY: &str = "rounds.pruning.sparsity";
        check::float(SPARSITY, self.sparsity, 1e-6, 0.999_999)?;
        check::integer("rounds.pruning.begin", self.begin, 1, u32::MAX - 1)?;
        check::integer("rounds.pruning.end", self.end, self.begin + 1, u32::MAX)?;
        check::integer("rounds.pruning.every", self.every, 1, u32::MAX)
    }

    /// The schedule as a configuration says it: checked, and none where the share is 0.
    ///
    /// # Errors
    /// A [`PlanError`] that names the value and its bounds.
    pub fn configured(self) -> Result<Option<Self>, PlanError> {
        if self.sparsity == 0.0 {
            return Ok(None);
        }
        self.check()?;
        Ok(Some(self))
    }

    /// The share of each tensor's weights that is zero after a training round: s_t of the last step of the
    /// schedule until then.
    #[must_use]
    pub fn sparsity_after(&self, round: u64) -> f64 {
        let [begin, end, every] = [self.begin, self.end, self.every.max(1)].map(u64::from);
        let last = f64::from(self.sparsity);
        if round >= end {
            return last;
        }
        let steps = round.saturating_sub(begin) / every;
        let part = (steps * every) as f64 / end.saturating_sub(begin).max(1) as f64;
        last - last * (1.0 - part).powi(3)
    }

    /// Sets the smallest weights of each tensor to zero, as many as the schedule asks for after this
    /// round; among equal ones the first.
    fn prune(&self, round: u64, tensors: &[Range<usize>], weights: &mut [f32]) {
        let share = self.sparsity_after(round);
        for tensor in tensors {
            let weights = &mut weights[tensor.clone()];
            let count = count(share, weights.len());
            let is_done = weights.iter().filter(|weight| **weight == 0.0).count() >= count;
            if count == 0 || is_done {
                continue;
            }
            let mut order: Vec<usize> = (0..weights.len()).collect();
            let magnitude = |place: usize| (weights[place].abs(), place);
            order.select_nth_unstable_by(count - 1, |&left, &right| {
                let (left, right) = (magnitude(left), magnitude(right));
                left.0.total_cmp(&right.0).then(left.1.cmp(&right.1))
            });
            for &place in &order[..count] {
                weights[place] = 0.0;
            }
        }
    }
}

impl ServerStep<'_> {
    /// Lets the server's optimiser make its step, and prunes. `shapes` are the tensors' dimensions, in the
    /// flat vector's order.
    ///
    /// # Errors
    /// As [`ServerOptimizer::step_with`]; then neither weights nor state have changed.
    pub fn apply<'a>(
        &self,
        shapes: impl Iterator<Item = &'a [usize]>,
        optimizer: &mut ServerOptimizer,
        weights: &mut [f32],
        mut mean_delta: Vec<f32>,
    ) -> Result<(), OptimizerError> {
        let Some(pruning) = self.pruning else {
            return optimizer.step_with(self.factor, self.parts, weights, &mean_delta);
        };
        let tensors = tensors(shapes, self.parts, weights.len());
        let mut pruned = Vec::new();
        if self.round > pruning.begin.into() {
            let places = tensors.iter().cloned().flatten();
            pruned.extend(places.filter(|&place| weights[place] == 0.0));
        }
        for &place in &pruned {
            // A vector of another length is refused below.
            if let Some(change) = mean_delta.get_mut(place) {
                *change = 0.0;
            }
        }
        optimizer.step_with(self.factor, self.parts, weights, &mean_delta)?;
        for place in pruned {
            weights[place] = 0.0;
        }
        pruning.prune(self.round, &tensors, weights);
        Ok(())
    }
}

/// The share of zeros among the weights of tensors of at least two dimensions; 0 where there are none.
pub fn sparsity<'a>(shapes: impl Iterator<Item = &'a [usize]>, weights: &[f32]) -> f64 {
    let tensors = tensors(shapes, &Parts::ALL, weights.len());
    let all: usize = tensors.iter().map(Range::len).sum();
    let places = tensors.into_iter().flatten();
    let zeros = places.filter(|&place| weights[place] == 0.0).count();
    zeros as f64 / all.max(1) as f64
}

/// Where tensors of at least two dimensions lie that are trained.
fn tensors<'a>(
    shapes: impl Iterator<Item = &'a [usize]>,
    parts: &Parts,
    len: usize,
) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut tensors = Vec::new();
    for dimensions in shapes {
        let end = start + dimensions.iter().product::<usize>();
        let is_trained = |part: Range<usize>| part.start <= start && end <= part.end;
        if dimensions.len() >= 2 && parts.stretches(len).any(is_trained) {
            tensors.push(start..end);
        }
        start = end;
    }
    tensors
}

/// How many of so many weights a share is, rounded to the nearest; one weight at least is left.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share from 0 to 1 of a length that f64 holds"
)]
fn count(share: f64, len: usize) -> usize {
    ((share * len as f64).round() as usize).min(len.saturating_sub(1))
}

#[cfg(test)]
mod tests;
