//! Distillation: a student that learns from a teacher's predictions, besides the right answers (Hinton,
//! Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2).
//!
//! With the teacher's probabilities p and the student's q, both at the temperature T (the softmax of the
//! scores over T), the loss of a prediction is
//!
//! ```text
//! α·T²·KL(p ‖ q) + (1 − α)·(−ln of the student's probability of the right answer)
//! ```
//!
//! T² makes up for the gradient of the first part, which is smaller by that: α and the learning rate may
//! stay where T changes.

use tch::{Kind, Reduction, Tensor, no_grad};
use thiserror::Error;

use crate::model::{Architecture, Batch, Model, ModelDescription, ModelFiles, ModelKind};

/// A teacher, and how much it counts.
#[derive(Clone, Copy, Debug)]
pub struct Distillation<'a> {
    teacher: &'a Model,
    mixture: Mixture,
}

/// α and T.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixture {
    share: f64,
    temperature: f64,
}

/// Why a student cannot learn from a teacher.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum DistillationError {
    /// α is no share.
    #[error("the teacher's share is {share}; it must be a number from 0 to 1")]
    Share {
        /// The share given.
        share: f64,
    },
    /// T is out of its range.
    #[error("the temperature is {temperature}; it must be a number from 0.1 to 100")]
    Temperature {
        /// The temperature given.
        temperature: f64,
    },
    /// The models do different things.
    #[error(
        "the teacher is of kind \"{teacher}\" and the student of kind \"{student}\", which learn from \
         other examples: take models of one task"
    )]
    Task {
        /// The teacher's kind.
        teacher: &'static str,
        /// The student's.
        student: &'static str,
    },
    /// The models have other words.
    #[error(
        "the teacher's vocabulary ({teacher} tokens) is not the student's ({student} tokens): make both \
         models with `secagg-node init-model` from the same text and with the same --text and \
         --vocabulary-size, or from the same --labels"
    )]
    Vocabulary {
        /// Tokens of the teacher's.
        teacher: usize,
        /// Tokens of the student's.
        student: usize,
    },
    /// The teacher cannot read texts that the student can.
    #[error(
        "the teacher has a context of {teacher} tokens, which is less than the student's {student}: take a \
         student with at most {teacher}"
    )]
    Context {
        /// The teacher's context.
        teacher: u32,
        /// The student's.
        student: u32,
    },
}

impl Mixture {
    /// α = `share`, 0 to 1, and T = `temperature`, 0.1 to 100.
    ///
    /// # Errors
    /// [`DistillationError::Share`] or [`DistillationError::Temperature`].
    pub fn new(share: f64, temperature: f64) -> Result<Self, DistillationError> {
        if !(0.0..=1.0).contains(&share) {
            return Err(DistillationError::Share { share });
        }
        if !(0.1..=100.0).contains(&temperature) {
            return Err(DistillationError::Temperature { temperature });
        }
        Ok(Self { share, temperature })
    }

    /// The loss of these scores of a student, in nats a prediction, where a teacher has those:
    /// `[predictions, answers]` both.
    fn loss(self, student: &Tensor, teacher: &Tensor, targets: &Tensor) -> Tensor {
        let Self { share, temperature } = self;
        let hard = cross_entropy(student, targets);
        let log = |scores: &Tensor| (scores / temperature).log_softmax(-1, Kind::Float);
        let predictions = student.size()[0] as f64;
        let divergence = log(student).kl_div(&log(teacher), Reduction::Sum, true) / predictions;
        divergence * (share * temperature * temperature) + hard * (1.0 - share)
    }
}

impl<'a> Distillation<'a> {
    /// A teacher for models with the same words as `student`.
    ///
    /// # Errors
    /// [`DistillationError::Task`], [`DistillationError::Vocabulary`] or [`DistillationError::Context`].
    pub fn new(
        teacher: &'a Model,
        files: &ModelFiles,
        student: &ModelFiles,
        mixture: Mixture,
    ) -> Result<Self, DistillationError> {
        let kinds = [files, student].map(|files| files.description.kind());
        if kinds[0].task() != kinds[1].task() {
            let [teacher, student] = kinds.map(ModelKind::as_str);
            return Err(DistillationError::Task { teacher, student });
        }
        if files.vocabulary != student.vocabulary {
            let [teacher, student] = [files, student].map(|files| files.vocabulary.len());
            return Err(DistillationError::Vocabulary { teacher, student });
        }
        let contexts = [files, student].map(|files| files.description.architecture());
        // A language model reads long messages in parts.
        if let [
            Architecture::EncoderDecoder(teacher),
            Architecture::EncoderDecoder(student),
        ] = contexts
            && teacher.context < student.context
        {
            let [teacher, student] = [teacher.context, student.context];
            return Err(DistillationError::Context { teacher, student });
        }
        Ok(Self { teacher, mixture })
    }

    /// The mean loss of a batch's predictions, where the student's scores are these.
    pub(super) fn loss(&self, scores: &Tensor, batch: &Batch) -> Tensor {
        let teacher = no_grad(|| self.teacher.logits(batch));
        self.mixture.loss(scores, &teacher, batch.targets())
    }

    /// What the teacher's network handles for each prediction.
    pub(super) fn teacher(&self) -> &ModelDescription {
        self.teacher.description()
    }
}

/// The mean of −ln p of the right answers.
pub(super) fn cross_entropy(scores: &Tensor, targets: &Tensor) -> Tensor {
    scores.cross_entropy_loss::<Tensor>(targets, None, Reduction::Mean, -100, 0.0)
}

#[cfg(test)]
mod tests;
