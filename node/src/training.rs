//! Local training: epochs, steps or seconds over shuffled batches in memory, without any I/O.

mod descent;
mod distillation;
mod memory;
mod precision;

use std::ops::ControlFlow;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use secagg_learning::{Budget, PlanError, TrainingPlan};
use serde::Serialize;
use thiserror::Error;

use self::descent::Descent;
use self::distillation::cross_entropy;
pub use self::distillation::{Distillation, DistillationError, Mixture};
pub use self::memory::{DEFAULT_MEMORY, DEFAULT_MEMORY_MB, Estimate};
use self::precision::Passes;
pub use self::precision::slow_precision;
use crate::clock::Clock;
use crate::examples::Examples;
use crate::model::{Dropout, Model, WeightsError};

/// What a training follows, besides the model and the examples.
#[derive(Clone, Copy, Debug)]
pub struct TrainingTask<'a> {
    /// The plan; its values are checked.
    pub plan: &'a TrainingPlan,
    /// Where the plan's schedule stands.
    pub schedule: SchedulePoint,
    /// Fixes which examples are taken, their order, and what dropout leaves out.
    pub seed: [u8; 32],
    /// Bytes that training may take beside the model, by the [`Estimate`]. A batch that would take
    /// more is worked through in pieces, whose gradients are added up.
    pub memory: u64,
    /// Asked only where the plan's budget is in seconds.
    pub clock: Clock<'a>,
    /// Whose predictions the model learns from, besides the right answers.
    pub teacher: Option<Distillation<'a>>,
}

impl<'a> TrainingTask<'a> {
    /// The training of a round, with [`DEFAULT_MEMORY`] and the machine's clock.
    #[must_use]
    pub fn new(plan: &'a TrainingPlan, round: u64, seed: [u8; 32]) -> Self {
        Self {
            plan,
            schedule: SchedulePoint::Round(round),
            seed,
            memory: DEFAULT_MEMORY,
            clock: Clock::default(),
            teacher: None,
        }
    }
}

/// What the plan's schedule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedulePoint {
    /// Rounds: this one's number, counted from 1, holds for all of the training.
    Round(u64),
    /// The training's own steps.
    Steps,
}

/// What training made.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The new weights, flat.
    pub weights: Vec<f32>,
    /// The new weights minus those that training started from, flat.
    pub delta: Vec<f32>,
    /// Loss and tokens (or labels) over all steps, each as it was when its batch was trained on; with a
    /// teacher its part is in it.
    pub loss: TrainingLoss,
    /// How many examples were trained on, each counted once however often it was seen: the client's
    /// weight. Less than all where the budget ended within the first epoch.
    pub examples: u64,
    /// The estimated peak of the memory that it took, in bytes; see [`Estimate`].
    pub memory: u64,
}

/// Training's loss, as sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TrainingLoss {
    /// The sum of −ln p of the right answers, in nats.
    pub sum: f64,
    /// How many tokens, or labels, there were.
    pub tokens: u64,
}

impl std::ops::AddAssign for TrainingLoss {
    fn add_assign(&mut self, other: Self) {
        self.sum += other.sum;
        self.tokens += other.tokens;
    }
}

/// How far training is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainingProgress {
    /// Steps done.
    pub step: u64,
    /// Steps to do; none where the budget is in seconds.
    pub steps: Option<u64>,
    /// The last step's loss, nats a token.
    pub loss: f64,
}

/// Why training ended without a result.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// There is no example to train on.
    #[error("there is nothing to train on; add text or images with `secagg-node add`")]
    NoText,
    /// A value of the plan is out of its range.
    #[error("training is refused: {0}")]
    Plan(#[from] PlanError),
    /// The longest message alone would take more memory than allowed.
    #[error(
        "training on the longest message alone takes about {} MiB beside the model, and {} MiB are \
         allowed; use fewer words of a message, or allow more", needed >> 20, budget >> 20
    )]
    Memory {
        /// Bytes needed.
        needed: u64,
        /// Bytes allowed.
        budget: u64,
    },
    /// The loss is no longer finite.
    #[error("training went astray at step {step}: the loss is not finite; use a lower rate")]
    Diverged {
        /// The step, counted from 1.
        step: u64,
    },
    /// The weights have gone so far that a change is not finite.
    #[error("training went astray: element {index} of the update is {value}; use a lower rate")]
    UpdateNotFinite {
        /// Its place in the flat vector.
        index: usize,
        /// The change, as text.
        value: String,
    },
    /// The caller stopped it.
    #[error("training was stopped")]
    Stopped,
    /// The weights to start from are wrong, or those that came out are not finite.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// Trains a model from `received` on `examples`, and returns what changed.
