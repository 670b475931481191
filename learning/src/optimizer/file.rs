//! An optimiser's state as a file.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::{OptimizerError, Rule, ServerOptimizer};
use crate::{plan::ServerOptimizerConfig, weights::FloatView};

/// Why a file is no state of an optimiser.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is no safetensors file.
    #[error("it is no safetensors file: {0}")]
    Format(#[from] SafeTensorError),
    /// A vector is not of f32.
    #[error("the vector \"{name}\" is of kind {kind}; a state is of F32")]
    Kind {
        /// The vector.
        name: String,
        /// Its kind.
        kind: String,
    },
    /// The vectors are not those of the optimiser.
    #[error(transparent)]
    Vectors(#[from] OptimizerError),
}

impl ServerOptimizer {
    /// The [state](Self::state) as a safetensors file, the same bytes for the same state; `None` where
    /// the optimiser has none.
    ///
    /// # Panics
    /// Never: names and shapes are consistent by construction.
    #[must_use]
    pub fn to_file(&self) -> Option<Vec<u8>> {
        if let Rule::FedAvg { .. } = self.rule {
            return None;
        }
        let shape = [self.len];
        let views = self.state().into_iter().map(|(name, elements)| {
            let view = FloatView {
                shape: &shape,
                elements,
            };
            (name, view)
        });
        Some(safetensors::serialize(views, None).expect("vectors of the optimiser's length"))
    }

    /// An optimiser that goes on from such a file, or, without one, from no state at all.
    ///
    /// # Errors
    /// [`StateError`]; [`StateError::Vectors`] as [`restore`](Self::restore) has it.
    pub fn from_file(
        config: &ServerOptimizerConfig,
        len: usize,
        file: Option<&[u8]>,
    ) -> Result<Self, StateError> {
        let mut state = BTreeMap::new();
        if let Some(bytes) = file {
            for (name, view) in SafeTensors::deserialize(bytes)?.iter() {
                if view.dtype() != Dtype::F32 {
                    let (name, kind) = (name.to_owned(), format!("{:?}", view.dtype()));
                    return Err(StateError::Kind { name, kind });
                }
                let (elements, _) = view.data().as_chunks::<4>();
                let elements = elements.iter().map(|bytes| f32::from_le_bytes(*bytes));
                state.insert(name.to_owned(), elements.collect());
            }
        }
        Ok(Self::restore(config, len, state)?)
    }

    /// The longest such file, in bytes, for weights of that length.
    #[must_use]
    pub const fn longest_file(config: &ServerOptimizerConfig, len: usize) -> u64 {
        let vectors = match config {
            ServerOptimizerConfig::FedAvg { .. } => 0,
            ServerOptimizerConfig::FedAvgM { .. } => 1,
            ServerOptimizerConfig::FedAdam { .. }
            | ServerOptimizerConfig::FedYogi { .. }
            | ServerOptimizerConfig::FedAdagrad { .. } => 2,
        };
        4 * vectors * len as u64 + MAX_HEADER
    }
}

/// Names and shapes of two vectors take less.
const MAX_HEADER: u64 = 4 << 10;

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    const ADAM: ServerOptimizerConfig = ServerOptimizerConfig::FedAdam {
        rate: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        tau: 0.001,
    };

    #[test]
    fn a_state_comes_back_to_the_bit_and_has_one_form() {
        let mut weights = [1.0, -2.0, 3e-9];
        let mut optimizer = ServerOptimizer::new(&ADAM, 3).unwrap();
        optimizer.step(&mut weights, &[0.1, -0.3, 1e-7]).unwrap();
        let file = optimizer.to_file().unwrap();
        assert!(file.len() as u64 <= ServerOptimizer::longest_file(&ADAM, 3));
        let again = ServerOptimizer::from_file(&ADAM, 3, Some(&file)).unwrap();
        assert_eq!(again, optimizer);
        assert_eq!(again.to_file().unwrap(), file);
        let plain = ServerOptimizerConfig::FedAvg { rate: 1.0 };
        assert_eq!(ServerOptimizer::new(&plain, 3).unwrap().to_file(), None);
        assert!(ServerOptimizer::from_file(&plain, 3, None).is_ok());
    }

    #[test]
    fn a_state_of_something_else_is_refused() {
        let refused =
            |len, file: Option<&[u8]>| ServerOptimizer::from_file(&ADAM, len, file).unwrap_err();
        let state = ServerOptimizer::new(&ADAM, 3).unwrap().to_file().unwrap();
        assert!(matches!(
            refused(4, Some(&state)),
            StateError::Vectors(OptimizerError::Length { len: 3, .. })
        ));
        assert!(matches!(
            refused(3, None),
            StateError::Vectors(OptimizerError::Missing { .. })
        ));
        assert!(matches!(refused(3, Some(b"state")), StateError::Format(_)));
        let view = TensorView::new(Dtype::I32, vec![3], &[0; 12]).unwrap();
        let other = safetensors::serialize([("momentum", view)], None).unwrap();
        assert!(matches!(
            refused(3, Some(&other)),
            StateError::Kind { kind, .. } if kind == "I32"
        ));
    }
}
