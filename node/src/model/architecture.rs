//! The kinds of network, each with its own sizes.

use serde::{Deserialize, Serialize};

use super::Task;
use super::{
    TensorShape, cell, cifg_lstm, cnn, encoder_decoder, gru, lstm, mlp, tanh_rnn, task, transformer,
};
use crate::vocabulary;

/// What a network is made of: its kind with the sizes that this kind has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// The long short-term memory of Hard et al. 2018, with the input gate coupled to the forget gate.
    CifgLstm(Sizes),
    /// A long short-term memory with four gates.
    Lstm(Sizes),
    /// A gated recurrent unit.
    Gru(Sizes),
    /// Layers of plain recurrent units.
    TanhRnn(StackSizes),
    /// A decoder-only Transformer.
    Transformer(TransformerSizes),
    /// A Transformer with an encoder and a decoder.
    EncoderDecoder(EncoderDecoderSizes),
    /// A multilayer perceptron over images.
    Mlp(MlpSizes),
    /// A convolutional network over images.
    Cnn(CnnSizes),
}

/// The sizes of a network with one recurrent cell: CIFG-LSTM, LSTM or GRU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// Tokens of the vocabulary, the four special ones included.
    pub vocabulary: u32,
    /// Elements of a token's vector; the cell's units are projected to as many, since the output layer
    /// is the embedding.
    pub embedding: u32,
    /// Units of the cell.
    pub units: u32,
    /// Whether each token has a bias at the output.
    pub output_bias: bool,
}

/// The sizes of a network with several recurrent layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackSizes {
    /// Tokens of the vocabulary, the four special ones included.
    pub vocabulary: u32,
    /// Elements of a token's vector; the last layer's units are projected to as many.
    pub embedding: u32,
    /// Units of each layer.
    pub units: u32,
    /// Layers, one above the other.
    pub layers: u32,
    /// Whether each token has a bias at the output.
    pub output_bias: bool,
}

/// The sizes of a Transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerSizes {
    /// Tokens of the vocabulary, the four special ones included.
    pub vocabulary: u32,
    /// Elements of a token's vector, and of what flows from block to block.
    pub embedding: u32,
    /// Blocks, one above the other.
    pub layers: u32,
    /// Heads of each block's attention; they share out the embedding's elements evenly.
    pub heads: u32,
    /// Units between the two matrices of a block's feed-forward network.
    pub feed_forward: u32,
    /// How many tokens the network sees at once.
    pub context: u32,
    /// Whether each token has a bias at the output.
    pub output_bias: bool,
}

/// The sizes of a Transformer with an encoder and a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderDecoderSizes {
    /// Tokens of the vocabulary, the four special ones included; sources and targets share it.
    pub vocabulary: u32,
    /// Elements of a token's vector, and of what flows from block to block.
    pub embedding: u32,
    /// Blocks of the encoder, one above the other.
    pub encoder_layers: u32,
    /// Blocks of the decoder, one above the other.
    pub decoder_layers: u32,
    /// Heads of each attention; they share out the embedding's elements evenly.
    pub heads: u32,
    /// Units between the two matrices of a block's feed-forward network.
    pub feed_forward: u32,
    /// How many tokens a source may have with its `<end>`, and a target with its `<begin>`.
    pub context: u32,
    /// Whether each token has a bias at the output.
    pub output_bias: bool,
}

impl EncoderDecoderSizes {
    /// How many tokens a source may have, and a target, without `<begin>` and `<end>`.
    #[must_use]
    pub const fn most_tokens(&self) -> usize {
        (self.context as usize).saturating_sub(1)
    }
}

/// The sizes of a multilayer perceptron.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpSizes {
    /// Lines of the vocabulary: the four special words and the labels.
    pub vocabulary: u32,
    /// Units of each hidden layer.
    pub units: u32,
    /// Hidden layers, one above the other.
    pub layers: u32,
}

impl MlpSizes {
    /// How many labels there are.
    #[must_use]
    pub const fn labels(&self) -> usize {
        task::labels(self.vocabulary)
    }
}

