//! How long a client trains, and the defaults of local training.

use serde::{Deserialize, Serialize};

use super::{LocalOptimizer, PlanError, TrainingPlan, check};
use crate::schedule::{Names, Schedule};

/// How long a client trains in a round; whichever it is, at least one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Budget {
    /// So many passes over the client's text, 1 to 1,000.
    Epochs(u32),
    /// So many steps, 1 to 1,000,000: of the text's first examples in a random order, and of a new
    /// order whenever the text is used up.
    Steps(u32),
    /// Steps until so many seconds are over, 1 to 86,400; the step that is under way is finished.
    Seconds(u32),
}

/// What a network and its gradients are computed in. The weights that the optimiser changes are f32 in
/// any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// Mixed precision (Micikevicius et al., "Mixed Precision Training", ICLR 2018, section 3.1, with the
    /// bf16 of Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", 2019, which has the
    /// exponents of f32, so that no loss is scaled): forward and backward with a copy of the weights
    /// rounded to bf16; the loss, the gradients' sums, clip, proximal term and optimiser in f32. It is faster only on
    /// processors with instructions for bf16. Evolution strategies are computed in f32 in any case.
    Bf16,
}

impl TrainingPlan {
    /// One epoch of batches of 16 examples, with Adam at 0.002.
    pub const DEFAULT: Self = Self {
        budget: Budget::Epochs(1),
        batch: 16,
        accumulate: 1,
        optimizer: LocalOptimizer::Adam { rate: 0.002 },
        schedule: Schedule::Constant,
        weight_decay: 0.0,
        proximal: 0.0,
        dropout: 0.0,
        gradient_clip: 5.0,
        max_examples: 0,
        max_words: 64,
        precision: Precision::F32,
    };

    /// Whether every value is within its bounds, as [`Plan::new`](super::Plan::new) asks.
    ///
    /// # Errors
    /// A [`PlanError`] that names the value and its bounds.
    pub fn check(&self) -> Result<(), PlanError> {
        // A server that asks for endless training must not get it.
        match self.budget {
            Budget::Epochs(epochs) => check::integer("training.epochs", epochs, 1, 1_000)?,
            Budget::Steps(steps) => check::integer("training.steps", steps, 1, 1_000_000)?,
            Budget::Seconds(seconds) => {
                check::integer("training.seconds", seconds, 1, 24 * 60 * 60)?;
            }
        }
        check::integer("training.batch", self.batch, 1, 65_536)?;
        check::integer("training.accumulate", self.accumulate, 1, 1_024)?;
        match self.optimizer {
            LocalOptimizer::Sgd { rate } => check::size("training.optimizer.sgd.rate", rate)?,
            LocalOptimizer::Adam { rate } => check::size("training.optimizer.adam.rate", rate)?,
            LocalOptimizer::Momentum { rate, beta } => {
                check::size("training.optimizer.momentum.rate", rate)?;
                check::decay("training.optimizer.momentum.beta", beta)?;
            }
        }
        self.schedule.check(SCHEDULE)?;
        check::decay("training.weight_decay", self.weight_decay)?;
        check::float("training.proximal", self.proximal, 0.0, check::LARGEST)?;
        check::decay("training.dropout", self.dropout)?;
        check::size("training.gradient_clip", self.gradient_clip)?;
        check::integer("training.max_words", self.max_words, 1, 4_096)
    }
}

impl Default for TrainingPlan {
    fn default() -> Self {
        Self::DEFAULT
    }
}

const SCHEDULE: Names = Names {
    every: "training.schedule.step.every",
    factor: "training.schedule.step.factor",
    steps: "training.schedule.cosine.steps",
    floor: "training.schedule.cosine.floor",
    warm_up: "training.schedule.noam.warm_up",
};

impl LocalOptimizer {
    /// The learning rate, before any schedule.
    #[must_use]
    pub const fn rate(&self) -> f32 {
        match *self {
            Self::Sgd { rate } | Self::Adam { rate } | Self::Momentum { rate, .. } => rate,
        }
    }
}
