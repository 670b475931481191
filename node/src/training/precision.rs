//! What a step is computed in: the model itself, or a copy of it in bf16.

use secagg_learning::{Precision, TrainingPlan};
use tch::Tensor;

use crate::model::{Batch, Bf16Copy, Dropout, Model};

/// What to say to people where a plan asks for bf16 and this processor has no instructions for it.
#[must_use]
pub fn slow_precision(plan: &TrainingPlan) -> Option<&'static str> {
    (plan.precision == Precision::Bf16 && !multiplies_bf16()).then_some(
        "training in bf16 (training.precision), for which this processor has no instructions \
         (AVX512-BF16 or AMX): it gives what it would give elsewhere, but is slower than in f32",
    )
}

/// Whether the processor multiplies matrices of bf16 faster than those of f32.
fn multiplies_bf16() -> bool {
    // Processors with AMX-BF16 have this, too.
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Forward and backward passes, whose gradients end at the model's weights.
#[derive(Debug)]
pub(super) enum Passes<'a> {
    F32(&'a Model),
    Bf16(Box<Bf16Copy>),
}

impl<'a> Passes<'a> {
    pub(super) fn new(model: &'a Model, plan: &TrainingPlan) -> Self {
        match plan.precision {
            Precision::F32 => Self::F32(model),
            Precision::Bf16 => Self::Bf16(Box::new(Bf16Copy::new(model))),
        }
    }

    /// Begins a step with the model's present weights.
    pub(super) fn begin(&mut self) {
        match self {
            Self::F32(_) => {}
            Self::Bf16(copy) => copy.refresh(),
        }
    }

    /// Scores in f32.
    pub(super) fn logits(&self, batch: &Batch, dropout: &Dropout) -> Tensor {
        match self {
            Self::F32(model) => model.training_logits(batch, dropout),
            Self::Bf16(copy) => copy.logits(batch, dropout),
        }
    }

    /// Adds the gradient of a loss of such scores to the model's.
    pub(super) fn backward(&mut self, loss: &Tensor) {
        loss.backward();
        match self {
            Self::F32(_) => {}
            Self::Bf16(copy) => copy.hand_over_gradients(),
        }
    }
}
