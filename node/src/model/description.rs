//! What a model is: its kind and its sizes, as `model.toml` says them.

use serde::Deserialize;
use thiserror::Error;
use toml::{Table, Value};

use super::architecture::{Architecture, Bound, ModelKind, Sizes};
use super::{Task, TensorShape, Widths};
use crate::vocabulary::{TextUnits, Tokenization};

/// The most parameters that a description may ask for: 128 MiB of weights. A node takes the
/// description from its coordinator, which must not be able to make it run out of memory.
pub const MAX_PARAMETERS: u64 = 1 << 25;

/// A model's kind and sizes. A value that exists is consistent and within the limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelDescription {
    architecture: Architecture,
    text: Tokenization,
    seed: u32,
    shapes: Vec<TensorShape>,
    parameters: usize,
}

/// Why a description was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DescriptionError {
    /// It is not TOML, or a field is missing, unknown or of the wrong type.
    #[error("the model's description cannot be read: {problem}")]
    Syntax {
        /// What the parser said, with the field's name.
        problem: String,
    },
    /// A size is out of its range.
    #[error("the model's {field} is {value}; it must be from {least} to {most}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
        /// The least allowed.
        least: u32,
        /// The most allowed.
        most: u32,
    },
    /// The output layer is the embedding, so the projection must have its size.
    #[error(
        "the model's projection is {projection} and its embedding {embedding}; \
         they must be equal, because the output layer is the embedding"
    )]
    NotTied {
        /// The projection's size.
        projection: u32,
        /// The embedding's size.
        embedding: u32,
    },
    /// The heads cannot share out the embedding.
    #[error(
        "the model's embedding of {embedding} elements cannot be shared out among {heads} heads; \
         each must get the same even number of elements, because positions turn pairs of them"
    )]
    Heads {
        /// The embedding's size.
        embedding: u32,
        /// How many heads.
        heads: u32,
    },
    /// A filter without a pixel in its middle.
    #[error("the model's kernel is {kernel}; it must be odd, so that a pixel is in its middle")]
    EvenKernel {
        /// The rows of each filter.
        kernel: u32,
    },
    /// A model of images reads no text.
    #[error("a model of kind \"{kind}\" has no text: leave the field out of its description")]
    NoText {
        /// The kind, as `model.toml` names it.
        kind: &'static str,
    },
    /// All sizes together make too large a model.
    #[error("the model would have {parameters} parameters; at most {MAX_PARAMETERS} are allowed")]
    TooManyParameters {
        /// How many it would have.
        parameters: u64,
    },
}

impl ModelDescription {
    /// A model of this architecture, for words where it reads text; `seed` fixes the initial weights.
    ///
    /// # Errors
    /// A [`DescriptionError`] that names the size and the limit.
    pub fn new(architecture: Architecture, seed: u32) -> Result<Self, DescriptionError> {
        Self::of(TextUnits::Words, architecture, seed)
    }

    /// A model of this architecture for words, characters or a tokenizer's tokens; `seed` fixes the initial
    /// weights.
    ///
    /// # Errors
    /// A [`DescriptionError`] that names the size and the limit.
    ///
    /// # Panics
    /// Never: the number of parameters that is converted was bounded before.
    pub fn of(
        text: impl Into<Tokenization>,
        architecture: Architecture,
        seed: u32,
    ) -> Result<Self, DescriptionError> {
        let text = text.into();
        for bound in architecture.bounds() {
            let Bound {
                field,
                value,
                least,
                most,
            } = bound;
            if !(least..=most).contains(&value) {
                return Err(DescriptionError::OutOfRange {
                    field,
                    value,
                    least,
                    most,
                });
            }
        }
        let attention = match architecture {
            Architecture::Transformer(sizes) => Some((sizes.embedding, sizes.heads)),
            Architecture::EncoderDecoder(sizes) => Some((sizes.embedding, sizes.heads)),
            _ => None,
        };
        if let Some((embedding, heads)) = attention
            && !embedding.is_multiple_of(2 * heads)
        {
            return Err(DescriptionError::Heads { embedding, heads });
        }
        if let Architecture::Cnn(sizes) = architecture
            && sizes.kernel.is_multiple_of(2)
        {
            let kernel = sizes.kernel;
            return Err(DescriptionError::EvenKernel { kernel });
        }
        let kind = architecture.kind();
        if kind.task() == Task::Classification && text != WORDS {
            let kind = kind.as_str();
            return Err(DescriptionError::NoText { kind });
        }
        let shapes = architecture.shapes();
        // Each size is bounded above, so that no product and no sum can overflow 64 bits.
        let parameters = shapes
            .iter()
            .map(|shape| shape.dimensions.iter().map(|&n| n as u64).product::<u64>());
        let parameters = parameters.sum::<u64>();
        if parameters > MAX_PARAMETERS {
            return Err(DescriptionError::TooManyParameters { parameters });
        }
        let parameters = usize::try_from(parameters).expect("bounded above");
        Ok(Self {
            architecture,
            text,
            seed,
            shapes,
            parameters,
        })
    }

    /// A CIFG-LSTM of these sizes; `seed` fixes the initial weights.
    ///
    /// # Errors
    /// A [`DescriptionError`] that names the size and the limit.
    pub fn cifg_lstm(sizes: Sizes, seed: u32) -> Result<Self, DescriptionError> {
        Self::new(Architecture::CifgLstm(sizes), seed)
    }

