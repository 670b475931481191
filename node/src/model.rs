//! The model: its description, its weights, and the network that libtorch runs.

mod architecture;
mod attention;
mod batch;
mod bf16;
#[cfg(test)]
mod by_hand;
mod cell;
mod cifg_lstm;
mod cnn;
mod dense;
mod description;
mod dropout;
mod encoder_decoder;
mod folder;
mod frozen;
mod gru;
mod lstm;
mod mlp;
mod pairs;
mod tanh_rnn;
mod task;
mod tied;
mod transformer;
mod unroll;
mod weights;

use secagg_learning::Parts;
use tch::nn::{Path, VarStore};
use tch::{Device, Kind, Tensor};

pub use architecture::{
    Architecture, CnnSizes, EncoderDecoderSizes, MlpSizes, ModelKind, Sizes, StackSizes,
    TransformerSizes,
};
pub(crate) use batch::{Batch, Input};
pub(crate) use bf16::Bf16Copy;
pub use description::{DescriptionError, MAX_PARAMETERS, ModelDescription};
pub(crate) use dropout::Dropout;
pub(crate) use folder::vocabulary_file;
pub use folder::{
    CURRENT_FILE, DESCRIPTION_FILE, INITIAL_FILE, ModelError, ModelFiles, TOKENIZER_FILE,
    VOCABULARY_FILE, newest_weights,
};
use frozen::FrozenRows;
pub(crate) use frozen::KeptRows;
pub(crate) use pairs::PairInput;
pub use task::Task;
pub(crate) use task::Widths;
pub use weights::{TensorShape, Weights, WeightsError, WeightsMean};

use crate::vocabulary::Token;

/// A network that reads tokens and predicts the next one at every position.
trait TextNetwork: std::fmt::Debug {
    /// Scores of every word at every position: `[positions, vocabulary]`. See [`Input::Tokens`].
    fn logits(&self, tokens: &Tensor, active: &[i64], dropout: &Dropout) -> Tensor;
}

/// A network that turns texts into others.
trait PairNetwork: std::fmt::Debug {
    /// Scores of every word after each token of all targets: `[positions, vocabulary]`.
    fn logits(&self, input: &PairInput, dropout: &Dropout) -> Tensor;
}

/// A network that says which label an image has.
trait ImageNetwork: std::fmt::Debug {
    /// Scores of every label for each image: `[images, labels]`. See [`Input::Images`].
    fn logits(&self, images: &Tensor, dropout: &Dropout) -> Tensor;
}

/// A network, by what it reads.
#[derive(Debug)]
enum Network {
    Text(Box<dyn TextNetwork>),
    Pairs(Box<dyn PairNetwork>),
    Images(Box<dyn ImageNetwork>),
}

impl Network {
    /// Scores of every answer for each prediction: `[predictions, answers]`.
    ///
    /// # Panics
    /// When the input is of another task.
    fn logits(&self, input: &Input, dropout: &Dropout) -> Tensor {
        match (self, input) {
            (Self::Text(network), Input::Tokens { tokens, active }) => {
                network.logits(tokens, active, dropout)
            }
            (Self::Pairs(network), Input::Pairs(pairs)) => network.logits(pairs, dropout),
            (Self::Images(network), Input::Images(images)) => network.logits(images, dropout),
            _ => panic!("the examples were made for a model of another task"),
        }
    }
}

/// A network and its weights.
#[derive(Debug)]
pub struct Model {
    description: ModelDescription,
    variables: VarStore,
    /// The variables in the flat vector's order.
    ordered: Vec<Tensor>,
    network: Network,
    /// Rows that training leaves as they are, of variables whose other rows it changes.
    frozen: FrozenRows,
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
            frozen: FrozenRows::default(),
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

    /// Lets training change the rows of tensors (their first dimension) that lie in these parts of the
    /// flat vector, and no others. A row that lies in them only in part is not changed.
    pub fn train_only(&mut self, parts: &Parts) {
        let parts: Vec<_> = parts.stretches(self.description.parameters()).collect();
        self.frozen = FrozenRows::default();
        let mut start = 0;
        for (variable, shape) in self.ordered.iter().zip(self.description.shapes()) {
            let trained = shape.rows_within(start, &parts);
            let some = !trained.is_empty();
            let _ = variable.set_requires_grad(some);
            if some {
                self.frozen.keep_all_but(variable, &trained);
            }
            start += shape.elements();
        }
    }

