//! The model: its description, its weights, and the network that libtorch runs.

mod architecture;
mod attention;
#[cfg(test)]
mod by_hand;
mod cell;
mod cifg_lstm;
mod description;
mod folder;
mod gru;
mod lstm;
mod tanh_rnn;
mod tied;
mod transformer;
mod unroll;
mod weights;

use secagg_learning::Parts;
use tch::nn::{Path, VarStore};
use tch::{Device, Kind, Tensor};

pub use architecture::{Architecture, ModelKind, Sizes, StackSizes, TransformerSizes};
pub use description::{DescriptionError, MAX_PARAMETERS, ModelDescription};
pub use folder::{
    CURRENT_FILE, DESCRIPTION_FILE, INITIAL_FILE, ModelError, ModelFiles, VOCABULARY_FILE,
    newest_weights,
};
pub use weights::{TensorShape, Weights, WeightsError};

use crate::vocabulary::Token;

/// A network that reads tokens and predicts the next one at every position.
trait Network: std::fmt::Debug {
    /// Scores of every word at every position: `[positions, vocabulary]`.
    ///
    /// `tokens` holds the positions of all messages, step by step: first the first token of each
    /// message, then the second token of each message that has one, and so on; `active` says how
    /// many messages have a token at each step and never increases.
    fn logits(&self, tokens: &Tensor, active: &[i64]) -> Tensor;
}

/// Tokens of several messages in the order in which a [`Model`] reads them: step by step, without
/// padding.
#[derive(Debug)]
pub(crate) struct Batch {
    tokens: Tensor,
    targets: Tensor,
    active: Vec<i64>,
}

impl Batch {
    /// Packs messages, each from `<begin>` to `<end>`; sorts them by length, longest first.
    pub(crate) fn new(messages: &mut [&[Token]]) -> Self {
        messages.sort_by_key(|message| std::cmp::Reverse(message.len()));
        let positions = messages.iter().map(|message| message.len() - 1).sum();
        let mut tokens = Vec::with_capacity(positions);
        let mut targets = Vec::with_capacity(positions);
        let mut active = Vec::new();
        let steps = messages.first().map_or(0, |longest| longest.len() - 1);
        for step in 0..steps {
            let mut running = 0;
            for message in messages
                .iter()
                .take_while(|message| message.len() > step + 1)
            {
                tokens.push(i64::from(message[step]));
                targets.push(i64::from(message[step + 1]));
                running += 1;
            }
            active.push(running);
        }
        Self {
            tokens: Tensor::from_slice(&tokens),
            targets: Tensor::from_slice(&targets),
            active,
        }
    }

    /// The right answer at every position.
    pub(crate) fn targets(&self) -> &Tensor {
        &self.targets
    }
}

/// A network and its weights.
#[derive(Debug)]
pub struct Model {
    description: ModelDescription,
    variables: VarStore,
    /// The variables in the flat vector's order.
    ordered: Vec<Tensor>,
    network: Box<dyn Network>,
}

impl Model {
    /// Builds the network and gives it these weights.
    ///
    /// # Errors
    /// A [`WeightsError`] when the weights are another model's.
    pub fn new(description: &ModelDescription, weights: &Weights) -> Result<Self, WeightsError> {
        let variables = VarStore::new(Device::Cpu);
        let network = network(&variables.root(), description.architecture());
        let by_name = variables.variables();
        let ordered = description
            .shapes()
            .iter()
            .map(|shape| by_name[shape.name.as_str()].shallow_clone())
            .collect();
        let mut model = Self {
            description: description.clone(),
            variables,
            ordered,
            network,
        };
        model.load_flat(weights.values())?;
        Ok(model)
    }

    /// The description it was built from.
    #[must_use]
    pub fn description(&self) -> &ModelDescription {
        &self.description
    }

