//! The coordinator's model as this node keeps it: the folder `model` in its directory.
//!
//! Files are known by their digests. What is on the disk is used only if it has the digest that the
//! coordinator names now, so that a changed file is fetched again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use secagg_wire::digest::{Digest, FileDigest};
use secagg_wire::process::{Access, create_private_folder, write_atomic};
use thiserror::Error;

use crate::model::{CURRENT_FILE, DESCRIPTION_FILE, INITIAL_FILE, vocabulary_file};
use crate::vocabulary::Tokenization;

/// The folder in a node's directory that holds the model received from its coordinator.
pub const MODEL_FOLDER: &str = "model";

/// A file of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelFile {
    /// The description.
    Description,
    /// The vocabulary, whose name on the disk says what kind it is.
    Vocabulary(Tokenization),
    /// The weights that training started from.
    Initial,
    /// The weights of the last round.
    Current,
    /// The server's optimiser after them, where the node makes its steps itself.
    Optimizer,
}

impl ModelFile {
    /// What it is, in events and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Description => "description",
            Self::Vocabulary(_) => "vocabulary",
            Self::Initial => "initial",
            Self::Current => "weights",
            Self::Optimizer => "optimizer",
        }
    }

    const fn file_name(self) -> &'static str {
        match self {
            Self::Description => DESCRIPTION_FILE,
            Self::Vocabulary(tokenization) => vocabulary_file(tokenization),
            Self::Initial => INITIAL_FILE,
            Self::Current => CURRENT_FILE,
            Self::Optimizer => "optimizer.safetensors",
        }
    }
}

/// Bytes together with their digest. A value that exists was hashed as it was received or read.
#[derive(Clone, Debug)]
pub struct Received {
    bytes: Vec<u8>,
    digest: Digest,
}

impl Received {
    /// Bytes that the transfer has hashed and found to be `expected`.
    pub(super) fn checked(bytes: Vec<u8>, expected: &FileDigest) -> Self {
        Self {
            bytes,
            digest: expected.sha256,
        }
    }

    /// Bytes that were made or read here.
    pub(super) fn hashed(bytes: Vec<u8>) -> Self {
        let digest = Digest::of(&bytes);
        Self { bytes, digest }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their SHA-256.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// The folder.
#[derive(Clone, Debug)]
pub struct ModelCache {
    folder: PathBuf,
}

/// A file of the model could not be read or written.
#[derive(Debug, Error)]
#[error("{}: {source}", path.display())]
pub struct CacheError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl ModelCache {
    /// The folder in a node's directory; made when the first file is stored.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            folder: directory.join(MODEL_FOLDER),
        }
    }

    /// The file, if it is there and is the expected one.
    ///
    /// # Errors
    /// [`CacheError`] when it is there and cannot be read.
    pub fn read(
        &self,
        file: ModelFile,
        expected: &FileDigest,
    ) -> Result<Option<Received>, CacheError> {
        let path = self.path(file);
        let found = fs::metadata(&path).and_then(|metadata| {
            // A file of another length is another file: no need to read it.
            if metadata.len() != expected.len {
                return Ok(None);
            }
            fs::read(&path).map(Some)
        });
        match found {
            Ok(Some(bytes)) if Digest::of(&bytes) == expected.sha256 => {
                Ok(Some(Received::checked(bytes, expected)))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CacheError { path, source }),
        }
    }

    /// The file, if it is there and has at most `cap` bytes, whichever it is.
    ///
    /// # Errors
    /// [`CacheError`] when it is there and cannot be read.
    pub fn read_any(&self, file: ModelFile, cap: u64) -> Result<Option<Received>, CacheError> {
        let path = self.path(file);
        let found = fs::metadata(&path).and_then(|metadata| match metadata.len() <= cap {
            true => fs::read(&path).map(Some),
            false => Ok(None),
        });
        match found {
            Ok(bytes) => Ok(bytes.map(Received::hashed)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CacheError { path, source }),
        }
    }

    /// Keeps a file, whole or not at all.
    ///
    /// # Errors
    /// [`CacheError`].
    pub fn store(&self, file: ModelFile, received: &Received) -> Result<(), CacheError> {
        let path = self.path(file);
        create_private_folder(&self.folder)
            .and_then(|()| write_atomic(&path, received.bytes(), Access::Owner))
            .map_err(|source| CacheError { path, source })
    }

    /// Removes the newest weights and what belongs to them: they belong to a model that is about to be replaced.
    ///
    /// # Errors
    /// [`CacheError`].
    pub fn forget_current(&self) -> Result<(), CacheError> {
        for file in [ModelFile::Current, ModelFile::Optimizer] {
            let path = self.path(file);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(CacheError { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, file: ModelFile) -> PathBuf {
        self.folder.join(file.file_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::TextUnits;

    #[test]
    fn a_file_is_found_by_its_digest_only() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ModelCache::new(folder.path());
        let expected = FileDigest::of(b"weights");
        assert!(cache.read(ModelFile::Current, &expected).unwrap().is_none());
        let received = Received::checked(b"weights".to_vec(), &expected);
        cache.store(ModelFile::Current, &received).unwrap();
        let found = cache.read(ModelFile::Current, &expected).unwrap().unwrap();
        assert_eq!(
            (found.bytes(), found.digest()),
            (&b"weights"[..], &expected.sha256)
        );
        for other in [FileDigest::of(b"Weights"), FileDigest::of(b"more weights")] {
            assert!(cache.read(ModelFile::Current, &other).unwrap().is_none());
        }
        assert!(cache.read(ModelFile::Initial, &expected).unwrap().is_none());
    }

    #[test]
    fn a_file_that_was_changed_on_the_disk_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ModelCache::new(folder.path());
        let expected = FileDigest::of(b"vocabulary");
        let received = Received::checked(b"vocabulary".to_vec(), &expected);
        cache
            .store(ModelFile::Vocabulary(TextUnits::Words.into()), &received)
            .unwrap();
        fs::write(
            cache.path(ModelFile::Vocabulary(TextUnits::Words.into())),
            b"vocabulArY",
        )
        .unwrap();
        assert!(
            cache
                .read(ModelFile::Vocabulary(TextUnits::Words.into()), &expected)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn current_weights_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ModelCache::new(folder.path());
        cache.forget_current().unwrap();
        let expected = FileDigest::of(b"weights");
        let received = Received::checked(b"weights".to_vec(), &expected);
        cache.store(ModelFile::Current, &received).unwrap();
        cache.forget_current().unwrap();
        assert!(cache.read(ModelFile::Current, &expected).unwrap().is_none());
    }
}
