//! Inference with weights of 8 bits: a quarter of the memory, and no libtorch.
//!
//! Post-training quantisation: each row of a matrix gets a scale of its own, the largest absolute value
//! in it divided by 127, and each weight the nearest multiple of it; zero stays zero. Vectors, which
//! are biases, stay as they are. What flows through the network is f32: rounding that to 8 bits as well
//! was measured to be faster by a tenth to a fifth only (compiled with all optimisations), and would
//! add an error that depends on the text.
//!
//! The network remembers its state between words, so that a keyboard pays one step a word, whatever
//! the length of the message.

mod cifg_lstm;
mod matrix;
mod tensors;

use crate::generation::Predictor;
use crate::model::{ModelDescription, ModelKind};
use crate::vocabulary::{BEGIN, Token};

use self::cifg_lstm::CifgLstm;
pub use self::cifg_lstm::State;
pub use self::tensors::{Int8Error, Int8Weights};

/// A network with weights of 8 bits.
#[derive(Debug)]
pub struct Int8Model {
    network: CifgLstm,
}

impl Int8Model {
    /// Builds the network.
    ///
    /// # Errors
    /// [`Int8Error::Unsupported`] for a kind of model that has no network of this sort yet;
    /// [`Int8Error::Missing`] where the weights are another model's.
    pub fn new(description: &ModelDescription, weights: Int8Weights) -> Result<Self, Int8Error> {
        check_kind(description)?;
        Ok(Self {
            network: CifgLstm::new(weights)?,
        })
    }
}

/// Refuses kinds of model that cannot be run with 8 bits.
fn check_kind(description: &ModelDescription) -> Result<(), Int8Error> {
    let kind = description.kind();
    if kind != ModelKind::CifgLstm {
        return Err(Int8Error::Unsupported {
            kind: kind.as_str().to_owned(),
        });
    }
    Ok(())
}

impl Predictor for Int8Model {
    type State = State;

    fn begin(&self) -> State {
        let mut state = self.network.start();
        self.network.read(&mut state, BEGIN);
        state
    }

    fn read(&self, state: &mut State, token: Token) {
        self.network.read(state, token);
    }

    fn log_probabilities(&self, state: &State) -> Vec<f32> {
        let mut scores = self.network.scores(state);
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = scores.iter().map(|score| (score - largest).exp()).sum();
        let shift = largest + sum.ln();
        for score in &mut scores {
            *score -= shift;
        }
        scores
    }
}

#[cfg(test)]
mod tests;