/// The sizes of a convolutional network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CnnSizes {
    /// Lines of the vocabulary: the four special words and the labels.
    pub vocabulary: u32,
    /// Rows, and columns, of each filter: 1, 3, 5 or 7.
    pub kernel: u32,
    /// Filters of the first convolution.
    pub first_filters: u32,
    /// Filters of the second convolution.
    pub second_filters: u32,
    /// Units of the hidden layer.
    pub units: u32,
}

impl CnnSizes {
    /// How many labels there are.
    #[must_use]
    pub const fn labels(&self) -> usize {
        task::labels(self.vocabulary)
    }
}

/// The kinds of network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ModelKind {
    /// A long short-term memory whose input gate is coupled to its forget gate.
    CifgLstm,
    /// A long short-term memory.
    Lstm,
    /// A gated recurrent unit: one gate fewer than an LSTM.
    Gru,
    /// Layers of plain recurrent units.
    TanhRnn,
    /// A decoder-only Transformer.
    Transformer,
    /// A Transformer with an encoder and a decoder, which turns texts into others.
    EncoderDecoder,
    /// A multilayer perceptron, which classifies images.
    Mlp,
    /// A convolutional network, which classifies images.
    Cnn,
}

impl ModelKind {
    /// Its name in `model.toml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CifgLstm => "cifg-lstm",
            Self::Lstm => "lstm",
            Self::Gru => "gru",
            Self::TanhRnn => "tanh-rnn",
            Self::Transformer => "transformer",
            Self::EncoderDecoder => "encoder-decoder",
            Self::Mlp => "mlp",
            Self::Cnn => "cnn",
        }
    }

    /// With its article and source, for people.
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::CifgLstm => "a CIFG-LSTM (Hard et al. 2018)",
            Self::Lstm => "an LSTM (Hochreiter and Schmidhuber 1997)",
            Self::Gru => "a GRU (Cho et al. 2014)",
            Self::TanhRnn => "a tanh RNN (Elman 1990)",
            Self::Transformer => "a Transformer (Vaswani et al. 2017)",
            Self::EncoderDecoder => "an encoder and a decoder (Vaswani et al. 2017)",
            Self::Mlp => "a multilayer perceptron (Rumelhart et al. 1986)",
            Self::Cnn => "a convolutional network (LeCun et al. 1998)",
        }
    }

    /// What networks of this kind learn.
    #[must_use]
    pub const fn task(self) -> Task {
        match self {
            Self::CifgLstm | Self::Lstm | Self::Gru | Self::TanhRnn | Self::Transformer => {
                Task::NextToken
            }
            Self::EncoderDecoder => Task::SequenceToSequence,
            Self::Mlp | Self::Cnn => Task::Classification,
        }
    }
}

/// A size with the range that it must be in.
pub(super) struct Bound {
    pub(super) field: &'static str,
    pub(super) value: u32,
    pub(super) least: u32,
    pub(super) most: u32,
}

const MAX_EMBEDDING: u32 = 4096;
pub(super) const MAX_UNITS: u32 = 16_384;
/// Tensors' names number the layers with two digits.
const MAX_LAYERS: u32 = 32;
const MAX_HEADS: u32 = 64;
/// As many tokens as a plan can take of a message.
const MAX_CONTEXT: u32 = 4096;
const MAX_KERNEL: u32 = 7;
const MAX_FILTERS: u32 = 512;

impl Architecture {
    /// The kind, without the sizes.
    #[must_use]
    pub const fn kind(&self) -> ModelKind {
        match self {
            Self::CifgLstm(_) => ModelKind::CifgLstm,
            Self::Lstm(_) => ModelKind::Lstm,
            Self::Gru(_) => ModelKind::Gru,
            Self::TanhRnn(_) => ModelKind::TanhRnn,
            Self::Transformer(_) => ModelKind::Transformer,
            Self::EncoderDecoder(_) => ModelKind::EncoderDecoder,
            Self::Mlp(_) => ModelKind::Mlp,
            Self::Cnn(_) => ModelKind::Cnn,
        }
    }

    /// Lines of the vocabulary: the four special words, and tokens or labels.
    #[must_use]
    pub const fn vocabulary(&self) -> u32 {
        match self {
            Self::CifgLstm(sizes) | Self::Lstm(sizes) | Self::Gru(sizes) => sizes.vocabulary,
            Self::TanhRnn(sizes) => sizes.vocabulary,
            Self::Transformer(sizes) => sizes.vocabulary,
            Self::EncoderDecoder(sizes) => sizes.vocabulary,
            Self::Mlp(sizes) => sizes.vocabulary,
            Self::Cnn(sizes) => sizes.vocabulary,
        }
    }