///
/// The same model, weights, examples and task give the same result to the bit, as long as libtorch
/// uses one thread and the budget is not in seconds. `progress` is called after every step and can
/// stop the training.
///
/// # Errors
/// A [`TrainingError`]; the model's weights are then of no use.
///
/// # Panics
/// When the examples are of another task than the model's.
pub fn train(
    model: &mut Model,
    received: &[f32],
    examples: &Examples,
    task: &TrainingTask<'_>,
    progress: &mut dyn FnMut(TrainingProgress) -> ControlFlow<()>,
) -> Result<Trained, TrainingError> {
    model.load_flat(received)?;
    let mut loss = TrainingLoss::default();
    let mut trainer = Trainer::new(model, examples, task)?;
    while !trainer.is_done() {
        loss += trainer.epoch(progress)?;
    }
    let (examples, memory) = (trainer.examples(), trainer.memory());
    drop(trainer);
    let weights = model.to_weights()?.into_values();
    let delta: Vec<f32> = weights
        .iter()
        .zip(received)
        .map(|(new, old)| new - old)
        .collect();
    if let Some(index) = delta.iter().position(|change| !change.is_finite()) {
        let value = delta[index].to_string();
        return Err(TrainingError::UpdateNotFinite { index, value });
    }
    Ok(Trained {
        weights,
        delta,
        loss,
        examples,
        memory,
    })
}

/// Training that keeps its optimiser's state from epoch to epoch.
#[derive(Debug)]
pub struct Trainer<'a> {
    data: &'a Examples,
    task: TrainingTask<'a>,
    passes: Passes<'a>,
    dropout: Dropout,
    descent: Descent,
    estimate: Estimate,
    /// The most positions of a batch that are in memory at once.
    most_positions: usize,
    /// The most that there were.
    largest: usize,
    rng: ChaCha20Rng,
    /// Those that are trained on.
    chosen: Vec<usize>,
    /// The same in the order of this epoch, and how many of them are done.
    order: Vec<usize>,
    done: usize,
    epochs: u32,
    step: u64,
    started: Duration,
}

impl<'a> Trainer<'a> {
    /// Prepares training from the model's present weights.
    ///
    /// # Errors
    /// [`TrainingError::Plan`], [`TrainingError::NoText`] or [`TrainingError::Memory`].
    pub fn new(
        model: &'a Model,
        data: &'a Examples,
        task: &TrainingTask<'a>,
    ) -> Result<Self, TrainingError> {
        task.plan.check()?;
        let longest = (0..data.len()).map(|index| data.positions(index)).max();
        let longest = longest.ok_or(TrainingError::NoText)?;
        let mut estimate = Estimate::new(model.description(), task.plan);
        estimate.add_copies(model.frozen().elements());
        if let Some(teacher) = &task.teacher {
            estimate.add_teacher(teacher.teacher());
        }
        let most = estimate.positions(task.memory, longest as u64)?;
        let mut rng = ChaCha20Rng::from_seed(task.seed);
        let chosen = choose(data.len(), task.plan.max_examples, &mut rng);
        Ok(Self {
            data,
            task: *task,
            passes: Passes::new(model, task.plan),
            dropout: Dropout::new(task.plan.dropout, task.seed),
            descent: Descent::new(model, task.plan),
            estimate,
            most_positions: usize::try_from(most).unwrap_or(usize::MAX),
            largest: 0,
            rng,
            done: chosen.len(),
            order: chosen.clone(),
            chosen,
            epochs: 0,
            step: 0,
            started: match task.plan.budget {
                Budget::Seconds(_) => task.clock.now(),
                Budget::Epochs(_) | Budget::Steps(_) => Duration::ZERO,
            },
        })
    }