    /// The rows that training must leave as they are.
    pub(crate) fn frozen(&self) -> &FrozenRows {
        &self.frozen
    }

    /// The optimiser's view of the weights.
    pub(crate) fn variables(&self) -> &VarStore {
        &self.variables
    }

    /// Scores of every answer for each prediction of a batch: `[predictions, answers]`.
    ///
    /// # Panics
    /// When the batch is of another task's examples.
    pub(crate) fn logits(&self, batch: &Batch) -> Tensor {
        self.network.logits(batch.input(), &Dropout::NONE)
    }

    /// The same in training, where some numbers between layers fall out.
    ///
    /// # Panics
    /// When the batch is of another task's examples.
    pub(crate) fn training_logits(&self, batch: &Batch, dropout: &Dropout) -> Tensor {
        self.network.logits(batch.input(), dropout)
    }

    /// The natural logarithms of the next token's probabilities after these tokens; after the last
    /// ones, where a Transformer's context has room for no more.
    ///
    /// # Panics
    /// When the model is not one of text.
    pub(crate) fn next_log_probabilities(&self, tokens: &[Token]) -> Vec<f32> {
        let seen = match self.description.architecture() {
            Architecture::Transformer(sizes) => tokens.len().min(sizes.context as usize),
            _ => tokens.len(),
        };
        let tokens = &tokens[tokens.len() - seen..];
        let tokens: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
        let input = Input::Tokens {
            active: vec![1; tokens.len()],
            tokens: Tensor::from_slice(&tokens),
        };
        self.last_log_probabilities(&input)
    }

    /// The natural logarithms of the next token's probabilities after these tokens of a target, `<begin>`
    /// first, of a source up to its `<end>`. Both must fit into the context.
    ///
    /// # Panics
    /// When the model is not one that turns texts into others, or one of the texts is empty.
    pub(crate) fn target_log_probabilities(&self, source: &[Token], tokens: &[Token]) -> Vec<f32> {
        let pair = PairInput::new(&mut [(source, tokens)]);
        self.last_log_probabilities(&Input::Pairs(pair))
    }

    /// Those after the last position.
    fn last_log_probabilities(&self, input: &Input) -> Vec<f32> {
        let scores = tch::no_grad(|| {
            let scores = self.network.logits(input, &Dropout::NONE);
            let scores = scores.select(0, -1);
            scores.log_softmax(-1, Kind::Float)
        });
        let mut values = vec![0.0; scores.numel()];
        let length = values.len();
        scores.copy_data(&mut values, length);
        values
    }
}

/// The network of an architecture, with all variables zero.
fn network(root: &Path<'_>, architecture: Architecture) -> Network {
    let text: Box<dyn TextNetwork> = match architecture {
        Architecture::CifgLstm(sizes) => Box::new(cifg_lstm::CifgLstm::new(root, sizes)),
        Architecture::Lstm(sizes) => Box::new(lstm::Lstm::new(root, sizes)),
        Architecture::Gru(sizes) => Box::new(gru::Gru::new(root, sizes)),
        Architecture::TanhRnn(sizes) => Box::new(tanh_rnn::TanhRnn::new(root, sizes)),
        Architecture::Transformer(sizes) => Box::new(transformer::Transformer::new(root, sizes)),
        Architecture::EncoderDecoder(sizes) => {
            let network = encoder_decoder::EncoderDecoder::new(root, sizes);
            return Network::Pairs(Box::new(network));
        }
        Architecture::Mlp(sizes) => return Network::Images(Box::new(mlp::Mlp::new(root, sizes))),
        Architecture::Cnn(sizes) => return Network::Images(Box::new(cnn::Cnn::new(root, sizes))),
    };
    Network::Text(text)
}

/// Sets how many threads libtorch uses in this process.
///
/// Several nodes on one machine should use one thread each: libtorch takes all cores by default,
/// and its threads' spinning collapses when they are more than the cores.
pub fn set_threads(threads: std::num::NonZeroU16) {
    tch::set_num_threads(i32::from(threads.get().min(i16::MAX.unsigned_abs())));
}

#[cfg(test)]
pub(crate) use tests::{every_kind, every_kind_of_images};

#[cfg(test)]
mod tests;
