//! Evolution strategies on a node: how much the loss on its own examples falls along each direction of
//! a round ([`secagg_learning::evolution`]). No gradient is computed, and no weight is kept.

use std::ops::ControlFlow;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use secagg_learning::{Directions, Evolution, Parts};
use tch::{Reduction, Tensor};

use crate::evaluation::in_batches;
use crate::examples::Examples;
use crate::model::{Batch, Model};
use crate::training::{TrainingError, TrainingLoss, TrainingProgress, shuffle};

/// What an exploration follows, besides the model and the examples.
#[derive(Clone, Copy, Debug)]
pub struct ExplorationTask<'a> {
    /// How many directions, and how far.
    pub evolution: &'a Evolution,
    /// The directions.
    pub directions: &'a Directions,
    /// The parameters that are moved.
    pub parts: &'a Parts,
    /// Examples that each direction is tried on: the plan's batch times what it accumulates.
    pub messages: usize,
    /// Fixes which examples are tried with which direction.
    pub seed: [u8; 32],
}

/// What an exploration found.
#[derive(Clone, Debug, PartialEq)]
pub struct Explored {
    /// How much the loss falls along each direction, nats a token for one unit of it.
    pub falls: Vec<f32>,
    /// Loss and tokens over all evaluations, two a direction.
    pub loss: TrainingLoss,
    /// How many examples were tried, each counted once: the node's weight.
    pub examples: u64,
}

/// Tries all directions both ways from `received`, each on the next examples in a random
/// order, and of a new order whenever they are used up. `progress` is called after every direction
/// and can stop it.
///
/// The same model, weights, examples and task give the same result to the bit, as long as libtorch uses
/// one thread.
///
/// # Errors
/// [`TrainingError::NoText`], [`TrainingError::Diverged`] with the direction as the step, counted from
/// 1, [`TrainingError::Stopped`], or [`TrainingError::Weights`] where `received` is not this model's.
pub fn explore(
    model: &mut Model,
    received: &[f32],
    examples: &Examples,
    task: &ExplorationTask<'_>,
    progress: &mut dyn FnMut(TrainingProgress) -> ControlFlow<()>,
) -> Result<Explored, TrainingError> {
    if examples.is_empty() {
        return Err(TrainingError::NoText);
    }
    // Before it is cut into parts.
    model.load_flat(received)?;
    let Evolution { pairs, sigma } = *task.evolution;
    let mut order = Order::new(examples.len(), task.seed);
    let mut explored = Explored {
        falls: Vec::with_capacity(pairs as usize),
        loss: TrainingLoss::default(),
        examples: 0,
    };
    for pair in 0..pairs {
        let indices = order.next(task.messages.clamp(1, examples.len()));
        let mut sides = [TrainingLoss::default(); 2];
        for (side, step) in sides.iter_mut().zip([sigma, -sigma]) {
            model.load_flat(&moved(received, task, pair, step))?;
            *side = loss(model, examples, &indices);
            explored.loss += *side;
        }
        let [there, back] = sides.map(|side| side.sum / side.tokens as f64);
        let fall = (back - there) / (2.0 * f64::from(sigma));
        #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]
        let fall = fall as f32;
        let step = u64::from(pair) + 1;
        if !fall.is_finite() {
            return Err(TrainingError::Diverged { step });
        }
        explored.falls.push(fall);
        let now = TrainingProgress {
            step,
            steps: Some(pairs.into()),
            loss: f64::midpoint(there, back),
        };
        if progress(now).is_break() {
            return Err(TrainingError::Stopped);
        }
    }
    explored.examples = order.seen();
    Ok(explored)
}

/// The received weights with those in the parts moved along a direction.
fn moved(received: &[f32], task: &ExplorationTask<'_>, pair: u32, step: f32) -> Vec<f32> {
    let mut weights = received.to_vec();
    let mut part = task.parts.gather(received);
    task.directions.add(pair, step, &mut part);
    task.parts.put(&part, &mut weights);
    weights
}

/// The loss on some examples, as many at once as an evaluation holds.
fn loss(model: &Model, examples: &Examples, indices: &[usize]) -> TrainingLoss {
    let mut sum = TrainingLoss::default();
    in_batches(model, examples, indices, |batch| {
        sum += batch_loss(model, batch);
    });
    sum
}

fn batch_loss(model: &Model, batch: &Batch) -> TrainingLoss {
    let sum = tch::no_grad(|| {
        let scores = model.logits(batch);
        let targets = batch.targets();
        let loss = scores.cross_entropy_loss::<Tensor>(targets, None, Reduction::Sum, -100, 0.0);
        loss.double_value(&[])
    });
    TrainingLoss {
        sum,
        tokens: batch.targets().numel() as u64,
    }
}

/// All examples in a random order, over and over.
struct Order {
    rng: ChaCha20Rng,
    order: Vec<usize>,
    done: usize,
    /// Whether all have been seen.
    again: bool,
}

impl Order {
    fn new(len: usize, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let mut order: Vec<usize> = (0..len).collect();
        shuffle(&mut order, &mut rng);
        Self {
            rng,
            order,
            done: 0,
            again: false,
        }
    }

    fn next(&mut self, count: usize) -> Vec<usize> {
        let mut indices = Vec::with_capacity(count);
        while indices.len() < count {
            if self.done == self.order.len() {
                shuffle(&mut self.order, &mut self.rng);
                self.done = 0;
                self.again = true;
            }
            indices.push(self.order[self.done]);
            self.done += 1;
        }
        indices
    }

    fn seen(&self) -> u64 {
        let seen = if self.again {
            self.order.len()
        } else {
            self.done
        };
        seen as u64
    }
}

#[cfg(test)]
mod tests;
