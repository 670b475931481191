//! Weights as files: safetensors, and the flat vector that everything else here computes with.
//!
//! The flat vector is the concatenation of all tensors in ascending order of their names, row by
//! row. What the tensors mean is the nodes' business alone.

use std::borrow::Cow;

use safetensors::{Dtype, SafeTensorError, SafeTensors, View};

use crate::plan::{Parts, TensorsError};

/// Names and shapes of a model's tensors, in ascending order of the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shapes {
    tensors: Vec<(String, Vec<usize>)>,
    parameters: u32,
}

impl Shapes {
    /// Those of a safetensors file whose tensors are all f32.
    ///
    /// # Errors
    /// [`WeightsError`].
    pub fn read(bytes: &[u8]) -> Result<Self, WeightsError> {
        let file = SafeTensors::deserialize(bytes)?;
        let mut tensors = Vec::with_capacity(file.len());
        let mut parameters = 0_usize;
        for (name, view) in file.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(WeightsError::Kind {
                    name: name.to_owned(),
                    kind: format!("{:?}", view.dtype()),
                });
            }
            parameters += view.data().len() / 4;
            tensors.push((name.to_owned(), view.shape().to_vec()));
        }
        tensors.sort_unstable();
        match u32::try_from(parameters) {
            Ok(parameters) if parameters > 0 => Ok(Self {
                tensors,
                parameters,
            }),
            _ => Err(WeightsError::Parameters { count: parameters }),
        }
    }

    /// Elements of the flat vector.
    #[must_use]
    pub fn parameters(&self) -> u32 {
        self.parameters
    }

    /// Names and dimensions, in the flat vector's order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        let tensors = self.tensors.iter();
        tensors.map(|(name, shape)| (name.as_str(), shape.as_slice()))
    }

    /// Where tensors or rows of them lie in the flat vector; see [`Parts::of_tensors`].
    ///
    /// # Errors
    /// [`TensorsError`] that names the pattern.
    pub fn parts(&self, patterns: &[String]) -> Result<Parts, TensorsError> {
        let tensors = self.tensors.iter();
        let tensors = tensors.map(|(name, shape)| (name.as_str(), shape.as_slice()));
        Parts::of_tensors(tensors, patterns)
    }

    /// The flat vector of a file with these names and shapes.
    ///
    /// # Errors
    /// [`WeightsError`]; also for an element that is not finite.
    pub fn flat(&self, bytes: &[u8]) -> Result<Vec<f32>, WeightsError> {
        let found = Self::read(bytes)?;
        if found != *self {
            return Err(WeightsError::Shapes);
        }
        let file = SafeTensors::deserialize(bytes)?;
        let mut flat = Vec::with_capacity(self.parameters as usize);
        for (name, _) in &self.tensors {
            let (elements, _) = file.tensor(name)?.data().as_chunks::<4>();
            flat.extend(elements.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        }
        match flat.iter().position(|element| !element.is_finite()) {
            Some(index) => Err(WeightsError::NotFinite { index }),
            None => Ok(flat),
        }
    }

    /// The file `like`, which has these names and shapes, with other weights. There is one copy of
    /// the weights more afterwards, and none on the way.
    ///
    /// # Errors
    /// [`WeightsError::Length`] when the vector has another length than the model,
    /// [`WeightsError::Shapes`] when `like` is no file of this model.
    pub fn file(&self, flat: &[f32], like: &[u8]) -> Result<Vec<u8>, WeightsError> {
        if flat.len() != self.parameters as usize {
            return Err(WeightsError::Length {
                found: flat.len(),
                expected: self.parameters,
            });
        }
        if Self::read(like)? != *self {
            return Err(WeightsError::Shapes);
        }
        let (header_len, metadata) = SafeTensors::read_metadata(like)?;
        let data = 8 + header_len;
        let mut file = like.to_vec();
        let mut rest = flat;
        for (name, shape) in &self.tensors {
            let (elements, after) = rest.split_at(shape.iter().product());
            rest = after;
            let (start, end) = metadata
                .info(name)
                .ok_or(WeightsError::Shapes)?
                .data_offsets;
            let bytes = file
                .get_mut(data + start..data + end)
                .ok_or(WeightsError::Shapes)?;
            let (places, _) = bytes.as_chunks_mut::<4>();
            for (place, element) in places.iter_mut().zip(elements) {
                *place = element.to_le_bytes();
            }
        }
        Ok(file)
    }
}

