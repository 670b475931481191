//! The model as the coordinator sees it: three opaque files, and a flat vector of weights.
//!
//! The flat vector is the concatenation of all tensors in ascending order of their names, row by
//! row. What the tensors mean is the nodes' business alone.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use safetensors::{Dtype, SafeTensorError, SafeTensors, View};
use secagg_learning::{Parts, TensorsError};
use secagg_wire::digest::FileDigest;

/// The description's file name in a model folder.
pub const DESCRIPTION: &str = "model.toml";
/// The file name of a vocabulary of lines.
pub const VOCABULARY: &str = "vocabulary.txt";
/// The file name of a tokenizer, which stands in the place of a vocabulary.
pub const TOKENIZER: &str = "tokenizer.json";
/// The initial weights' file name.
pub const INITIAL: &str = "initial.safetensors";

/// A model folder that was read and checked.
#[derive(Debug)]
pub struct Model {
    /// `model.toml`.
    pub description: ModelFile,
    /// `vocabulary.txt` or `tokenizer.json`.
    pub vocabulary: ModelFile,
    /// Which of the two it is.
    pub vocabulary_name: &'static str,
    /// `initial.safetensors`.
    pub initial: ModelFile,
    /// Names and shapes of the tensors.
    pub shapes: Shapes,
}

/// A file with its digest.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// Length and SHA-256.
    pub digest: FileDigest,
    /// The content, shared by all downloads.
    pub bytes: Bytes,
}

impl ModelFile {
    /// A file of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            digest: FileDigest::of(&bytes),
            bytes: bytes.into(),
        }
    }
}

impl Model {
    /// Reads and checks a model folder.
    ///
    /// # Errors
    /// [`ModelError`] that names the file and what is wrong with it.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let description = read(folder, DESCRIPTION, MAX_DESCRIPTION)?;
        let path = folder.join(DESCRIPTION);
        let text = text(&path, &description)?;
        toml::from_str::<toml::Table>(text)
            .map_err(|error| ModelError::invalid(&path, error.to_string().trim_end()))?;
        let (vocabulary_name, vocabulary) = read_vocabulary(folder)?;
        let initial = read(folder, INITIAL, MAX_WEIGHTS)?;
        let path = folder.join(INITIAL);
        let shapes = Shapes::read(&initial).map_err(|error| error.at(&path))?;
        // A NaN in the first weights would poison every later round.
        shapes.flat(&initial).map_err(|error| error.at(&path))?;
        Ok(Self {
            description: ModelFile::new(description),
            vocabulary: ModelFile::new(vocabulary),
            vocabulary_name,
            initial: ModelFile::new(initial),
            shapes,
        })
    }
}

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
pub(crate) struct FloatView<'a> {
    pub(crate) shape: &'a [usize],
    pub(crate) elements: &'a [f32],
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
    #[error("its tensors have other names or shapes than those of {INITIAL}")]
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

impl WeightsError {
    pub(crate) fn at(&self, path: &Path) -> ModelError {
        ModelError::invalid(path, &self.to_string())
    }
}

/// Why a model folder was refused.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file cannot be read.
    #[error(
        "cannot read {}: {error}: a model folder holds {DESCRIPTION}, {VOCABULARY} or {TOKENIZER}, and \
         {INITIAL}, as `secagg-node init-model` writes them",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{} cannot be used: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl ModelError {
    fn invalid(path: &Path, reason: &str) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

const MAX_DESCRIPTION: u64 = 64 << 10;
const MAX_VOCABULARY: u64 = 64 << 20;
/// No node takes a longer one.
const MAX_TOKENIZER: u64 = 16 << 20;
const MAX_WEIGHTS: u64 = 8 << 30;

fn read(folder: &Path, name: &str, max: u64) -> Result<Vec<u8>, ModelError> {
    let path = folder.join(name);
    let failed = |error| ModelError::Read {
        path: path.clone(),
        error,
    };
    let len = fs::metadata(&path).map_err(failed)?.len();
    if len > max {
        let reason = format!("it has {len} bytes, allowed are at most {max}");
        return Err(ModelError::invalid(&path, &reason));
    }
    fs::read(&path).map_err(failed)
}

fn text<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, ModelError> {
    std::str::from_utf8(bytes).map_err(|error| ModelError::invalid(path, &error.to_string()))
}

/// The vocabulary or the tokenizer, whichever there is.
fn read_vocabulary(folder: &Path) -> Result<(&'static str, Vec<u8>), ModelError> {
    let tokenizer = folder.join(TOKENIZER);
    if !tokenizer.exists() {
        let vocabulary = read(folder, VOCABULARY, MAX_VOCABULARY)?;
        check_vocabulary(&folder.join(VOCABULARY), &vocabulary)?;
        return Ok((VOCABULARY, vocabulary));
    }
    if folder.join(VOCABULARY).exists() {
        let reason = format!("{VOCABULARY} is there too; remove the one that the model is not of");
        return Err(ModelError::invalid(&tokenizer, &reason));
    }
    let bytes = read(folder, TOKENIZER, MAX_TOKENIZER)?;
    // What it says is the nodes' business, as what the lines of a vocabulary mean.
    serde_json::from_str::<serde::de::IgnoredAny>(text(&tokenizer, &bytes)?)
        .map_err(|error| ModelError::invalid(&tokenizer, &error.to_string()))?;
    Ok((TOKENIZER, bytes))
}

fn check_vocabulary(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let mut seen = BTreeSet::new();
    for (index, token) in text(path, bytes)?.lines().enumerate() {
        if token.is_empty() || !seen.insert(token) {
            let line = index + 1;
            let reason = format!("line {line} is {token:?}; every line is a token of its own");
            return Err(ModelError::invalid(path, &reason));
        }
    }
    if seen.is_empty() {
        return Err(ModelError::invalid(path, "it has no token"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
