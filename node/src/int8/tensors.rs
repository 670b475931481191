//! 8-bit weights by name, and their file.
//!
//! The file is safetensors: each matrix as I8, its rows' scales as F32 under its name with `.scale`,
//! each vector as F32; the metadata say `format = secagg-int8` and `version = 1`.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use secagg_learning::download::SCALES;
use thiserror::Error;

use super::check_kind;
use super::matrix::Matrix;
use crate::model::{ModelDescription, TensorShape, Weights};

/// The weights of one model with 8 bits each. A value that exists has the description's shapes, and
/// only finite scales and vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8Weights {
    tensors: BTreeMap<String, Tensor>,
}

#[derive(Clone, Debug, PartialEq)]
enum Tensor {
    Matrix(Matrix),
    Vector(Vec<f32>),
}

/// Why there are no 8-bit weights, or no network with them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Int8Error {
    /// The kind of model is not run with 8 bits.
    #[error("a model of kind {kind} cannot be run with int8 weights yet: use its f32 weights")]
    Unsupported {
        /// The kind.
        kind: String,
    },
    /// The file is not a safetensors file.
    #[error("the int8 weights are not a safetensors file: {problem}")]
    Syntax {
        /// What the parser said.
        problem: String,
    },
    /// The file has another version.
    #[error(
        "the int8 weights have the version {found:?}; this program reads \"1\": quantise the f32 \
         weights again with `secagg-node quantise`"
    )]
    Version {
        /// The version.
        found: String,
    },
    /// A tensor is missing.
    #[error("the int8 weights lack the tensor \"{name}\" of the model")]
    Missing {
        /// The tensor.
        name: String,
    },
    /// There is a tensor that the model does not have.
    #[error("the int8 weights hold a tensor \"{name}\", which the model does not have")]
    Unexpected {
        /// The tensor.
        name: String,
    },
    /// A tensor is of another kind or shape than the model's.
    #[error("the int8 weights' tensor \"{name}\" is {found}; the model's is {expected}")]
    Shape {
        /// The tensor.
        name: String,
        /// Kind and shape in the file.
        found: String,
        /// Kind and shape that it must have.
        expected: String,
    },
    /// A scale or an element of a vector cannot be used.
    #[error(
        "the int8 weights' tensor \"{name}\" holds {value} at element {index}; all must be finite, \
         and scales not negative"
    )]
    Value {
        /// The tensor.
        name: String,
        /// The element.
        index: usize,
        /// Its value, in words.
        value: String,
    },
}

const FORMAT: (&str, &str) = ("format", "secagg-int8");
const VERSION: (&str, &str) = ("version", "1");

impl Int8Weights {
    /// The nearest 8-bit weights.
    ///
    /// # Errors
    /// [`Int8Error::Unsupported`]: weights that no network can use are of no use.
    pub fn quantise(description: &ModelDescription, weights: &Weights) -> Result<Self, Int8Error> {
        check_kind(description)?;
        let mut rest = weights.values();
        let mut tensors = BTreeMap::new();
        for shape in weights.shapes() {
            let (values, after) = rest.split_at(shape.elements());
            rest = after;
            let tensor = match columns(shape) {
                Some(columns) => Tensor::Matrix(Matrix::quantise(columns, values)),
                None => Tensor::Vector(values.to_vec()),
            };
            tensors.insert(shape.name.clone(), tensor);
        }
        Ok(Self { tensors })
    }

    /// Whether a file says that it holds such weights.
    #[must_use]
    pub fn are_in(bytes: &[u8]) -> bool {
        metadata(bytes).is_some_and(|metadata| says(&metadata, FORMAT))
    }

