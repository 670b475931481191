//! What outlives the process: history, registry and tokens in SQLite, weights as files.
//!
//! # The order of a commit
//!
//! 1. `weights/round-NNNN.safetensors` and, for an optimiser with state,
//!    `weights/optimizer-NNNN.safetensors` are written, each atomically and flushed to the disk.
//! 2. One transaction inserts the round's row with the SHA-256 of both files, and, with evolution
//!    strategies, its step. It is the commit.
//! 3. Weights that the retention rule gives up are deleted.
//!
//! A crash before 2 leaves files without a row: they are removed at the next start, and the round
//! is repeated. A crash after 2 leaves a complete round. A row whose file is missing or has another
//! SHA-256 is an error that names the file: nothing is guessed.

pub(crate) mod history;
mod registry;
mod schema;
mod steps;
mod weights;

use std::{path::Path, sync::Arc};

use rusqlite::Connection;

pub use self::{
    history::{Abandoned, Attempt, Completed, Figures, Participant, Round},
    registry::{IssuedToken, Node, Upload},
    steps::KeptStep,
    weights::{Weights, WeightsFolder},
};

/// The database.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Opens the database, and creates it when it is missing.
    ///
    /// # Errors
    /// When it cannot be opened or is of a later version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        schema::prepare(&connection)?;
        Ok(Self { connection })
    }
}

/// A database for several tasks: each piece of work runs on a thread where blocking is allowed.
#[derive(Clone, Debug)]
pub struct StoreHandle(Arc<std::sync::Mutex<Store>>);

impl StoreHandle {
    /// Shares a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self(Arc::new(std::sync::Mutex::new(store)))
    }

    /// Does one piece of work.
    ///
    /// # Errors
    /// Those of the work; [`StoreError::Panicked`] when it panicked.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            // A transaction that panicked was rolled back: the store behind the lock is sound.
            let mut store = store
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            work(&mut store)
        })
        .await
        .map_err(|_| StoreError::Panicked)?
    }
}

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("history.sqlite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The database was written by another version.
    #[error("history.sqlite has version {found}, this program knows version {known}")]
    Version {
        /// The database's.
        found: i64,
        /// This program's.
        known: i64,
    },
    /// A row holds what this program never writes.
    #[error("history.sqlite: {what} is not valid")]
    Corrupt {
        /// What.
        what: &'static str,
    },
    /// A file cannot be read or written.
    #[error("cannot access {}: {error}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not the one of the history.
    #[error(
        "{} is not the file that the history knows: its SHA-256 is {found}, expected {expected}; \
         restore it from a copy",
        path.display()
    )]
    Digest {
        /// The file.
        path: std::path::PathBuf,
        /// Its digest.
        found: secagg_wire::digest::Digest,
        /// The history's.
        expected: secagg_wire::digest::Digest,
    },
    /// Weights or optimiser state are not what the model or the optimiser needs.
    #[error("{}: {reason}", path.display())]
    Weights {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        reason: String,
    },
    /// Work on the store panicked.
    #[error("internal error: work on the store panicked")]
    Panicked,
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}
