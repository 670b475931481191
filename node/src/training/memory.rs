//! How much memory training takes, from the model's description alone, and how many positions of a
//! batch fit into a budget.

use secagg_learning::{LocalOptimizer, Precision, TrainingPlan};

use super::TrainingError;
use crate::model::ModelDescription;

/// What training may take where nothing else is said, in MiB. The plan comes from a coordinator,
/// which must not be able to make a node run out of memory.
pub const DEFAULT_MEMORY_MB: u32 = 4_096;

/// [`DEFAULT_MEMORY_MB`] in bytes.
pub const DEFAULT_MEMORY: u64 = (DEFAULT_MEMORY_MB as u64) << 20;

/// What training takes at its peak, on top of the model that is there before it. Never less than
/// what is measured, and at most [`Estimate::FACTOR`] times as much where it is more than 64 MiB.
/// Of pairs it may be more, where one text is much longer than the other: both count as the longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Bytes whatever the batch: gradients, the optimiser's state, copies of the weights.
    pub fixed: u64,
    /// Bytes for each position (a prediction, or a token of a pair's source where that is longer) of the
    /// batch that is in memory.
    pub position: u64,
}

impl Estimate {
    /// How many times the measured peak the estimate may be.
    pub const FACTOR: u64 = 3;

    /// The estimate for a model and a plan.
    #[must_use]
    pub fn new(description: &ModelDescription, plan: &TrainingPlan) -> Self {
        let parameters = description.parameters() as u64;
        let state = match plan.optimizer {
            LocalOptimizer::Sgd { .. } => 0,
            LocalOptimizer::Momentum { .. } => 1,
            // Two averages, and two temporary copies in a step.
            LocalOptimizer::Adam { .. } => 4,
        };
        let copies = GRADIENTS + RESULTS + state + u64::from(plan.proximal > 0.0);
        let widths = description.widths();
        let (scores, activations) = (widths.answers as u64, widths.all as u64);
        let fixed = FLOAT * (copies * parameters + widths.once as u64) + OVERHEAD;
        let position = FLOAT * SCORES * scores;
        match plan.precision {
            Precision::F32 => Self {
                fixed,
                position: position + FLOAT * ACTIVATIONS * activations,
            },
            Precision::Bf16 => Self {
                // The copy and its gradients, of which one tensor at a time is handed over.
                fixed: fixed + (BF16 * (1 + GRADIENTS) + FLOAT) * parameters,
                // Scores are there in both.
                position: position + BF16 * 2 * scores + MIXED * ACTIVATIONS * activations,
            },
        }
    }

    /// Adds copies of so many weights.
    pub(super) fn add_copies(&mut self, weights: u64) {
        self.fixed += FLOAT * weights;
    }

    /// Adds what a teacher's predictions take.
    pub(super) fn add_teacher(&mut self, teacher: &ModelDescription) {
        let widths = teacher.widths();
        self.position += FLOAT * (TAUGHT * widths.answers as u64 + widths.all as u64);
        self.fixed += FLOAT * widths.once as u64;
    }

    /// Bytes with so many positions in memory.
    #[must_use]
    pub fn bytes(&self, positions: u64) -> u64 {
        self.fixed
            .saturating_add(self.position.saturating_mul(positions))
    }

    /// The most positions that fit into a budget, where `longest` is what the longest message needs.
    pub(super) fn positions(&self, budget: u64, longest: u64) -> Result<u64, TrainingError> {
        let most = budget.saturating_sub(self.fixed) / self.position;
        if most < longest.max(1) {
            return Err(TrainingError::Memory {
                needed: self.bytes(longest.max(1)),
                budget,
            });
        }
        Ok(most)
    }
}

const FLOAT: u64 = 4;
const BF16: u64 = 2;
/// Bytes of an activation on average, as measured: most have 16 bits, but rotations are computed in f32,
/// and the places of maxima stay as large as they are.
const MIXED: u64 = 3;
/// Gradients, and temporary ones where a tensor is used twice.
const GRADIENTS: u64 = 2;
/// The new weights and what changed, as flat vectors.
const RESULTS: u64 = 2;
/// Scores, their log softmax and the gradients of both: three of them are there at once, and one more
/// is lost to pieces of other sizes.
const SCORES: u64 = 4;
/// With a teacher: its scores and its log softmax, and the student's at the temperature with their
/// gradients and what the divergence is summed of.
const TAUGHT: u64 = 6;
/// Of each width: what is kept for the backward pass, its gradient, and what is lost likewise. Dropout's
/// masks are within it: few widths have one.
const ACTIVATIONS: u64 = 4;
/// The library's own, once in a process.
const OVERHEAD: u64 = 16 << 20;
