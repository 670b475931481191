//! The model as the coordinator sees it: three opaque files, and a flat vector of weights
//! ([`secagg_learning::weights`]).

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use secagg_learning::weights::{Shapes, WeightsError};
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
        let shapes = Shapes::read(&initial).map_err(|error| ModelError::weights(&path, &error))?;
        // A NaN in the first weights would poison every later round.
        shapes
            .flat(&initial)
            .map_err(|error| ModelError::weights(&path, &error))?;
        Ok(Self {
            description: ModelFile::new(description),
            vocabulary: ModelFile::new(vocabulary),
            vocabulary_name,
            initial: ModelFile::new(initial),
            shapes,
        })
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
    pub(crate) fn weights(path: &Path, error: &WeightsError) -> Self {
        Self::invalid(path, &error.to_string())
    }

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
