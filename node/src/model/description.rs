//! What a model is: its kind and its sizes, as `model.toml` says them.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::TensorShape;
use crate::vocabulary;

/// The most parameters that a description may ask for: 128 MiB of weights. A node takes the
/// description from its coordinator, which must not be able to make it run out of memory.
pub const MAX_PARAMETERS: u64 = 1 << 25;

/// A model's kind and sizes. A value that exists is consistent and within the limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct ModelDescription {
    raw: Raw,
    shapes: Vec<TensorShape>,
    parameters: usize,
}

/// The sizes of a recurrent network with a tied embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Words in the vocabulary, the four special ones included.
    pub vocabulary: u32,
    /// Elements of a word's vector, and of the projection: the two are tied.
    pub embedding: u32,
    /// Units of the cell, or of a layer.
    pub units: u32,
    /// Whether each word has a bias at the output.
    pub output_bias: bool,
}

/// The kinds of model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ModelKind {
    /// The long short-term memory of Hard et al. 2018, with the input gate coupled to the forget
    /// gate.
    CifgLstm,
    /// A long short-term memory with all three gates.
    Lstm,
    /// A gated recurrent unit.
    Gru,
    /// A recurrent network with the hyperbolic tangent, of one or more layers.
    TanhRnn,
}

impl ModelKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::CifgLstm, Self::Lstm, Self::Gru, Self::TanhRnn];

    /// As `model.toml` and `--kind` say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CifgLstm => "cifg-lstm",
            Self::Lstm => "lstm",
            Self::Gru => "gru",
            Self::TanhRnn => "tanh-rnn",
        }
    }

    /// Whether there can be more than one layer.
    const fn has_layers(self) -> bool {
        matches!(self, Self::TanhRnn)
    }

    /// What it is called, for people.
    const fn title(self) -> &'static str {
        match self {
            Self::CifgLstm => "a CIFG-LSTM (Hard et al. 2018)",
            Self::Lstm => "an LSTM with a projection (Sak et al. 2014)",
            Self::Gru => "a GRU (Cho et al. 2014)",
            Self::TanhRnn => "a tanh RNN (Elman 1990)",
        }
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    kind: ModelKind,
    vocabulary: u32,
    embedding: u32,
    units: u32,
    projection: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layers: Option<u32>,
    output_bias: bool,
    seed: u32,
}

/// Why a description was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DescriptionError {
    /// It is not TOML, or a field is missing, unknown or of the wrong type.
    #[error("the model's description cannot be read: {problem}")]
    Syntax {
        /// What the parser said, with the line.
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
    /// A field that this kind of model does not have.
    #[error("the model's {field} is {value}, but a model of the kind {kind} has no such field")]
    NotOfKind {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
        /// The kind.
        kind: ModelKind,
    },
    /// All sizes together make too large a model.
    #[error("the model would have {parameters} parameters; at most {MAX_PARAMETERS} are allowed")]
    TooManyParameters {
        /// How many it would have.
        parameters: u64,
    },
}

const MAX_EMBEDDING: u32 = 4096;
const MAX_UNITS: u32 = 16_384;
/// One digit, so that the tensors' names ascend as the layers do.
const MAX_LAYERS: u32 = 8;

impl ModelDescription {
    /// A CIFG-LSTM of these sizes; `seed` fixes the initial weights.
    ///
    /// # Errors
    /// A [`DescriptionError`] that names the size and the limit.
    pub fn cifg_lstm(sizes: Sizes, seed: u32) -> Result<Self, DescriptionError> {
        Self::recurrent(ModelKind::CifgLstm, sizes, None, seed)
    }

    /// A recurrent network of these sizes; `layers` only for a kind that can have several, where
    /// `None` means one. `seed` fixes the initial weights.
    ///
    /// # Errors
    /// A [`DescriptionError`] that names the size and the limit.
    pub fn recurrent(
        kind: ModelKind,
        sizes: Sizes,
        layers: Option<u32>,
        seed: u32,
    ) -> Result<Self, DescriptionError> {
        Raw {
            kind,
            layers,
            vocabulary: sizes.vocabulary,
            embedding: sizes.embedding,
            units: sizes.units,
            projection: sizes.embedding,
            output_bias: sizes.output_bias,
            seed,
        }
        .try_into()
    }

    /// Reads `model.toml`. Unknown fields are refused.
    ///
    /// # Errors
    /// A [`DescriptionError`] that names the field, its value and the limit.
    pub fn parse(text: &str) -> Result<Self, DescriptionError> {
        let raw: Raw = toml::from_str(text).map_err(|error| DescriptionError::Syntax {
            problem: error.to_string(),
        })?;
        raw.try_into()
    }

