//! What a round did to the weights, in a few numbers: who holds the weights of before, and the state of
//! the server's optimiser, makes the same step and holds the new ones, to the bit.

use super::Directions;
use crate::{
    optimizer::{OptimizerError, ServerOptimizer},
    plan::Plan,
};

/// A training round with evolution strategies, as the weights see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What the plan's schedule multiplied the server's rate by. It is not computed again: powers and
    /// cosines are not the same on every machine.
    pub factor: f64,
    /// The seed of its [`Directions`].
    pub seed: [u8; 32],
    /// The mean of what the clients have sent, one number a direction.
    pub falls: Vec<f32>,
}

/// Why a step cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StepError {
    /// The plan has another number of directions, or none.
    #[error("the step has {found} directions, the plan has {expected}")]
    Directions {
        /// The step's.
        found: usize,
        /// The plan's.
        expected: u32,
    },
    /// A number is infinite, or none.
    #[error("the step's number of direction {direction} is not finite")]
    NotFinite {
        /// Which direction, from 0.
        direction: usize,
    },
    /// The optimiser refuses it.
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
}

impl Step {
    /// Makes the step under the plan of its round: the weights become those that the round gave.
    ///
    /// # Errors
    /// [`StepError`]; then neither weights nor optimiser have changed.
    pub fn make(
        &self,
        plan: &Plan,
        optimizer: &mut ServerOptimizer,
        weights: &mut [f32],
    ) -> Result<(), StepError> {
        let expected = plan.evolution().map_or(0, |evolution| evolution.pairs);
        let found = self.falls.len();
        if found != expected as usize || found == 0 {
            return Err(StepError::Directions { found, expected });
        }
        if let Some(direction) = self.falls.iter().position(|fall| !fall.is_finite()) {
            return Err(StepError::NotFinite { direction });
        }
        let update = plan.update();
        let delta = Directions::from_seed(self.seed).update(update, &self.falls);
        Ok(optimizer.step_with(self.factor, &update.parts, weights, &delta)?)
    }
}