    /// Whether the plan's budget is used up.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self.task.plan.budget {
            Budget::Epochs(epochs) => self.epochs >= epochs && self.done == self.order.len(),
            Budget::Steps(steps) => self.step >= u64::from(steps),
            Budget::Seconds(seconds) => {
                let over = self.task.clock.now().saturating_sub(self.started);
                self.step > 0 && over >= Duration::from_secs(seconds.into())
            }
        }
    }

    /// Goes on to the end of the epoch (all chosen examples once, in a new order), or of the budget.
    ///
    /// # Errors
    /// [`TrainingError::Diverged`] or [`TrainingError::Stopped`].
    pub fn epoch(
        &mut self,
        progress: &mut dyn FnMut(TrainingProgress) -> ControlFlow<()>,
    ) -> Result<TrainingLoss, TrainingError> {
        let mut epoch = TrainingLoss::default();
        while !self.is_done() {
            if self.done == self.order.len() {
                self.order.clone_from(&self.chosen);
                shuffle(&mut self.order, &mut self.rng);
                self.done = 0;
                self.epochs += 1;
            }
            let loss = self.step()?;
            epoch += loss;
            let now = TrainingProgress {
                step: self.step,
                steps: self.steps(),
                loss: loss.sum / loss.tokens as f64,
            };
            if progress(now).is_break() {
                return Err(TrainingError::Stopped);
            }
            if self.done == self.order.len() {
                break;
            }
        }
        Ok(epoch)
    }

    /// How many examples were trained on so far, each counted once.
    #[must_use]
    pub fn examples(&self) -> u64 {
        let seen = match self.epochs {
            0 => 0,
            1 => self.done,
            _ => self.order.len(),
        };
        seen as u64
    }

    /// The estimated peak of the memory that training took so far, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.estimate.bytes(self.largest as u64)
    }

    /// Steps of the whole budget, where it says.
    fn steps(&self) -> Option<u64> {
        match self.task.plan.budget {
            Budget::Epochs(epochs) => {
                let epoch = self.order.len().div_ceil(self.examples_a_step());
                Some(u64::from(epochs) * epoch as u64)
            }
            Budget::Steps(steps) => Some(steps.into()),
            Budget::Seconds(_) => None,
        }
    }

    fn examples_a_step(&self) -> usize {
        self.task.plan.batch as usize * self.task.plan.accumulate as usize
    }

    /// Trains on the next examples of the epoch, piece by piece.
    fn step(&mut self) -> Result<TrainingLoss, TrainingError> {
        let end = (self.done + self.examples_a_step()).min(self.order.len());
        let begin = std::mem::replace(&mut self.done, end);
        self.step += 1;
        let indices = &self.order[begin..end];
        let tokens = indices.iter().map(|&index| self.data.targets(index));
        let tokens = tokens.sum::<usize>();
        let pieces = self.pieces(indices);
        let mut loss = TrainingLoss::default();
        self.descent.begin();
        self.passes.begin();
        for piece in pieces {
            let batch = self.data.batch(&piece);
            let scores = self.passes.logits(&batch, &self.dropout);
            let mean = match &self.task.teacher {
                None => cross_entropy(&scores, batch.targets()),
                Some(teacher) => teacher.loss(&scores, &batch),
            };
            drop(scores);
            let value = mean.double_value(&[]);
            if !value.is_finite() {
                return Err(TrainingError::Diverged { step: self.step });
            }
            let own = batch.targets().numel();
            if own == tokens {
                self.passes.backward(&mean);
            } else {
                // The mean over the tokens of all pieces: each counts by its share of them.
                let share = own as f64 / tokens as f64;
                self.passes.backward(&(mean * share));
            }
            loss.sum += value * own as f64;
            loss.tokens += own as u64;
            let positions = piece.iter().map(|&index| self.data.positions(index));
            self.largest = self.largest.max(positions.sum());
        }
        self.descent
            .finish(self.task.plan.schedule.factor(match self.task.schedule {
                SchedulePoint::Round(round) => round,
                SchedulePoint::Steps => self.step,
            }));
        Ok(loss)
    }

    /// A step's examples in pieces of at most a batch, each of which fits into memory.
    fn pieces(&self, indices: &[usize]) -> Vec<Vec<usize>> {
        let most_examples = self.task.plan.batch as usize;
        let mut pieces: Vec<Vec<usize>> = Vec::new();
        let mut room = 0;
        for &index in indices {
            let needed = self.data.positions(index);
            match pieces.last_mut() {
                Some(piece) if piece.len() < most_examples && needed <= room => {
                    piece.push(index);
                    room -= needed;
                }
                _ => {
                    pieces.push(vec![index]);
                    // No example needs more: that was checked.
                    room = self.most_positions - needed;
                }
            }
        }
        pieces
    }
}

/// `most` of so many examples at random, or all of them where there are no more, or where `most` is 0.
fn choose(examples: usize, most: u32, rng: &mut ChaCha20Rng) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..examples).collect();
    if (1..examples).contains(&(most as usize)) {
        shuffle(&mut chosen, rng);
        chosen.truncate(most as usize);
    }
    chosen
}

/// Fisher and Yates; the modulo's bias is below 2⁻³² for any number of examples in memory.
pub(crate) fn shuffle(order: &mut [usize], rng: &mut impl Rng) {
    for last in (1..order.len()).rev() {
        let other = rng.next_u64() % (last as u64 + 1);
        order.swap(last, usize::try_from(other).expect("at most `last`"));
    }
}

#[cfg(test)]
mod tests;