    /// What [`ModelDescription::parse`] reads, with comments.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let Raw {
            kind,
            vocabulary,
            embedding,
            units,
            projection,
            layers,
            output_bias,
            seed,
        } = &self.raw;
        let title = kind.title();
        let layers = layers.map_or_else(String::new, |layers| format!("layers = {layers}\n"));
        format!(
            "# A next-word model: {title} of {} parameters.\n\
             kind = \"{kind}\"\n\
             # Lines of vocabulary.txt.\n\
             vocabulary = {vocabulary}\n\
             # The embedding is the output layer too: the projection has its size.\n\
             embedding = {embedding}\n\
             units = {units}\n\
             projection = {projection}\n\
             {layers}\
             output_bias = {output_bias}\n\
             # Fixes the initial weights.\n\
             seed = {seed}\n",
            self.parameters
        )
    }

    /// The kind of model.
    #[must_use]
    pub fn kind(&self) -> ModelKind {
        self.raw.kind
    }

    /// The sizes.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            vocabulary: self.raw.vocabulary,
            embedding: self.raw.embedding,
            units: self.raw.units,
            output_bias: self.raw.output_bias,
        }
    }

    /// How many layers there are.
    #[must_use]
    pub fn layers(&self) -> u32 {
        self.raw.layers.unwrap_or(1)
    }

    /// The seed of the initial weights.
    #[must_use]
    pub fn seed(&self) -> u32 {
        self.raw.seed
    }

    /// The names and shapes of all tensors, in ascending order of names: the order in which a flat
    /// vector of weights holds them.
    #[must_use]
    pub fn shapes(&self) -> &[TensorShape] {
        &self.shapes
    }

    /// How many weights there are in all tensors together.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.parameters
    }
}

impl TryFrom<Raw> for ModelDescription {
    type Error = DescriptionError;

    fn try_from(raw: Raw) -> Result<Self, DescriptionError> {
        let most_words = u32::try_from(vocabulary::MAX_LEN).expect("the constant fits");
        for (field, value, least, most) in [
            ("vocabulary", raw.vocabulary, 5, most_words),
            ("embedding", raw.embedding, 1, MAX_EMBEDDING),
            ("units", raw.units, 1, MAX_UNITS),
            ("projection", raw.projection, 1, MAX_EMBEDDING),
            ("layers", raw.layers.unwrap_or(1), 1, MAX_LAYERS),
        ] {
            if !(least..=most).contains(&value) {
                return Err(DescriptionError::OutOfRange {
                    field,
                    value,
                    least,
                    most,
                });
            }
        }
        if let Some(value) = raw.layers.filter(|_| !raw.kind.has_layers()) {
            return Err(DescriptionError::NotOfKind {
                field: "layers",
                value,
                kind: raw.kind,
            });
        }
        if raw.projection != raw.embedding {
            return Err(DescriptionError::NotTied {
                projection: raw.projection,
                embedding: raw.embedding,
            });
        }
        let shapes = shapes(&raw);
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
            raw,
            shapes,
            parameters,
        })
    }
}

impl From<ModelDescription> for Raw {
    fn from(description: ModelDescription) -> Self {
        description.raw
    }
}

