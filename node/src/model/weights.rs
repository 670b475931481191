//! Weights as one flat vector, and as safetensors.

mod mean;
mod stored;

use std::ops::Range;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use thiserror::Error;

pub use self::mean::WeightsMean;
use super::ModelDescription;
use super::architecture::Start;
use crate::vocabulary::{self, BEGIN, END, PAD, SPECIAL_WORDS, Tokenization, UNKNOWN};

/// A tensor's name and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorShape {
    /// The name; no dots in it.
    pub name: String,
    /// The sizes, outermost first.
    pub dimensions: Vec<usize>,
}

impl TensorShape {
    pub(super) fn new(name: &str, dimensions: &[usize]) -> Self {
        Self {
            name: name.to_owned(),
            dimensions: dimensions.to_vec(),
        }
    }

    /// How many elements the tensor has.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.dimensions.iter().product()
    }

    /// How many elements a row has, which is one place of the first dimension; never 0.
    #[must_use]
    pub fn row(&self) -> usize {
        let columns = self.dimensions.get(1..).unwrap_or_default();
        columns.iter().product::<usize>().max(1)
    }

    /// The rows that lie as a whole in these stretches of a flat vector, of which the tensor begins at
    /// `start`.
    pub(super) fn rows_within(
        &self,
        start: usize,
        stretches: &[Range<usize>],
    ) -> Vec<Range<usize>> {
        let (row, end) = (self.row(), start + self.elements());
        let rows = stretches.iter().map(|stretch| {
            let first = stretch.start.clamp(start, end) - start;
            let last = stretch.end.clamp(start, end) - start;
            first.div_ceil(row)..last / row
        });
        rows.filter(|rows| !rows.is_empty()).collect()
    }
}

/// The weights of one model: all tensors in ascending order of names, each in row-major order, in
/// one flat vector. A value that exists has the description's length and only finite elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    shapes: Vec<TensorShape>,
    values: Vec<f32>,
}

/// Why weights were refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file is not a safetensors file.
    #[error("the weights are not a safetensors file: {problem}")]
    Syntax {
        /// What the parser said.
        problem: String,
    },
    /// A tensor of the model is not in the file.
    #[error("the weights lack the tensor \"{name}\" of the model")]
    Missing {
        /// The tensor.
        name: String,
    },
    /// The file has a tensor that the model does not have.
    #[error("the weights hold a tensor \"{name}\", which the model does not have")]
    Unexpected {
        /// The tensor.
        name: String,
    },
    /// A tensor has another shape than the model's.
    #[error("the weights' tensor \"{name}\" has the shape {found:?}; the model's has {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape in the model.
        expected: Vec<usize>,
    },
    /// A tensor holds something else than floats, or than 8 bits with scales.
    #[error(
        "the weights' tensor \"{name}\" holds {found}; it must hold F32, BF16, or I8 with the scales of \
         its rows as \"{name}.scale\""
    )]
    Kind {
        /// The tensor.
        name: String,
        /// What it holds.
        found: String,
    },
    /// A bitmap says that there is something beyond the end of its tensor.
    #[error(
        "the weights' bitmap \"{name}\" has bits for more than the tensor's {elements} elements"
    )]
    Bitmap {
        /// The bitmap.
        name: String,
        /// Elements of the tensor.
        elements: usize,
    },
    /// A flat vector has the wrong length.
    #[error("{found} weights were given; the model has {expected}")]
    Length {
        /// How many were given.
        found: usize,
        /// How many the model has.
        expected: usize,
    },
    /// A weight is not a number, or infinite.
    #[error("the weights' tensor \"{name}\" holds {value} at element {index}; all must be finite")]
    NotFinite {
        /// The tensor.
        name: String,
        /// The element, in row-major order.
        index: usize,
        /// Its value, in words: `NaN`, `inf` or `-inf`.
        value: String,
    },
}

impl Weights {
    /// Checks and takes a flat vector.
    ///
    /// # Errors
    /// [`WeightsError::Length`] or [`WeightsError::NotFinite`].
    pub fn new(description: &ModelDescription, values: Vec<f32>) -> Result<Self, WeightsError> {
        check_values(description.shapes(), &values)?;
        Ok(Self {
            shapes: description.shapes().to_vec(),
            values,
        })
    }