    /// Reads a file that [`Int8Weights::to_safetensors`] has written.
    ///
    /// # Errors
    /// An [`Int8Error`] that names the tensor and what is wrong with it.
    pub fn from_safetensors(
        bytes: &[u8],
        description: &ModelDescription,
    ) -> Result<Self, Int8Error> {
        check_kind(description)?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| Int8Error::Syntax {
            problem: error.to_string(),
        })?;
        let metadata = metadata(bytes).unwrap_or_default();
        if !(says(&metadata, FORMAT) && says(&metadata, VERSION)) {
            let found = metadata.get(VERSION.0).cloned().unwrap_or_default();
            return Err(Int8Error::Version { found });
        }
        let mut left = file.names();
        left.sort_unstable();
        let mut tensor = |name: &str, kind: Dtype, shape: &[usize]| {
            let found = file.tensor(name).map_err(|_| Int8Error::Missing {
                name: name.to_owned(),
            })?;
            left.retain(|other| *other != name);
            if (found.dtype(), found.shape()) != (kind, shape) {
                return Err(Int8Error::Shape {
                    name: name.to_owned(),
                    found: format!("{:?} {:?}", found.dtype(), found.shape()),
                    expected: format!("{kind:?} {shape:?}"),
                });
            }
            Ok(found.data().to_vec())
        };
        let mut tensors = BTreeMap::new();
        for shape in description.shapes() {
            let (name, dimensions) = (shape.name.as_str(), shape.dimensions.as_slice());
            let read = match columns(shape) {
                Some(columns) => {
                    let weights = tensor(name, Dtype::I8, dimensions)?;
                    let weights = weights.into_iter().map(u8::cast_signed).collect();
                    let name = scale_name(name);
                    let scales = floats(&tensor(&name, Dtype::F32, &dimensions[..1])?);
                    check(&name, &scales, |scale| scale.is_finite() && scale >= 0.0)?;
                    Tensor::Matrix(Matrix::from_parts(columns, weights, scales))
                }
                None => {
                    let values = floats(&tensor(name, Dtype::F32, dimensions)?);
                    check(name, &values, f32::is_finite)?;
                    Tensor::Vector(values)
                }
            };
            tensors.insert(shape.name.clone(), read);
        }
        match left.first() {
            Some(name) => Err(Int8Error::Unexpected {
                name: (*name).to_owned(),
            }),
            None => Ok(Self { tensors }),
        }
    }

    /// The weights as a file.
    ///
    /// # Panics
    /// Never: names and shapes are consistent by construction.
    #[must_use]
    pub fn to_safetensors(&self) -> Vec<u8> {
        let mut parts = Vec::new();
        for (name, tensor) in &self.tensors {
            match tensor {
                Tensor::Vector(values) => {
                    parts.push((name.clone(), Dtype::F32, vec![values.len()], bytes(values)));
                }
                Tensor::Matrix(matrix) => {
                    let (rows, scales) = (matrix.rows(), bytes(matrix.scales()));
                    let weights = matrix.weights().iter().map(|weight| weight.cast_unsigned());
                    let shape = vec![rows, matrix.columns()];
                    parts.push((name.clone(), Dtype::I8, shape, weights.collect()));
                    parts.push((scale_name(name), Dtype::F32, vec![rows], scales));
                }
            }
        }
        let views = parts.iter().map(|(name, kind, shape, data)| {
            let view = TensorView::new(*kind, shape.clone(), data);
            let view = view.expect("the data has the shape's size");
            (name.as_str(), view)
        });
        let metadata = [FORMAT, VERSION].map(|(key, value)| (key.to_owned(), value.to_owned()));
        safetensors::serialize(views, Some(HashMap::from(metadata)))
            .expect("every view was checked when it was made")
    }

    /// A matrix of the network that is being built.
    pub(super) fn take_matrix(&mut self, name: &str) -> Result<Matrix, Int8Error> {
        match self.tensors.remove(name) {
            Some(Tensor::Matrix(matrix)) => Ok(matrix),
            _ => Err(missing(name)),
        }
    }

    /// A vector of the network that is being built.
    pub(super) fn take_vector(&mut self, name: &str) -> Result<Vec<f32>, Int8Error> {
        match self.tensors.remove(name) {
            Some(Tensor::Vector(vector)) => Ok(vector),
            _ => Err(missing(name)),
        }
    }

    /// The weights in f32, flat, in the order of [`Weights`].
    #[cfg(test)]
    pub(super) fn dequantised(&self) -> Vec<f32> {
        let flat = self.tensors.values().flat_map(|tensor| match tensor {
            Tensor::Vector(values) => values.clone(),
            Tensor::Matrix(matrix) => (0..matrix.rows()).flat_map(|row| matrix.row(row)).collect(),
        });
        flat.collect()
    }
}

/// The elements of a row, where a tensor has rows: one dimension is a vector.
fn columns(shape: &TensorShape) -> Option<usize> {
    match shape.dimensions.as_slice() {
        [] | [_] => None,
        [_, columns @ ..] => Some(columns.iter().product()),
    }
}

fn scale_name(matrix: &str) -> String {
    format!("{matrix}{SCALES}")
}

fn missing(name: &str) -> Int8Error {
    Int8Error::Missing {
        name: name.to_owned(),
    }
}

fn metadata(bytes: &[u8]) -> Option<HashMap<String, String>> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    header.metadata().clone()
}

fn says(metadata: &HashMap<String, String>, (key, value): (&str, &str)) -> bool {
    metadata.get(key).is_some_and(|found| found == value)
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (elements, _) = bytes.as_chunks::<4>();
    let values = elements.iter().map(|&bytes| f32::from_le_bytes(bytes));
    values.collect()
}

fn check(name: &str, values: &[f32], usable: fn(f32) -> bool) -> Result<(), Int8Error> {
    match values.iter().position(|&value| !usable(value)) {
        None => Ok(()),
        Some(index) => Err(Int8Error::Value {
            name: name.to_owned(),
            index,
            value: values[index].to_string(),
        }),
    }
}