/// The tensors, in ascending order of names. For the CIFG-LSTM one bias for each of the three gates,
/// none for the projection: 1,412,250 parameters at Hard et al.'s sizes.
fn shapes(raw: &Raw) -> Vec<TensorShape> {
    let [vocabulary, embedding, units] =
        [raw.vocabulary, raw.embedding, raw.units].map(|size| size as usize);
    let cell = |gates: usize, state: usize| {
        vec![
            TensorShape::new("cell_bias", &[gates * units]),
            TensorShape::new("cell_input", &[gates * units, embedding]),
            TensorShape::new("cell_recurrent", &[gates * units, state]),
        ]
    };
    let words = TensorShape::new("embedding", &[vocabulary, embedding]);
    let mut shapes = match raw.kind {
        ModelKind::CifgLstm => cell(3, embedding),
        ModelKind::Lstm => cell(4, embedding),
        ModelKind::Gru => cell(3, units),
        ModelKind::TanhRnn => Vec::new(),
    };
    shapes.push(words);
    if raw.kind == ModelKind::TanhRnn {
        for layer in 0..raw.layers.unwrap_or(1) {
            let below = if layer == 0 { embedding } else { units };
            shapes.extend([
                TensorShape::new(&format!("layer{layer}_bias"), &[units]),
                TensorShape::new(&format!("layer{layer}_input"), &[units, below]),
                TensorShape::new(&format!("layer{layer}_recurrent"), &[units, units]),
            ]);
        }
    }
    if raw.output_bias {
        shapes.push(TensorShape::new("output_bias", &[vocabulary]));
    }
    shapes.push(TensorShape::new("projection", &[embedding, units]));
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(vocabulary: u32, units: u32, output_bias: bool) -> ModelDescription {
        let sizes = Sizes {
            vocabulary,
            embedding: 96,
            units,
            output_bias,
        };
        ModelDescription::cifg_lstm(sizes, 7).unwrap()
    }

    #[test]
    fn the_papers_setting_has_1_412_250_parameters() {
        assert_eq!(description(10_000, 670, false).parameters(), 1_412_250);
    }

    #[test]
    fn the_small_setting_has_657_800_parameters() {
        assert_eq!(description(5000, 256, true).parameters(), 657_800);
    }

    #[test]
    fn names_are_in_ascending_order_without_dots() {
        for bias in [false, true] {
            let description = description(5000, 256, bias);
            let names: Vec<_> = description
                .shapes()
                .iter()
                .map(|shape| &shape.name)
                .collect();
            assert!(names.is_sorted(), "{names:?}");
            assert!(names.iter().all(|name| !name.contains('.')), "{names:?}");
        }
    }

    #[test]
    fn toml_and_description_are_the_same_thing() {
        let description = description(5000, 256, true);
        assert_eq!(
            ModelDescription::parse(&description.to_toml()),
            Ok(description)
        );
    }

    #[test]
    fn every_kind_reads_what_it_writes() {
        let sizes = description(50, 9, true).sizes();
        for kind in ModelKind::ALL {
            let layers = kind.has_layers().then_some(3);
            let description = ModelDescription::recurrent(kind, sizes, layers, 2).unwrap();
            let text = description.to_toml();
            assert!(text.contains(&format!("kind = \"{kind}\"")), "{text}");
            assert_eq!(ModelDescription::parse(&text), Ok(description.clone()));
            let names: Vec<_> = description.shapes().iter().map(|s| &s.name).collect();
            assert!(names.is_sorted(), "{names:?}");
        }
    }

    #[test]
    fn sizes_are_those_of_the_formulas() {
        let sizes = description(50, 9, true).sizes();
        let parameters = |kind, layers| {
            let description = ModelDescription::recurrent(kind, sizes, layers, 2).unwrap();
            description.parameters()
        };
        // Embedding and output bias, and the projection.
        let rest = 50 * 96 + 50 + 9 * 96;
        assert_eq!(
            parameters(ModelKind::Lstm, None),
            rest + 4 * 9 * (96 + 96 + 1)
        );
        assert_eq!(
            parameters(ModelKind::Gru, None),
            rest + 3 * 9 * (96 + 9 + 1)
        );
        assert_eq!(
            parameters(ModelKind::TanhRnn, None),
            rest + 9 * (96 + 9 + 1)
        );
        let two = 9 * (96 + 9 + 1) + 9 * (9 + 9 + 1);
        assert_eq!(parameters(ModelKind::TanhRnn, Some(2)), rest + two);
    }

    #[test]
    fn layers_are_for_kinds_that_have_them() {
        let sizes = description(50, 9, true).sizes();
        let refused =
            |kind, layers| ModelDescription::recurrent(kind, sizes, Some(layers), 2).unwrap_err();
        assert_eq!(
            refused(ModelKind::Gru, 2),
            DescriptionError::NotOfKind {
                field: "layers",
                value: 2,
                kind: ModelKind::Gru
            }
        );
        for value in [0, 9] {
            assert_eq!(
                refused(ModelKind::TanhRnn, value),
                DescriptionError::OutOfRange {
                    field: "layers",
                    value,
                    least: 1,
                    most: MAX_LAYERS
                }
            );
        }
    }

    #[test]
    fn unknown_fields_kinds_and_types_are_refused() {
        let good = description(5000, 256, true).to_toml();
        for (bad, hint) in [
            (format!("{good}heads = 2\n"), "heads"),
            (good.replace("cifg-lstm", "transformer"), "transformer"),
            (good.replace("units = 256", "units = -1"), "units"),
            (good.replace("seed = 7", ""), "seed"),
        ] {
            match ModelDescription::parse(&bad) {
                Err(DescriptionError::Syntax { problem }) => {
                    assert!(problem.contains(hint), "{problem}");
                }
                other => panic!("expected a syntax error, not {other:?}"),
            }
        }
    }

    #[test]
    fn sizes_are_bounded_before_anything_is_allocated() {
        let good = description(5000, 256, true).to_toml();
        assert_eq!(
            ModelDescription::parse(&good.replace("units = 256", "units = 4294967295")),
            Err(DescriptionError::OutOfRange {
                field: "units",
                value: u32::MAX,
                least: 1,
                most: MAX_UNITS
            })
        );
        assert_eq!(
            ModelDescription::parse(&good.replace("projection = 96", "projection = 97")),
            Err(DescriptionError::NotTied {
                projection: 97,
                embedding: 96
            })
        );
        assert_eq!(
            ModelDescription::cifg_lstm(
                Sizes {
                    vocabulary: 1 << 18,
                    embedding: 4096,
                    units: 1,
                    output_bias: false
                },
                1
            ),
            Err(DescriptionError::TooManyParameters {
                parameters: (1 << 30) + 2 * 3 * 4096 + 4096 + 3
            })
        );
    }
}