    /// The initial weights: the same for the same description, on every machine.
    ///
    /// Matrices (filters are rows) are uniform in ±c/√(columns), with a c that each kind of network chooses; biases are a
    /// number. The output bias starts from Zipf's law for the token's place in the vocabulary, which is
    /// ordered by frequency: otherwise each round's first steps only push down the many words that a node
    /// never saw. A tokenizer's tokens start equal.
    #[must_use]
    pub fn initial(description: &ModelDescription) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(u64::from(description.seed()));
        let mut values = Vec::with_capacity(description.parameters());
        for shape in description.shapes() {
            let elements = shape.elements();
            match description.architecture().start(&shape.name) {
                Start::Uniform(scale) => {
                    let rows = shape.dimensions.first().copied().unwrap_or(1);
                    let columns = elements / rows;
                    let bound = scale / (columns as f32).sqrt();
                    values.extend((0..elements).map(|_| uniform(&mut rng, bound)));
                }
                Start::Stretches(numbers) => {
                    let stretch = elements / numbers.len();
                    for number in numbers {
                        values.extend(std::iter::repeat_n(*number, stretch));
                    }
                }
                Start::Frequency => {
                    let bias = |token| initial_output_bias(token, description.text());
                    values.extend((0..elements).map(bias));
                }
            }
        }
        Self {
            shapes: description.shapes().to_vec(),
            values,
        }
    }

    /// Reads a safetensors file, and checks names, shapes, kinds, and that all is finite. Tensors may
    /// have fewer bits, as a coordinator sends them ([`secagg_learning::download`]).
    ///
    /// # Errors
    /// A [`WeightsError`] that names the tensor and what is wrong with it.
    pub fn from_safetensors(
        bytes: &[u8],
        description: &ModelDescription,
    ) -> Result<Self, WeightsError> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| WeightsError::Syntax {
            problem: error.to_string(),
        })?;
        let mut names = file.names();
        names.sort_unstable();
        for name in names {
            let is_known = |name: &str| description.shapes().iter().any(|own| own.name == name);
            if !is_known(name) && !stored::belongs(&file, name, is_known) {
                return Err(WeightsError::Unexpected {
                    name: name.to_owned(),
                });
            }
        }
        let mut values = Vec::with_capacity(description.parameters());
        for shape in description.shapes() {
            let tensor = file.tensor(&shape.name);
            let name = || shape.name.clone();
            let tensor = tensor.map_err(|_| WeightsError::Missing { name: name() })?;
            stored::read(&file, shape, &tensor, &mut values)?;
        }
        Self::new(description, values)
    }

    /// The weights as a safetensors file.
    ///
    /// # Panics
    /// Never: names and shapes are consistent by construction.
    #[must_use]
    pub fn to_safetensors(&self) -> Vec<u8> {
        let bytes: Vec<u8> = self
            .values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let mut rest = bytes.as_slice();
        let mut tensors = Vec::with_capacity(self.shapes.len());
        for shape in &self.shapes {
            let (data, after) = rest.split_at(4 * shape.elements());
            rest = after;
            let view = TensorView::new(Dtype::F32, shape.dimensions.clone(), data)
                .expect("the data was cut to the shape's size");
            tensors.push((shape.name.as_str(), view));
        }
        safetensors::serialize(tensors, None).expect("every view was checked when it was made")
    }

    /// All weights, flat.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All weights, flat.
    #[must_use]
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// Names and shapes, in the flat vector's order.
    #[must_use]
    pub fn shapes(&self) -> &[TensorShape] {
        &self.shapes
    }
}

/// Refuses a flat vector of another length, or one that is not finite throughout.
pub(super) fn check_values(shapes: &[TensorShape], values: &[f32]) -> Result<(), WeightsError> {
    let expected = shapes.iter().map(TensorShape::elements).sum();
    if values.len() != expected {
        return Err(WeightsError::Length {
            found: values.len(),
            expected,
        });
    }
    let mut rest = values;
    for shape in shapes {
        let (tensor, after) = rest.split_at(shape.elements());
        rest = after;
        if let Some(index) = tensor.iter().position(|value| !value.is_finite()) {
            return Err(WeightsError::NotFinite {
                name: shape.name.clone(),
                index,
                value: tensor[index].to_string(),
            });
        }
    }
    Ok(())
}

/// Zipf's law as Mandelbrot amended it: the frequency of the word at place r is in proportion to
/// 1 / (r + 2.7). Unknown words and ends are frequent, padding and begins are never predicted.
/// A tokenizer's numbers say little about frequency: single letters come first in most files.
fn initial_output_bias(token: usize, text: Tokenization) -> f32 {
    let place = match (u32::try_from(token), text) {
        (Ok(PAD | BEGIN) | Err(_), _) => vocabulary::MAX_LEN,
        (Ok(UNKNOWN | END), _) | (Ok(_), Tokenization::Tokenizer) => 0,
        (Ok(_), Tokenization::Units(_)) => token - SPECIAL_WORDS,
    };
    -(place as f32 + 2.7).ln()
}

/// Uniform in [−bound, bound), from 24 random bits.
fn uniform(rng: &mut impl Rng, bound: f32) -> f32 {
    let unit = (rng.next_u32() >> 8) as f32 / (1_u32 << 24) as f32;
    (2.0 * unit - 1.0) * bound
}

#[cfg(test)]
mod tests;