    /// All sizes with their limits. Each is bounded, so that no product and no sum of them overflows 64
    /// bits.
    pub(super) fn bounds(&self) -> Vec<Bound> {
        let bound = |field, value, least, most| Bound {
            field,
            value,
            least,
            most,
        };
        let most_tokens = u32::try_from(vocabulary::MAX_LEN).expect("the constant fits");
        let least_tokens = u32::try_from(vocabulary::SPECIAL_WORDS + 1).expect("the constant fits");
        let mut bounds = vec![bound(
            "vocabulary",
            self.vocabulary(),
            least_tokens,
            most_tokens,
        )];
        match *self {
            Self::CifgLstm(sizes) | Self::Lstm(sizes) | Self::Gru(sizes) => bounds.extend([
                bound("embedding", sizes.embedding, 1, MAX_EMBEDDING),
                bound("units", sizes.units, 1, MAX_UNITS),
            ]),
            Self::TanhRnn(sizes) => bounds.extend([
                bound("embedding", sizes.embedding, 1, MAX_EMBEDDING),
                bound("units", sizes.units, 1, MAX_UNITS),
                bound("layers", sizes.layers, 1, MAX_LAYERS),
            ]),
            Self::Transformer(sizes) => bounds.extend([
                bound("embedding", sizes.embedding, 2, MAX_EMBEDDING),
                bound("layers", sizes.layers, 1, MAX_LAYERS),
                bound("heads", sizes.heads, 1, MAX_HEADS),
                bound("feed_forward", sizes.feed_forward, 1, MAX_UNITS),
                bound("context", sizes.context, 1, MAX_CONTEXT),
            ]),
            Self::EncoderDecoder(sizes) => bounds.extend([
                bound("embedding", sizes.embedding, 2, MAX_EMBEDDING),
                bound("encoder_layers", sizes.encoder_layers, 1, MAX_LAYERS),
                bound("decoder_layers", sizes.decoder_layers, 1, MAX_LAYERS),
                bound("heads", sizes.heads, 1, MAX_HEADS),
                bound("feed_forward", sizes.feed_forward, 1, MAX_UNITS),
                // A token, and the source's end or the target's beginning.
                bound("context", sizes.context, 2, MAX_CONTEXT),
            ]),
            Self::Mlp(sizes) => bounds.extend([
                bound("units", sizes.units, 1, MAX_UNITS),
                bound("layers", sizes.layers, 1, MAX_LAYERS),
            ]),
            Self::Cnn(sizes) => bounds.extend([
                bound("kernel", sizes.kernel, 1, MAX_KERNEL),
                bound("first_filters", sizes.first_filters, 1, MAX_FILTERS),
                bound("second_filters", sizes.second_filters, 1, MAX_FILTERS),
                bound("units", sizes.units, 1, MAX_UNITS),
            ]),
        }
        bounds
    }

    /// Names and shapes of all tensors, in ascending order of names.
    pub(super) fn shapes(&self) -> Vec<TensorShape> {
        let mut shapes = match *self {
            Self::CifgLstm(sizes) => cifg_lstm::shapes(sizes),
            Self::Lstm(sizes) => lstm::shapes(sizes),
            Self::Gru(sizes) => gru::shapes(sizes),
            Self::TanhRnn(sizes) => tanh_rnn::shapes(sizes),
            Self::Transformer(sizes) => transformer::shapes(sizes),
            Self::EncoderDecoder(sizes) => encoder_decoder::shapes(sizes),
            Self::Mlp(sizes) => mlp::shapes(sizes),
            Self::Cnn(sizes) => cnn::shapes(sizes),
        };
        shapes.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        shapes
    }

    /// What training starts from, tensor by tensor.
    pub(super) fn start(&self, tensor: &str) -> Start {
        match self {
            Self::CifgLstm(_) | Self::Gru(_) => cell::start(tensor),
            Self::Lstm(_) => lstm::start(tensor),
            Self::TanhRnn(_) => tanh_rnn::start(tensor),
            Self::Transformer(sizes) => transformer::start(*sizes, tensor),
            Self::EncoderDecoder(sizes) => encoder_decoder::start(*sizes, tensor),
            Self::Mlp(_) => mlp::start(tensor),
            Self::Cnn(_) => cnn::start(tensor),
        }
    }

