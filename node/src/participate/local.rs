//! A node's own computation in a round, without any network: read the text, evaluate the received
//! weights, train, encode the update.

use std::ops::ControlFlow;
use std::path::Path;

use secagg::Session;
use secagg_learning::{
    Budget, CodecError, Counter, Counters, CountersError, Directions, Encoded, Evolution, Plan,
    Residual, RoundKind, UpdateCodec,
};
use secagg_wire::events::{EventLog, Round, SpanKind};
use serde_json::json;
use thiserror::Error;
use zeroize::Zeroizing;

use super::announcement::TextCounts;
use super::cancel::Cancel;
use super::hooks::Hooks;
use super::randomness::os_rng;
use crate::evaluation::{evaluate, evaluate_personal};
use crate::examples::{ExampleError, Examples};
use crate::exploration::{ExplorationTask, explore};
use crate::memory::PeakMemory;
use crate::model::{Model, ModelFiles, Weights, WeightsError};
use crate::personal::Personal;
use crate::progress::Progress;
use crate::store::{Store, StoreError, StoredText};
use crate::training::{
    Trained, TrainingError, TrainingLoss, TrainingProgress, TrainingTask, slow_precision, train,
};

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
    /// Bytes that training may take beside the model.
    pub(super) memory: u64,
    /// Whether the figures are given with a personal part, too.
    pub(super) personal: bool,
    pub(super) round: Round,
    pub(super) log: &'a EventLog,
    pub(super) hooks: &'a Hooks,
    pub(super) cancel: &'a Cancel,
}

/// What a node has to say in a round, before it is encoded.
struct Update {
    examples: u64,
    loss: TrainingLoss,
    /// New minus old weights, or how much the loss falls along each direction.
    elements: Zeroizing<Vec<f32>>,
}

/// Why there is no update.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The text could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What this node has is nothing that the model can learn from.
    #[error("what this node has is not what the federation's model learns from: {0}")]
    Examples(#[from] ExampleError),
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
        let (held_out, training) = self.read_examples()?;
        let mut model = Model::new(&self.model.description, self.weights)?;
        let mut counters = Counters::new();
        self.check_cancelled()?;
        let (global, own) =
            self.log
                .measure(self.round, SpanKind::Evaluation, "evaluation", || {
                    if self.personal && !held_out.is_empty() {
                        let personal = Personal::new(&model, &training);
                        evaluate_personal(&model, &personal, &held_out)
                    } else {
                        let global = evaluate(&model, &held_out);
                        (global, global)
                    }
                });
        counters.record_validation(global.loss_sum, global.top1, global.top3, global.tokens)?;
        counters.record_personal(own.loss_sum, own.top1, own.top3)?;
        drop(held_out);
        self.check_cancelled()?;
        let delta = match self.plan.kind() {
            RoundKind::EvaluateOnly => Zeroizing::new(Vec::new()),
            RoundKind::Train => {
                let update = match self.plan.evolution() {
                    None => self.train(&mut model, &training)?,
                    Some(evolution) => self.explore(&mut model, &training, evolution)?,
                };
                let Update {
                    examples,
                    loss,
                    elements,
                } = update;
                counters.record_training(examples, loss.sum, loss.tokens)?;
                elements
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

    /// The held-out and the training examples.
    fn read_examples(&self) -> Result<(Examples, Examples), LocalError> {
        let stored = load_text(self.directory)?;
        let max_words = self.plan.training().max_words as usize;
        let examples = |lines: &[Zeroizing<String>]| {
            let lines = lines.iter().map(|line| line.as_str());
            Examples::new(self.model, lines, max_words)
        };
        let training = match self.plan.kind() {
            RoundKind::Train => examples(&stored.training)?,
            // What is personal is counted in it.
            RoundKind::EvaluateOnly if self.personal => examples(&stored.training)?,
            RoundKind::EvaluateOnly => examples(&[])?,
        };
        Ok((examples(&stored.held_out)?, training))
    }

    fn train(&self, model: &mut Model, examples: &Examples) -> Result<Update, TrainingError> {
        model.train_only(&self.plan.update().parts);
        let peak = PeakMemory::start();
        let trained = self
            .log
            .measure(self.round, SpanKind::Training, "training", || {
                self.trained(model, examples)
            })?;
        self.log_memory(peak, &trained);
        Ok(Update {
            examples: trained.examples,
            loss: trained.loss,
            elements: Zeroizing::new(trained.delta),
        })
    }

    fn explore(
        &self,
        model: &mut Model,
        examples: &Examples,
        evolution: &Evolution,
    ) -> Result<Update, TrainingError> {
        let plan = self.plan.training();
        let task = ExplorationTask {
            evolution,
            directions: &Directions::new(self.session),
            parts: &self.plan.update().parts,
            messages: plan.batch as usize * plan.accumulate as usize,
            seed: self.seed,
        };
        let label = format!("round {}, exploring", self.round.round);
        let mut shown = Progress::new(&label, evolution.pairs.into());
        let mut step = |progress: TrainingProgress| {
            shown.set(progress.step, || format!("loss {:.3}", progress.loss));
            self.go_on()
        };
        let explored = self
            .log
            .measure(self.round, SpanKind::Training, "training", || {
                explore(model, self.weights.values(), examples, &task, &mut step)
            })?;
        let (examples, loss) = (explored.examples, explored.loss);
        shown.finish(&format!("{examples} messages, {} tokens", loss.tokens));
        Ok(Update {
            examples,
            loss,
            elements: Zeroizing::new(explored.falls),
        })
    }

    fn trained(&self, model: &mut Model, examples: &Examples) -> Result<Trained, TrainingError> {
        let plan = self.plan.training();
        if let Some(slow) = slow_precision(plan) {
            tracing::warn!("round {}: {slow}", self.round.round);
        }
        let task = TrainingTask {
            memory: self.memory,
            ..TrainingTask::new(plan, self.round.round, self.seed)
        };
        let label = format!("round {}, training", self.round.round);
        let started = task.clock.now();
        let mut shown: Option<Progress> = None;
        let mut step = |progress: TrainingProgress| {
            // Where time ends it, seconds are what is counted.
            let (done, total) = match (plan.budget, progress.steps) {
                (_, Some(steps)) => (progress.step, steps),
                (Budget::Seconds(seconds), None) => {
                    let over = task.clock.now().saturating_sub(started);
                    (over.as_secs(), seconds.into())
                }
                (Budget::Epochs(_) | Budget::Steps(_), None) => (progress.step, progress.step),
            };
            shown
                .get_or_insert_with(|| Progress::new(&label, total))
                .set(done, || format!("loss {:.3}", progress.loss));
            self.go_on()
        };
        let trained = train(model, self.weights.values(), examples, &task, &mut step)?;
        if let Some(shown) = shown {
            let Trained { examples, loss, .. } = &trained;
            shown.finish(&format!("{examples} messages, {} tokens", loss.tokens));
        }
        Ok(trained)
    }

    /// What training took beside what was estimated, for this node's own log.
    fn log_memory(&self, peak: PeakMemory, trained: &Trained) {
        if let Some(peak) = peak.finish() {
            self.log.event(
                "memory",
                json!({
                    "round": self.round.round,
                    "attempt": self.round.attempt,
                    "name": "training",
                    "peak_bytes": peak.peak_bytes,
                    "growth_bytes": peak.growth_bytes,
                    "estimated_bytes": trained.memory,
                }),
            );
        }
    }

    fn go_on(&self) -> ControlFlow<()> {
        if self.cancel.is_cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
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

#[cfg(test)]
#[path = "local/tests.rs"]
mod tests;
