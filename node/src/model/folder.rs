//! A folder that holds one model: description, vocabulary, weights.

use std::fs;
use std::path::{Path, PathBuf};

use secagg_wire::process::{Access, write_atomic};
use thiserror::Error;

use super::{DescriptionError, ModelDescription, Weights, WeightsError};
use crate::vocabulary::{Tokenization, Vocabulary, VocabularyError};

/// The description's file.
pub const DESCRIPTION_FILE: &str = "model.toml";
/// The vocabulary's file, where each line is a token.
pub const VOCABULARY_FILE: &str = "vocabulary.txt";
/// The vocabulary's file, where a tokenizer makes the tokens.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// The file of the weights that training starts from.
pub const INITIAL_FILE: &str = "initial.safetensors";
/// The file of the newest weights that a node has received.
pub const CURRENT_FILE: &str = "current.safetensors";

/// A model's description and vocabulary, checked to belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFiles {
    /// The description.
    pub description: ModelDescription,
    /// The vocabulary; as many tokens as the description says.
    pub vocabulary: Vocabulary,
}

/// Why a model could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The description is wrong.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// The vocabulary is wrong.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    /// The weights are wrong.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A file is not UTF-8 text.
    #[error("the model's {what} is not UTF-8 text")]
    NotUtf8 {
        /// Which of the files.
        what: &'static str,
    },
    /// Description and vocabulary do not belong together.
    #[error(
        "the vocabulary has {found} tokens, the special ones included; the model's description says \
         {expected}"
    )]
    VocabularySize {
        /// How many tokens the vocabulary has.
        found: usize,
        /// How many the description says.
        expected: u32,
    },
    /// The vocabulary is of another kind.
    #[error(
        "the vocabulary is for text = \"{found}\"; the model's description says \"{expected}\""
    )]
    OtherText {
        /// What its tokens are.
        found: &'static str,
        /// What the description says.
        expected: &'static str,
    },
}

impl ModelDescription {
    /// Reads the bytes of a description's file.
    ///
    /// # Errors
    /// [`ModelError::NotUtf8`] or [`ModelError::Description`].
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        Ok(Self::parse(utf8("description", bytes)?)?)
    }
}

impl ModelFiles {
    /// Checks that description and vocabulary belong together.
    ///
    /// # Errors
    /// [`ModelError::VocabularySize`] or [`ModelError::OtherText`] if they do not.
    pub fn new(description: ModelDescription, vocabulary: Vocabulary) -> Result<Self, ModelError> {
        let expected = description.vocabulary();
        let (text, found) = (description.text(), vocabulary.tokenization());
        if text != found {
            return Err(ModelError::OtherText {
                found: found.as_str(),
                expected: text.as_str(),
            });
        }
        if vocabulary.len() != expected as usize {
            return Err(ModelError::VocabularySize {
                found: vocabulary.len(),
                expected,
            });
        }
        Ok(Self {
            description,
            vocabulary,
        })
    }

    /// Reads both out of the bytes of their files, as a node receives them.
    ///
    /// # Errors
    /// A [`ModelError`] that says which of the two is wrong, and where.
    pub fn from_bytes(description: &[u8], vocabulary: &[u8]) -> Result<Self, ModelError> {
        let description = ModelDescription::of_bytes(description)?;
        let vocabulary = utf8("vocabulary", vocabulary)?;
        let vocabulary = Vocabulary::read(description.text(), vocabulary)?;
        Self::new(description, vocabulary)
    }

    /// Reads both out of a model's folder.
    ///
    /// # Errors
    /// A [`ModelError`] that names the file.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let description = read(&folder.join(DESCRIPTION_FILE))?;
        let file = vocabulary_file(ModelDescription::of_bytes(&description)?.text());
        Self::from_bytes(&description, &read(&folder.join(file))?)
    }

    /// Reads weights of this model out of a safetensors file.
    ///
    /// # Errors
    /// A [`ModelError`] that names the file, or the tensor and what is wrong with it.
    pub fn read_weights(&self, path: &Path) -> Result<Weights, ModelError> {
        Ok(Weights::from_safetensors(&read(path)?, &self.description)?)
    }

    /// Writes the model's folder with its initial weights; each file whole or not at all.
    ///
    /// # Errors
    /// [`ModelError::Io`] that names the file.
    pub fn write(&self, folder: &Path, initial: &Weights) -> Result<(), ModelError> {
        fs::create_dir_all(folder).map_err(|source| ModelError::Io {
            path: folder.to_owned(),
            source,
        })?;
        let vocabulary = vocabulary_file(self.description.text());
        // Of a model that stood here before: two vocabularies would leave open which one counts.
        for other in [VOCABULARY_FILE, TOKENIZER_FILE] {
            let path = folder.join(other);
            if other != vocabulary && path.exists() {
                fs::remove_file(&path).map_err(|source| ModelError::Io { path, source })?;
            }
        }
        for (file, bytes) in [
            (vocabulary, self.vocabulary.to_text().into_bytes()),
            (INITIAL_FILE, initial.to_safetensors()),
            (DESCRIPTION_FILE, self.description.to_toml().into_bytes()),
        ] {
            let path = folder.join(file);
            write_atomic(&path, &bytes, Access::Shared)
                .map_err(|source| ModelError::Io { path, source })?;
        }
        Ok(())
    }
}

