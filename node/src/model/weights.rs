//! Weights as one flat vector, and as safetensors.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use thiserror::Error;

use super::{ModelDescription, ModelKind};
use crate::vocabulary::{self, BEGIN, END, PAD, SPECIAL_WORDS, UNKNOWN};

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
    /// A tensor holds something else than 32-bit floats.
    #[error("the weights' tensor \"{name}\" holds {found}; it must hold F32")]
    Kind {
        /// The tensor.
        name: String,
        /// What it holds.
        found: String,
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
    /// Biases of cells are zero, but that of an LSTM's forget gate, which is 1 (Jozefowicz, Zaremba and
    /// Sutskever, "An Empirical Exploration of Recurrent Network Architectures", ICML 2015); matrices
    /// uniform in ±c/√(columns). The cell's input and the embedding get a larger c than is usual: the tied embedding would otherwise start with scores so alike that
    /// hundreds of steps pass before training takes hold. The output bias starts from Zipf's law for
    /// the word's place in the vocabulary, which is ordered by frequency: otherwise each round's
    /// first steps only push down the many words that a node never saw.
    #[must_use]
    pub fn initial(description: &ModelDescription) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(u64::from(description.seed()));
        let mut values = Vec::with_capacity(description.parameters());
        for shape in description.shapes() {
            let scale = match shape.name.as_str() {
                "embedding" => 3.0,
                "cell_input" => 4.0,
                "layer0_input" => 2.0,
                "projection" => 2.0,
                _ => 1.0,
            };
            match *shape.dimensions {
                [_, columns] => {
                    let bound = scale / (columns as f32).sqrt();
                    values.extend((0..shape.elements()).map(|_| uniform(&mut rng, bound)));
                }
                [rows] if shape.name == "cell_bias" && description.kind() == ModelKind::Lstm => {
                    let quarter = rows / 4;
                    let bias = |row: usize| f32::from(u8::from(row / quarter == FORGET_GATE));
                    values.extend((0..rows).map(bias));
                }
                [words] if shape.name == "output_bias" => {
                    values.extend((0..words).map(initial_output_bias));
                }
                _ => values.extend(std::iter::repeat_n(0.0, shape.elements())),
            }
        }
        Self {
            shapes: description.shapes().to_vec(),
            values,
        }
    }

    /// Reads a safetensors file, and checks names, shapes, kinds, and that all is finite.
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
            if !description.shapes().iter().any(|shape| shape.name == name) {
                return Err(WeightsError::Unexpected {
                    name: name.to_owned(),
                });
            }
        }
        let mut values = Vec::with_capacity(description.parameters());
        for shape in description.shapes() {
            let name = || shape.name.clone();
            let tensor = file
                .tensor(&shape.name)
                .map_err(|_| WeightsError::Missing { name: name() })?;
            if tensor.dtype() != Dtype::F32 {
                let found = format!("{:?}", tensor.dtype());
                return Err(WeightsError::Kind {
                    name: name(),
                    found,
                });
            }
            if tensor.shape() != shape.dimensions {
                return Err(WeightsError::Shape {
                    name: name(),
                    found: tensor.shape().to_vec(),
                    expected: shape.dimensions.clone(),
                });
            }
            let (elements, _) = tensor.data().as_chunks::<4>();
            values.extend(elements.iter().map(|&bytes| f32::from_le_bytes(bytes)));
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

/// The second of an LSTM's four gates.
const FORGET_GATE: usize = 1;

/// Zipf's law as Mandelbrot amended it: the frequency of the word at place r is in proportion to
/// 1 / (r + 2.7). Unknown words and ends are frequent, padding and begins are never predicted.
fn initial_output_bias(token: usize) -> f32 {
    let place = match u32::try_from(token) {
        Ok(UNKNOWN | END) => 0,
        Ok(PAD | BEGIN) | Err(_) => vocabulary::MAX_LEN,
        Ok(_) => token - SPECIAL_WORDS,
    };
    -(place as f32 + 2.7).ln()
}

/// Uniform in [−bound, bound), from 24 random bits.
fn uniform(rng: &mut impl Rng, bound: f32) -> f32 {
    let unit = (rng.next_u32() >> 8) as f32 / (1_u32 << 24) as f32;
    (2.0 * unit - 1.0) * bound
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sizes;

    fn description() -> ModelDescription {
        let sizes = Sizes {
            vocabulary: 6,
            embedding: 2,
            units: 3,
            output_bias: true,
        };
        ModelDescription::cifg_lstm(sizes, 1).unwrap()
    }

    /// A safetensors file in which one tensor is another.
    fn file(replaced: &str, name: &str, dtype: Dtype, shape: Vec<usize>) -> Vec<u8> {
        let data = vec![0_u8; shape.iter().product::<usize>() * dtype.bitsize() / 8];
        let zeros = vec![0_u8; 4096];
        let description = description();
        let mut tensors = Vec::new();
        for own in description.shapes() {
            let view = if own.name == replaced {
                (name, TensorView::new(dtype, shape.clone(), &data).unwrap())
            } else {
                let bytes = &zeros[..4 * own.elements()];
                let view = TensorView::new(Dtype::F32, own.dimensions.clone(), bytes).unwrap();
                (own.name.as_str(), view)
            };
            tensors.push(view);
        }
        safetensors::serialize(tensors, None).unwrap()
    }

    #[test]
    fn safetensors_and_weights_are_the_same_thing() {
        let weights = Weights::initial(&description());
        let bytes = weights.to_safetensors();
        assert_eq!(
            Weights::from_safetensors(&bytes, &description()),
            Ok(weights)
        );
    }

    #[test]
    fn initial_weights_follow_the_seed() {
        let sizes = description().sizes();
        let other = ModelDescription::cifg_lstm(sizes, 2).unwrap();
        assert_eq!(
            Weights::initial(&description()),
            Weights::initial(&description())
        );
        assert_ne!(Weights::initial(&description()), Weights::initial(&other));
        assert_eq!(Weights::initial(&other).values()[..9], [0.0; 9]);
    }

    #[test]
    fn a_wrong_name_is_refused() {
        let bytes = file("cell_bias", "cell_bios", Dtype::F32, vec![9]);
        assert_eq!(
            Weights::from_safetensors(&bytes, &description()),
            Err(WeightsError::Unexpected {
                name: "cell_bios".to_owned()
            })
        );
        let mut without = description();
        let sizes = Sizes {
            output_bias: false,
            ..without.sizes()
        };
        without = ModelDescription::cifg_lstm(sizes, 1).unwrap();
        let bytes = Weights::initial(&without).to_safetensors();
        assert_eq!(
            Weights::from_safetensors(&bytes, &description()),
            Err(WeightsError::Missing {
                name: "output_bias".to_owned()
            })
        );
    }

    #[test]
    fn a_wrong_shape_is_refused_even_with_as_many_elements() {
        let bytes = file("projection", "projection", Dtype::F32, vec![3, 2]);
        assert_eq!(
            Weights::from_safetensors(&bytes, &description()),
            Err(WeightsError::Shape {
                name: "projection".to_owned(),
                found: vec![3, 2],
                expected: vec![2, 3]
            })
        );
    }

    #[test]
    fn a_wrong_kind_is_refused() {
        for dtype in [Dtype::F64, Dtype::F16, Dtype::I32] {
            let bytes = file("projection", "projection", dtype, vec![2, 3]);
            assert_eq!(
                Weights::from_safetensors(&bytes, &description()),
                Err(WeightsError::Kind {
                    name: "projection".to_owned(),
                    found: format!("{dtype:?}")
                })
            );
        }
    }

    #[test]
    fn what_is_not_finite_is_refused_and_named() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = Weights::initial(&description()).into_values();
            values[9 + 4] = value;
            assert_eq!(
                Weights::new(&description(), values),
                Err(WeightsError::NotFinite {
                    name: "cell_input".to_owned(),
                    index: 4,
                    value: value.to_string()
                })
            );
        }
    }

    #[test]
    fn a_wrong_length_and_what_is_no_safetensors_file_are_refused() {
        let expected = description().parameters();
        assert_eq!(
            Weights::new(&description(), vec![0.0; expected + 1]),
            Err(WeightsError::Length {
                found: expected + 1,
                expected
            })
        );
        let mut bytes = Weights::initial(&description()).to_safetensors();
        bytes.pop();
        let error = Weights::from_safetensors(&bytes, &description()).unwrap_err();
        assert!(matches!(error, WeightsError::Syntax { .. }), "{error}");
    }
}
