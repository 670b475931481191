//! The folder of a coordinator: where each thing lies, and who may run it.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// Paths within a coordinator's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at that path.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `coordinator.toml`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.0.join("coordinator.toml")
    }

    /// The coordinator's TLS identity.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.0.join("identity")
    }

    /// The model's description, vocabulary and initial weights.
    #[must_use]
    pub fn model(&self) -> PathBuf {
        self.0.join("model")
    }

    /// The weights after each round.
    #[must_use]
    pub fn weights(&self) -> PathBuf {
        self.0.join("weights")
    }

    /// History, registry and tokens.
    #[must_use]
    pub fn history(&self) -> PathBuf {
        self.0.join("history.sqlite")
    }

    /// Takes the folder for one running coordinator, until the lock is dropped or the process ends.
    ///
    /// # Errors
    /// When another coordinator runs in it.
    pub fn lock(&self) -> Result<Lock, LockError> {
        let path = self.0.join("lock");
        let failed = |error| LockError::Io {
            path: path.clone(),
            error,
        };
        let file = File::create(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Running {
                path: self.0.clone(),
            }),
            Err(error) => Err(failed(error.into())),
        }
    }
}

/// Holds a folder.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a folder could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another coordinator has it.
    #[error("a coordinator is running in {} already", path.display())]
    Running {
        /// The folder.
        path: PathBuf,
    },
    /// The lock file cannot be used.
    #[error("cannot lock {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_coordinator_runs_in_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder::new(folder.path());
        let lock = folder.lock().unwrap();
        assert!(matches!(folder.lock(), Err(LockError::Running { .. })));
        drop(lock);
        assert!(folder.lock().is_ok());
    }
}
