//! Local training: so many epochs over shuffled batches in memory, without any I/O.

use std::ops::ControlFlow;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use secagg_learning::{LocalOptimizer, TrainingPlan};
use serde::Serialize;
use tch::nn::{Optimizer, OptimizerConfig};
use tch::{Reduction, Tensor};
use thiserror::Error;

use crate::model::{Batch, Model, WeightsError};
use crate::vocabulary::{Token, TokenizedText};

/// What training made.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The new weights, flat.
    pub weights: Vec<f32>,
    /// The new weights minus those that training started from, flat.
    pub delta: Vec<f32>,
    /// Loss and tokens over all epochs, each token as it was when its batch was trained on.
    pub loss: TrainingLoss,
    /// How many messages there were.
    pub examples: u64,
}

/// Training's loss, as sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TrainingLoss {
    /// The sum of −ln p of the right answers, in nats.
    pub sum: f64,
    /// How many tokens there were.
    pub tokens: u64,
}

/// How far training is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainingProgress {
    /// Steps done, over all epochs.
    pub step: u64,
    /// Steps to do, over all epochs.
    pub steps: u64,
    /// The last batch's loss, nats a token.
    pub loss: f64,
}

/// Why training ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// There is no message to train on.
    #[error("there is no text to train on; add some with `secagg-node add`")]
    NoText,
    /// A setting is out of its range.
    #[error("training with {field} = {value} is refused: {reason}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        reason: &'static str,
    },
    /// A batch's scores would not fit into memory.
    #[error(
        "batches of {batch} messages and a vocabulary of {vocabulary} words need up to {scores} \
         scores at once; at most {MAX_SCORES} are allowed"
    )]
    BatchTooLarge {
        /// Messages a batch.
        batch: u32,
        /// Words in the vocabulary.
        vocabulary: u32,
        /// Scores a batch, at its longest.
        scores: u64,
    },
    /// The loss is no longer finite.
    #[error("training went astray at step {step}: the loss is not finite; use a lower rate")]
    Diverged {
        /// The step, counted from 1.
        step: u64,
    },
    /// The caller stopped it.
    #[error("training was stopped")]
    Stopped,
    /// The weights to start from are wrong, or those that came out are not finite.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// The most scores that a batch may need: 1 GiB of them. The plan comes from a coordinator, which
/// must not be able to make a node run out of memory.
pub const MAX_SCORES: u64 = 1 << 28;

/// Trains a model from `received` on all of `text`, and returns what changed.
///
/// The same model, weights, text, plan and seed give the same result to the bit, as long as libtorch
/// uses one thread; `seed` fixes the messages' order. `progress` is called after every step and can stop the training.
///
/// # Errors
/// A [`TrainingError`]; the model's weights are then of no use.
pub fn train(
    model: &mut Model,
    received: &[f32],
    text: &TokenizedText,
    plan: &TrainingPlan,
    seed: [u8; 32],
    progress: &mut dyn FnMut(TrainingProgress) -> ControlFlow<()>,
) -> Result<Trained, TrainingError> {
    model.load_flat(received)?;
    let mut loss = TrainingLoss::default();
    let mut trainer = Trainer::new(model, text, plan, seed)?;
    for _ in 0..plan.epochs {
        let epoch = trainer.epoch(progress)?;
        loss.sum += epoch.sum;
        loss.tokens += epoch.tokens;
    }
    let weights = model.to_weights()?.into_values();
    let delta = weights
        .iter()
        .zip(received)
        .map(|(new, old)| new - old)
        .collect();
    Ok(Trained {
        weights,
        delta,
        loss,
        examples: text.len() as u64,
    })
}

/// Training that keeps its optimiser's state from epoch to epoch.
#[derive(Debug)]
pub struct Trainer<'a> {
    model: &'a Model,
    text: &'a TokenizedText,
    plan: TrainingPlan,
    optimizer: Optimizer,
    rng: ChaCha20Rng,
    step: u64,
}