/// One tensor of a flat vector; its bytes are made when they are written.
#[derive(Clone, Copy, Debug)]
pub struct FloatView<'a> {
    /// Its dimensions, outermost first.
    pub shape: &'a [usize],
    /// As many elements as the dimensions multiply to.
    pub elements: &'a [f32],
}

impl View for FloatView<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.data_len());
        for element in self.elements {
            bytes.extend_from_slice(&element.to_le_bytes());
        }
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.elements.len() * 4
    }
}

/// Why weights cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// It is no safetensors file.
    #[error("it is no safetensors file: {0}")]
    Format(#[from] SafeTensorError),
    /// A tensor is not of f32.
    #[error("tensor {name:?} is of kind {kind}, only F32 can be trained")]
    Kind {
        /// The tensor.
        name: String,
        /// Its kind.
        kind: String,
    },
    /// No parameter, or too many.
    #[error("it has {count} parameters, allowed are 1 to 4294967295")]
    Parameters {
        /// How many.
        count: usize,
    },
    /// Other tensors than the model's.
    #[error("its tensors have other names or shapes than those of the initial weights")]
    Shapes,
    /// A tensor has the name that another's scales or bitmap have on the way down.
    #[error(
        "tensor {name:?} has the name of another one's scales or bitmap: rename it, or set \
         rounds.weights_down to \"f32\", without rounds.pruning"
    )]
    ScaleName {
        /// The tensor.
        name: String,
    },
    /// A vector of another length than the model's.
    #[error("a vector of {found} elements, the model has {expected}")]
    Length {
        /// Its length.
        found: usize,
        /// The model's.
        expected: u32,
    },
    /// An infinite element, or no number.
    #[error("element {index} is not a finite number")]
    NotFinite {
        /// Where in the flat vector.
        index: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
        let views = tensors
            .iter()
            .map(|(name, shape, elements)| (*name, FloatView { shape, elements }));
        safetensors::serialize(views, None).unwrap()
    }

    #[test]
    fn the_flat_vector_is_in_the_order_of_names() {
        let bytes = file(&[("b", &[2], &[3.0, 4.0]), ("a", &[1, 2], &[1.0, 2.0])]);
        let shapes = Shapes::read(&bytes).unwrap();
        assert_eq!(shapes.parameters(), 4);
        let flat = shapes.flat(&bytes).unwrap();
        assert_eq!(flat, [1.0, 2.0, 3.0, 4.0]);
        let other = [5.0, 6.0, 7.0, 8.0];
        let again = shapes.file(&other, &bytes).unwrap();
        assert_eq!(shapes.flat(&again).unwrap(), other);
        assert_eq!(shapes.file(&flat, &again).unwrap(), bytes);
        assert!(matches!(
            shapes.file(&flat[1..], &bytes),
            Err(WeightsError::Length {
                found: 3,
                expected: 4
            })
        ));
    }

    #[test]
    fn tensors_are_chosen_by_name_or_by_its_beginning() {
        let bytes = file(&[
            ("a", &[2], &[1.0, 2.0]),
            ("b_1", &[1], &[3.0]),
            ("b_2", &[2], &[4.0, 5.0]),
            ("c", &[1], &[6.0]),
        ]);
        let shapes = Shapes::read(&bytes).unwrap();
        let parts = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            shapes.parts(&names)
        };
        assert_eq!(parts(&[]), Ok(Parts::ALL));
        assert_eq!(parts(&["b_1"]), Ok(Parts::new(Some(2..3)).unwrap()));
        assert_eq!(parts(&["b_*"]), Ok(Parts::new(Some(2..5)).unwrap()));
        assert_eq!(
            parts(&["c", "a", "b_2"]),
            Ok(Parts::new([0..2, 3..6]).unwrap())
        );
        assert_eq!(
            parts(&["a", "b"]),
            Err(TensorsError::Unknown {
                pattern: "b".to_owned(),
                names: "a, b_1, b_2, c".to_owned()
            })
        );
    }

    #[test]
    fn weights_of_another_model_or_without_sense_are_refused() {
        let bytes = file(&[("a", &[2], &[1.0, 2.0])]);
        let shapes = Shapes::read(&bytes).unwrap();
        let other = file(&[("a", &[1, 2], &[1.0, 2.0])]);
        assert!(matches!(shapes.flat(&other), Err(WeightsError::Shapes)));
        let nan = file(&[("a", &[2], &[1.0, f32::NAN])]);
        assert!(matches!(
            shapes.flat(&nan),
            Err(WeightsError::NotFinite { index: 1 })
        ));
        assert!(matches!(
            Shapes::read(b"nothing"),
            Err(WeightsError::Format(_))
        ));
    }
}