    /// The sizes as lines of `model.toml`.
    pub(super) fn fields(&self) -> String {
        let own = match *self {
            Self::CifgLstm(Sizes {
                vocabulary: _,
                embedding,
                units,
                output_bias,
            }) => format!(
                "# The embedding is the output layer too: the projection has its size.\n\
                 embedding = {embedding}\n\
                 units = {units}\n\
                 projection = {embedding}\n\
                 output_bias = {output_bias}\n"
            ),
            Self::Lstm(sizes) | Self::Gru(sizes) => format!(
                "# The embedding is the output layer too: the units are projected to its size.\n\
                 embedding = {}\n\
                 units = {}\n\
                 output_bias = {}\n",
                sizes.embedding, sizes.units, sizes.output_bias
            ),
            Self::TanhRnn(StackSizes {
                vocabulary: _,
                embedding,
                units,
                layers,
                output_bias,
            }) => format!(
                "# The embedding is the output layer too: the units are projected to its size.\n\
                 embedding = {embedding}\n\
                 # Of each layer.\n\
                 units = {units}\n\
                 layers = {layers}\n\
                 output_bias = {output_bias}\n"
            ),
            Self::Transformer(TransformerSizes {
                vocabulary: _,
                embedding,
                layers,
                heads,
                feed_forward,
                context,
                output_bias,
            }) => format!(
                "# The embedding is the output layer too.\n\
                 embedding = {embedding}\n\
                 layers = {layers}\n\
                 # They share out the embedding's elements; each gets an even number.\n\
                 heads = {heads}\n\
                 feed_forward = {feed_forward}\n\
                 # Tokens that the network sees at once.\n\
                 context = {context}\n\
                 output_bias = {output_bias}\n"
            ),
            Self::EncoderDecoder(EncoderDecoderSizes {
                vocabulary: _,
                embedding,
                encoder_layers,
                decoder_layers,
                heads,
                feed_forward,
                context,
                output_bias,
            }) => format!(
                "# The embedding reads sources and targets, and is the output layer too.\n\
                 embedding = {embedding}\n\
                 encoder_layers = {encoder_layers}\n\
                 decoder_layers = {decoder_layers}\n\
                 # They share out the embedding's elements; each gets an even number.\n\
                 heads = {heads}\n\
                 feed_forward = {feed_forward}\n\
                 # The most tokens of a source with its end, and of a target with its beginning.\n\
                 context = {context}\n\
                 output_bias = {output_bias}\n"
            ),
            Self::Mlp(MlpSizes {
                vocabulary: _,
                units,
                layers,
            }) => format!(
                "# Of each hidden layer.\n\
                 units = {units}\n\
                 # Hidden ones.\n\
                 layers = {layers}\n"
            ),
            Self::Cnn(CnnSizes {
                vocabulary: _,
                kernel,
                first_filters,
                second_filters,
                units,
            }) => format!(
                "# Rows, and columns, of each filter; an odd number.\n\
                 kernel = {kernel}\n\
                 first_filters = {first_filters}\n\
                 second_filters = {second_filters}\n\
                 # Of the hidden layer.\n\
                 units = {units}\n"
            ),
        };
        let vocabulary = self.vocabulary();
        let lines = match self.kind().task() {
            Task::NextToken | Task::SequenceToSequence => {
                "# Tokens: lines of vocabulary.txt, or those of tokenizer.json."
            }
            Task::Classification => {
                "# Lines of vocabulary.txt: four special words, then the labels."
            }
        };
        format!("{lines}\nvocabulary = {vocabulary}\n{own}")
    }
}

/// How a tensor's initial elements are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Start {
    /// Uniform in ±this/√(columns).
    Uniform(f32),
    /// The tensor in as many equal stretches, each with its own number.
    Stretches(&'static [f32]),
    /// From the frequency that a token has by its place in the vocabulary.
    Frequency,
}

impl Start {
    pub(super) const ZERO: Self = Self::Stretches(&[0.0]);
    pub(super) const ONE: Self = Self::Stretches(&[1.0]);
}
