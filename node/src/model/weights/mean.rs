//! The mean of several weights of one model.

use super::{TensorShape, Weights};
use crate::model::ModelDescription;

/// Adds up weights of one model. The mean of those that training passes through lies nearer to the
/// middle of a wide minimum than any of them (Izmailov et al. 2018, "Averaging weights leads to wider
/// optima and better generalization").
#[derive(Debug)]
pub struct WeightsMean {
    shapes: Vec<TensorShape>,
    sum: Vec<f64>,
    count: u32,
}

impl WeightsMean {
    /// Of nothing yet.
    #[must_use]
    pub fn new(description: &ModelDescription) -> Self {
        Self {
            shapes: description.shapes().to_vec(),
            sum: vec![0.0; description.parameters()],
            count: 0,
        }
    }

    /// Adds weights.
    ///
    /// # Panics
    /// When they are another model's.
    pub fn add(&mut self, weights: &Weights) {
        assert_eq!(weights.shapes, self.shapes, "weights of another model");
        for (sum, value) in self.sum.iter_mut().zip(&weights.values) {
            *sum += f64::from(*value);
        }
        self.count += 1;
    }

    /// How many were added.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The mean; `None` where nothing was added.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a mean of f32 values is rounded to the next one"
    )]
    pub fn finish(self) -> Option<Weights> {
        let Self { shapes, sum, count } = self;
        let count = (count > 0).then(|| f64::from(count))?;
        let values = sum.into_iter().map(|sum| (sum / count) as f32).collect();
        Some(Weights { shapes, values })
    }
}