    /// Replaces all weights by a flat vector, in the order of [`Weights`].
    ///
    /// # Errors
    /// [`WeightsError::Length`] or [`WeightsError::NotFinite`]; the model is then as it was.
    pub fn load_flat(&mut self, values: &[f32]) -> Result<(), WeightsError> {
        weights::check_values(self.description.shapes(), values)?;
        let mut rest = values;
        tch::no_grad(|| {
            for variable in &mut self.ordered {
                let (tensor, after) = rest.split_at(variable.numel());
                rest = after;
                variable.copy_(&Tensor::from_slice(tensor).view_as(variable));
            }
        });
        Ok(())
    }

    /// All weights as a flat vector, in the order of [`Weights`].
    #[must_use]
    pub fn to_flat(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.description.parameters()];
        let mut rest = values.as_mut_slice();
        for variable in &self.ordered {
            let (tensor, after) = rest.split_at_mut(variable.numel());
            rest = after;
            variable.detach().copy_data(tensor, tensor.len());
        }
        values
    }

    /// All weights, checked to be finite.
    ///
    /// # Errors
    /// [`WeightsError::NotFinite`] when training went astray.
    pub fn to_weights(&self) -> Result<Weights, WeightsError> {
        Weights::new(&self.description, self.to_flat())
    }

    /// Lets training change the tensors in these parts of the flat vector, and no others.
    pub fn train_only(&self, parts: &Parts) {
        let parts: Vec<_> = parts.stretches(self.description.parameters()).collect();
        let mut start = 0;
        for variable in &self.ordered {
            let end = start + variable.numel();
            let trained = parts
                .iter()
                .any(|part| part.start <= start && end <= part.end);
            let _ = variable.set_requires_grad(trained);
            start = end;
        }
    }

    /// The optimiser's view of the weights.
    pub(crate) fn variables(&self) -> &VarStore {
        &self.variables
    }

    /// Scores at every position of a batch: `[positions, vocabulary]`.
    pub(crate) fn logits(&self, batch: &Batch) -> Tensor {
        self.network.logits(&batch.tokens, &batch.active)
    }

    /// The natural logarithms of the next token's probabilities after these tokens; after the last
    /// ones, where a Transformer's context has room for no more.
    pub(crate) fn next_log_probabilities(&self, tokens: &[Token]) -> Vec<f32> {
        let seen = match self.description.architecture() {
            Architecture::Transformer(sizes) => tokens.len().min(sizes.context as usize),
            _ => tokens.len(),
        };
        let tokens = &tokens[tokens.len() - seen..];
        let tokens: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
        let scores = tch::no_grad(|| {
            self.network
                .logits(&Tensor::from_slice(&tokens), &vec![1; tokens.len()])
                .select(0, -1)
                .log_softmax(-1, Kind::Float)
        });
        let mut values = vec![0.0; scores.numel()];
        let length = values.len();
        scores.copy_data(&mut values, length);
        values
    }
}

/// The network of an architecture, with all variables zero.
fn network(root: &Path<'_>, architecture: Architecture) -> Box<dyn Network> {
    match architecture {
        Architecture::CifgLstm(sizes) => Box::new(cifg_lstm::CifgLstm::new(root, sizes)),
        Architecture::Lstm(sizes) => Box::new(lstm::Lstm::new(root, sizes)),
        Architecture::Gru(sizes) => Box::new(gru::Gru::new(root, sizes)),
        Architecture::TanhRnn(sizes) => Box::new(tanh_rnn::TanhRnn::new(root, sizes)),
        Architecture::Transformer(sizes) => Box::new(transformer::Transformer::new(root, sizes)),
    }
}

/// Sets how many threads libtorch uses in this process.
///
/// Several nodes on one machine should use one thread each: libtorch takes all cores by default,
/// and its threads' spinning collapses when they are more than the cores.
pub fn set_threads(threads: std::num::NonZeroU16) {
    tch::set_num_threads(i32::from(threads.get().min(i16::MAX.unsigned_abs())));
}

#[cfg(test)]
pub(crate) use tests::every_kind;

#[cfg(test)]
mod tests;