impl<'a> Trainer<'a> {
    /// Prepares training from the model's present weights.
    ///
    /// # Errors
    /// [`TrainingError::NoText`], [`TrainingError::Setting`] or [`TrainingError::BatchTooLarge`].
    ///
    /// # Panics
    /// Never: what libtorch's optimisers refuse was refused before.
    pub fn new(
        model: &'a Model,
        text: &'a TokenizedText,
        plan: &TrainingPlan,
        seed: [u8; 32],
    ) -> Result<Self, TrainingError> {
        check(plan, model, text)?;
        let variables = model.variables();
        let optimizer = match plan.optimizer {
            LocalOptimizer::Sgd { rate } => {
                tch::nn::Sgd::default().build(variables, f64::from(rate))
            }
            LocalOptimizer::Adam { rate } => {
                tch::nn::Adam::default().build(variables, f64::from(rate))
            }
        };
        Ok(Self {
            model,
            text,
            plan: *plan,
            optimizer: optimizer.expect("the rate was checked, and the variables are floats"),
            rng: ChaCha20Rng::from_seed(seed),
            step: 0,
        })
    }

    /// Goes once through all messages in a new order.
    ///
    /// # Errors
    /// [`TrainingError::Diverged`] or [`TrainingError::Stopped`].
    pub fn epoch(
        &mut self,
        progress: &mut dyn FnMut(TrainingProgress) -> ControlFlow<()>,
    ) -> Result<TrainingLoss, TrainingError> {
        let batch = self.plan.batch as usize;
        let steps = u64::from(self.plan.epochs) * self.text.len().div_ceil(batch) as u64;
        let mut order: Vec<usize> = (0..self.text.len()).collect();
        shuffle(&mut order, &mut self.rng);
        let mut epoch = TrainingLoss::default();
        for indices in order.chunks(batch) {
            let mut messages: Vec<&[Token]> = indices
                .iter()
                .map(|&index| self.text.message(index))
                .collect();
            let batch = Batch::new(&mut messages);
            let loss = self.model.logits(&batch).cross_entropy_loss::<Tensor>(
                batch.targets(),
                None,
                Reduction::Mean,
                -100,
                0.0,
            );
            self.step += 1;
            let mean = loss.double_value(&[]);
            if !mean.is_finite() {
                return Err(TrainingError::Diverged { step: self.step });
            }
            let clip = f64::from(self.plan.gradient_clip);
            self.optimizer.backward_step_clip_norm(&loss, clip);
            let tokens = batch.targets().numel();
            epoch.sum += mean * tokens as f64;
            epoch.tokens += tokens as u64;
            let now = TrainingProgress {
                step: self.step,
                steps,
                loss: mean,
            };
            if progress(now).is_break() {
                return Err(TrainingError::Stopped);
            }
        }
        Ok(epoch)
    }
}

fn check(plan: &TrainingPlan, model: &Model, text: &TokenizedText) -> Result<(), TrainingError> {
    let setting = |field, value: String, reason| {
        Err(TrainingError::Setting {
            field,
            value,
            reason,
        })
    };
    if plan.epochs == 0 {
        return setting("epochs", "0".to_owned(), "at least one epoch is needed");
    }
    if plan.batch == 0 {
        return setting(
            "batch",
            "0".to_owned(),
            "a batch needs at least one message",
        );
    }
    let (LocalOptimizer::Sgd { rate } | LocalOptimizer::Adam { rate }) = plan.optimizer;
    if !(rate.is_finite() && rate > 0.0) {
        return setting("rate", rate.to_string(), "it must be finite and above 0");
    }
    let clip = plan.gradient_clip;
    if !(clip.is_finite() && clip > 0.0) {
        return setting(
            "gradient_clip",
            clip.to_string(),
            "it must be finite and above 0",
        );
    }
    if text.is_empty() {
        return Err(TrainingError::NoText);
    }
    let longest = (0..text.len())
        .map(|index| text.message(index).len() - 1)
        .max()
        .unwrap_or(0);
    let vocabulary = model.description().sizes().vocabulary;
    let messages = u64::from(plan.batch).min(text.len() as u64);
    let scores = messages
        .saturating_mul(longest as u64)
        .saturating_mul(u64::from(vocabulary));
    if scores > MAX_SCORES {
        return Err(TrainingError::BatchTooLarge {
            batch: plan.batch,
            vocabulary,
            scores,
        });
    }
    Ok(())
}

/// Fisher and Yates; the modulo's bias is below 2⁻³² for any number of messages in memory.
fn shuffle(order: &mut [usize], rng: &mut impl Rng) {
    for last in (1..order.len()).rev() {
        let other = rng.next_u64() % (last as u64 + 1);
        order.swap(last, usize::try_from(other).expect("at most `last`"));
    }
}

#[cfg(test)]
mod tests;
