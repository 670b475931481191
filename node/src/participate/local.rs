//! A node's own computation in a round, without any network: read the text, evaluate the received
//! weights, train, encode the update.

use std::ops::ControlFlow;
use std::path::Path;

use secagg::Session;
use secagg_learning::{
    CodecError, Counter, Counters, CountersError, Encoded, Plan, Residual, RoundKind, UpdateCodec,
};
use secagg_wire::events::{EventLog, Round, SpanKind};
use thiserror::Error;
use zeroize::Zeroizing;

use super::announcement::TextCounts;
use super::cancel::Cancel;
use super::hooks::Hooks;
use super::randomness::os_rng;
use crate::evaluation::evaluate;
use crate::model::{Model, ModelFiles, Weights, WeightsError};
use crate::progress::Progress;
use crate::store::{Store, StoreError, StoredText};
use crate::training::{Trained, TrainingError, train};
use crate::vocabulary::TokenizedText;

/// What the computation needs.
#[derive(Debug)]
pub(super) struct LocalRound<'a> {
    pub(super) directory: &'a Path,
    pub(super) model: &'a ModelFiles,
    pub(super) plan: &'a Plan,
    pub(super) session: &'a Session,
    /// The received weights, in safetensors.
    pub(super) weights: &'a Weights,
    /// What was not sent of the updates before this one.
    pub(super) residual: Option<&'a Residual>,
    /// Fixes the order of the messages in training.
    pub(super) seed: [u8; 32],
    pub(super) round: Round,
    pub(super) log: &'a EventLog,
    pub(super) hooks: &'a Hooks,
    pub(super) cancel: &'a Cancel,
}

/// Why there is no update.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The text could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The received weights are not this model's.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Training failed or was stopped.
    #[error(transparent)]
    Training(#[from] TrainingError),
    /// A loss is not a number: the received weights are of no use.
    #[error("the received weights give no usable figures: {0}")]
    Counters(#[from] CountersError),
    /// The update could not be encoded.
    #[error("the update cannot be encoded: {0}")]
    Codec(#[from] CodecError),
    /// The round is over.
    #[error("the round was over before the computation was")]
    Cancelled,
}

/// How many messages a node has now; none where no text was ever added.
pub(super) fn count_text(directory: &Path) -> Result<TextCounts, StoreError> {
    let text = load_text(directory)?;
    Ok(TextCounts {
        training: text.training.len(),
        held_out: text.held_out.len(),
    })
}

impl LocalRound<'_> {
    /// Evaluates, trains where the plan says so, and encodes: the input before masking, and what is
    /// not sent with it.
    pub(super) fn compute(&self) -> Result<Encoded, LocalError> {
        let (held_out, training) = self.read_text()?;
        let mut model = Model::new(&self.model.description, self.weights)?;
        let mut counters = Counters::new();
        self.check_cancelled()?;
        let evaluation = self
            .log
            .measure(self.round, SpanKind::Evaluation, "evaluation", || {
                evaluate(&model, &held_out)
            });
        counters.record_validation(
            evaluation.loss_sum,
            evaluation.top1,
            evaluation.top3,
            evaluation.tokens,
        )?;
        drop(held_out);
        self.check_cancelled()?;
        let delta = match self.plan.kind() {
            RoundKind::EvaluateOnly => Zeroizing::new(Vec::new()),
            RoundKind::Train => {
                model.train_only(&self.plan.update().parts);
                let trained =
                    self.log
                        .measure(self.round, SpanKind::Training, "training", || {
                            self.train(&mut model, &training)
                        })?;
                let loss = trained.loss;
                counters.record_training(trained.examples, loss.sum, loss.tokens)?;
                Zeroizing::new(trained.delta)
            }
        };
        drop((model, training));
        self.check_cancelled()?;
        let encoded = self
            .log
            .measure(self.round, SpanKind::Cryptography, "encode", || {
                let codec = UpdateCodec::new(self.plan);
                codec.encode_with_feedback(
                    self.session,
                    &delta,
                    self.residual,
                    &counters,
                    &mut os_rng(),
                )
            })?;
        let weight = counters.value(Counter::Weight);
        let (round, plan) = (self.round.round, self.plan);
        self.hooks
            .dump_update(round, plan, &delta, weight, &encoded.input);
        Ok(encoded)
    }

    /// The held-out and the training text, as numbers.
    fn read_text(&self) -> Result<(TokenizedText, TokenizedText), LocalError> {
        let stored = load_text(self.directory)?;
        let max_words = self.plan.training().max_words as usize;
        let tokenize = |messages: &[Zeroizing<String>]| {
            let messages = messages.iter().map(|message| message.as_str());
            TokenizedText::new(&self.model.vocabulary, messages, max_words)
        };
        let training = match self.plan.kind() {
            RoundKind::Train => tokenize(&stored.training),
            RoundKind::EvaluateOnly => tokenize(&[]),
        };
        Ok((tokenize(&stored.held_out), training))
    }

    fn train(&self, model: &mut Model, text: &TokenizedText) -> Result<Trained, TrainingError> {
        let plan = self.plan.training();
        let steps = u64::from(plan.epochs) * text.len().div_ceil(plan.batch as usize) as u64;
        let mut shown = Progress::new(&format!("round {}, training", self.round.round), steps);
        let mut step = |progress: crate::training::TrainingProgress| {
            shown.set(progress.step, || format!("loss {:.3}", progress.loss));
            if self.cancel.is_cancelled() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let trained = train(
            model,
            self.weights.values(),
            text,
            plan,
            self.seed,
            &mut step,
        )?;
        let messages = trained.examples;
        shown.finish(&format!("{messages} messages, {} times each", plan.epochs));
        Ok(trained)
    }

    fn check_cancelled(&self) -> Result<(), LocalError> {
        if self.cancel.is_cancelled() {
            return Err(LocalError::Cancelled);
        }
        Ok(())
    }
}

fn load_text(directory: &Path) -> Result<StoredText, StoreError> {
    match Store::open(directory) {
        Ok(store) => store.load(),
        Err(StoreError::NoText { .. }) => Ok(StoredText::default()),
        Err(error) => Err(error),
    }
}