/// The name of a vocabulary's file.
pub(crate) const fn vocabulary_file(tokenization: Tokenization) -> &'static str {
    match tokenization {
        Tokenization::Units(_) => VOCABULARY_FILE,
        Tokenization::Tokenizer => TOKENIZER_FILE,
    }
}

/// The newest weights in a model's folder: those last received, else the initial ones.
#[must_use]
pub fn newest_weights(folder: &Path) -> PathBuf {
    let current = folder.join(CURRENT_FILE);
    if current.exists() {
        current
    } else {
        folder.join(INITIAL_FILE)
    }
}

fn utf8<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str, ModelError> {
    std::str::from_utf8(bytes).map_err(|_| ModelError::NotUtf8 { what })
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    fs::read(path).map_err(|source| ModelError::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sizes;
    use crate::vocabulary::{TextUnits, TokenizerModel, train};

    fn files() -> ModelFiles {
        let vocabulary = Vocabulary::from_text(["see you soon"], 7).unwrap();
        let sizes = Sizes {
            vocabulary: 7,
            embedding: 2,
            units: 3,
            output_bias: true,
        };
        ModelFiles::new(ModelDescription::cifg_lstm(sizes, 1).unwrap(), vocabulary).unwrap()
    }

    #[test]
    fn a_folder_gives_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("model");
        let initial = Weights::initial(&files().description);
        files().write(&folder, &initial).unwrap();
        let read = ModelFiles::read(&folder).unwrap();
        assert_eq!(read, files());
        assert_eq!(newest_weights(&folder), folder.join(INITIAL_FILE));
        assert_eq!(
            read.read_weights(&newest_weights(&folder)).unwrap(),
            initial
        );
        fs::write(folder.join(CURRENT_FILE), b"").unwrap();
        assert_eq!(newest_weights(&folder), folder.join(CURRENT_FILE));
    }

    #[test]
    fn description_and_vocabulary_must_belong_together() {
        let files = files();
        let other = files.vocabulary.to_text() + "extra\n";
        let error =
            ModelFiles::from_bytes(files.description.to_toml().as_bytes(), other.as_bytes())
                .unwrap_err();
        assert!(
            matches!(
                error,
                ModelError::VocabularySize {
                    found: 8,
                    expected: 7
                }
            ),
            "{error}"
        );
        let error = ModelFiles::from_bytes(b"\xff", other.as_bytes()).unwrap_err();
        assert!(
            matches!(
                error,
                ModelError::NotUtf8 {
                    what: "description"
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_tokenizer_lies_in_the_place_of_the_vocabulary_as_it_was_made() {
        let source = train(TokenizerModel::WordLevel, ["see you soon"].into_iter(), 7).unwrap();
        let tokenizer = Vocabulary::read(Tokenization::Tokenizer, &source).unwrap();
        let of = |text: Tokenization| {
            ModelDescription::of(text, files().description.architecture(), 1).unwrap()
        };
        let tokens = ModelFiles::new(of(Tokenization::Tokenizer), tokenizer.clone()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        // One takes the place of the other.
        for (model, file, other) in [
            (&files(), VOCABULARY_FILE, TOKENIZER_FILE),
            (&tokens, TOKENIZER_FILE, VOCABULARY_FILE),
            (&files(), VOCABULARY_FILE, TOKENIZER_FILE),
        ] {
            model
                .write(folder, &Weights::initial(&model.description))
                .unwrap();
            assert_eq!(&ModelFiles::read(folder).unwrap(), model);
            assert!(folder.join(file).exists() && !folder.join(other).exists());
            let kept = fs::read_to_string(folder.join(file)).unwrap();
            assert_eq!(kept == source, file == TOKENIZER_FILE);
        }
        let error = ModelFiles::new(of(TextUnits::Words.into()), tokenizer).unwrap_err();
        assert!(
            matches!(
                error,
                ModelError::OtherText {
                    found: "tokenizer",
                    expected: "words"
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = ModelFiles::read(folder.path()).unwrap_err();
        assert!(
            matches!(&error, ModelError::Io { path, .. } if path.ends_with(DESCRIPTION_FILE)),
            "{error}"
        );
    }
}