    /// Reads `model.toml`. Unknown fields, and those of another kind of model, are refused.
    ///
    /// # Errors
    /// A [`DescriptionError`] that names the field, its value and the limit.
    pub fn parse(text: &str) -> Result<Self, DescriptionError> {
        let mut table: Table = toml::from_str(text).map_err(syntax)?;
        let kind: ModelKind = take(&mut table, "kind")?;
        let seed = take(&mut table, "seed")?;
        let text = if table.contains_key("text") && kind.task() == Task::Classification {
            let kind = kind.as_str();
            return Err(DescriptionError::NoText { kind });
        } else if table.contains_key("text") {
            take(&mut table, "text")?
        } else {
            WORDS
        };
        let projection = match kind {
            ModelKind::CifgLstm => Some(take(&mut table, "projection")?),
            _ => None,
        };
        let architecture = architecture(kind, table)?;
        if let (Some(projection), Architecture::CifgLstm(sizes)) = (projection, architecture)
            && projection != sizes.embedding
        {
            return Err(DescriptionError::NotTied {
                projection,
                embedding: sizes.embedding,
            });
        }
        Self::of(text, architecture, seed)
    }

    /// What [`ModelDescription::parse`] reads, with comments.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let kind = self.kind();
        // Where nothing is said it is words, as it always was.
        let text = match self.text {
            WORDS => String::new(),
            other => format!(
                "# What a token stands for.\ntext = \"{}\"\n",
                other.as_str()
            ),
        };
        format!(
            "# {}: {} of {} parameters.\n\
             kind = \"{}\"\n\
             {text}\
             {}\
             # Fixes the initial weights.\n\
             seed = {}\n",
            match self.task() {
                Task::NextToken => format!("A next-{} model", self.text.one()),
                Task::SequenceToSequence => "A model that turns texts into others".to_owned(),
                Task::Classification => "A classifier of images of 28 × 28 pixels".to_owned(),
            },
            kind.in_words(),
            self.parameters,
            kind.as_str(),
            self.architecture.fields(),
            self.seed
        )
    }

    /// The kind of network.
    #[must_use]
    pub fn kind(&self) -> ModelKind {
        self.architecture.kind()
    }

    /// The kind of network with its sizes.
    #[must_use]
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// What the model learns.
    #[must_use]
    pub fn task(&self) -> Task {
        self.kind().task()
    }

    /// How many numbers the network handles for each prediction.
    pub(crate) fn widths(&self) -> Widths {
        Widths::of(self)
    }

    /// How text becomes tokens.
    #[must_use]
    pub fn text(&self) -> Tokenization {
        self.text
    }

    /// Tokens of the vocabulary: the four special ones, and others or labels.
    #[must_use]
    pub fn vocabulary(&self) -> u32 {
        self.architecture.vocabulary()
    }

    /// The seed of the initial weights.
    #[must_use]
    pub fn seed(&self) -> u32 {
        self.seed
    }

    /// The names and shapes of all tensors, in ascending order of names: the order in which a flat
    /// vector of weights holds them.
    #[must_use]
    pub fn shapes(&self) -> &[TensorShape] {
        &self.shapes
    }

    /// Whether a row of a tensor begins at this place of the flat vector, or the last one has ended.
    #[must_use]
    pub fn is_between_rows(&self, place: usize) -> bool {
        let mut start = 0;
        for shape in &self.shapes {
            let end = start + shape.elements();
            if place < end {
                return (place - start).is_multiple_of(shape.row());
            }
            start = end;
        }
        place == start
    }

    /// How many weights there are in all tensors together.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.parameters
    }
}

/// What is not said.
const WORDS: Tokenization = Tokenization::Units(TextUnits::Words);

/// Takes a field that all kinds have, or that one kind has beside its sizes.
fn take<'de, T: Deserialize<'de>>(
    table: &mut Table,
    field: &'static str,
) -> Result<T, DescriptionError> {
    let value = table
        .remove(field)
        .ok_or_else(|| DescriptionError::Syntax {
            problem: format!("missing field `{field}`"),
        })?;
    value.try_into().map_err(|error| DescriptionError::Syntax {
        problem: format!("{field}: {error}"),
    })
}

/// The sizes of this kind, out of what is left.
fn architecture(kind: ModelKind, sizes: Table) -> Result<Architecture, DescriptionError> {
    let sizes = Value::Table(sizes);
    let architecture = match kind {
        ModelKind::CifgLstm => sizes.try_into().map(Architecture::CifgLstm),
        ModelKind::Lstm => sizes.try_into().map(Architecture::Lstm),
        ModelKind::Gru => sizes.try_into().map(Architecture::Gru),
        ModelKind::TanhRnn => sizes.try_into().map(Architecture::TanhRnn),
        ModelKind::Transformer => sizes.try_into().map(Architecture::Transformer),
        ModelKind::EncoderDecoder => sizes.try_into().map(Architecture::EncoderDecoder),
        ModelKind::Mlp => sizes.try_into().map(Architecture::Mlp),
        ModelKind::Cnn => sizes.try_into().map(Architecture::Cnn),
    };
    architecture.map_err(syntax)
}

fn syntax(error: toml::de::Error) -> DescriptionError {
    DescriptionError::Syntax {
        problem: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
