//! Weights and optimiser state as files, and how they and the history stay together.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use secagg_learning::{ServerOptimizer, ServerOptimizerConfig, best_round};
use secagg_wire::{
    digest::Digest,
    process::{Access, write_atomic},
};

use super::{Completed, KeptStep, Participant, Round, Store, StoreError, history, unix_now};
use crate::{
    model::{Model, ModelFile},
    retention::Retention,
};

/// The folder `weights/`.
#[derive(Clone, Debug)]
pub struct WeightsFolder {
    path: PathBuf,
}

/// What the next round starts from.
#[derive(Debug)]
pub struct Weights {
    /// The round that made the weights; 0 for the initial ones.
    pub round: u64,
    /// The weights' file.
    pub file: ModelFile,
    /// The server's optimiser with its state.
    pub optimizer: ServerOptimizer,
}

impl WeightsFolder {
    /// The folder at that path, created when it is missing.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn new(path: PathBuf) -> Result<Self, StoreError> {
        fs::create_dir_all(&path).map_err(|error| StoreError::File {
            path: path.clone(),
            error,
        })?;
        Ok(Self { path })
    }

    /// Where the weights after a round lie.
    #[must_use]
    pub fn weights_of(&self, round: u64) -> PathBuf {
        self.path.join(format!("round-{round:04}.safetensors"))
    }

    /// Where the optimiser's state after a round lies.
    #[must_use]
    pub fn optimizer_of(&self, round: u64) -> PathBuf {
        self.path.join(format!("optimizer-{round:04}.safetensors"))
    }

    /// Loads what the last complete round left, and removes files of rounds that never counted.
    ///
    /// # Errors
    /// When a file of a complete round is missing or is not the one of the history, or when the
    /// state is that of another optimiser.
    pub fn recover(
        &self,
        rounds: &[Round],
        model: &Model,
        optimizer: &ServerOptimizerConfig,
    ) -> Result<Weights, StoreError> {
        let len = model.shapes.parameters() as usize;
        let Some(last) = history::last_training(rounds) else {
            self.remove_after(0)?;
            let path = self.optimizer_of(0);
            return Ok(Weights {
                round: 0,
                file: model.initial.clone(),
                optimizer: ServerOptimizer::new(optimizer, len)
                    .map_err(|error| invalid(&path, &error))?,
            });
        };
        let round = last.completed.round;
        self.remove_after(round)?;
        let path = self.weights_of(round);
        let bytes = read_checked(&path, last.completed.weights)?;
        model
            .shapes
            .flat(&bytes)
            .map_err(|error| invalid(&path, &error))?;
        let state_path = self.optimizer_of(round);
        let state = match last.completed.optimizer {
            Some(digest) => Some(read_checked(&state_path, Some(digest))?),
            None => None,
        };
        Ok(Weights {
            round,
            file: ModelFile::new(bytes),
            optimizer: ServerOptimizer::from_file(optimizer, len, state.as_deref()).map_err(
                |error| StoreError::Weights {
                    path: state_path,
                    reason: format!(
                        "{error}; the optimiser of [server] cannot change once rounds are done"
                    ),
                },
            )?,
        })
    }

    /// Step 1 of a commit: writes the files. Without step 2 they do not count. The file of the
    /// optimiser's state is returned, where it has one.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn write(
        &self,
        round: u64,
        weights: &[u8],
        optimizer: &ServerOptimizer,
    ) -> Result<Option<ModelFile>, StoreError> {
        write(&self.weights_of(round), weights)?;
        let Some(state) = optimizer.to_file() else {
            return Ok(None);
        };
        write(&self.optimizer_of(round), &state)?;
        Ok(Some(ModelFile::new(state)))
    }

    /// Step 3 of a commit: deletes what the rule gives up.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn retain(&self, rule: &Retention, rounds: &[Round]) -> Result<(), StoreError> {
        let best = best_round(&history::validation_by_weights(rounds)).map(u64::from);
        let saved = self.saved()?;
        for round in rule.obsolete(&saved, best) {
            remove(&self.weights_of(round))?;
        }
        // Only the newest state can be gone on from.
        if let Some(newest) = saved.last() {
            for round in saved.iter().filter(|round| *round != newest) {
                remove(&self.optimizer_of(*round))?;
            }
        }
        Ok(())
    }

    /// The rounds whose weights are there.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn saved(&self) -> Result<BTreeSet<u64>, StoreError> {
        Ok(self
            .files()?
            .into_iter()
            .filter(|(_, kind, _)| *kind == "round")
            .map(|(round, ..)| round)
            .collect())
    }

    fn remove_after(&self, round: u64) -> Result<(), StoreError> {
        for (of, _, path) in self.files()? {
            if of > round {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<(u64, &'static str, PathBuf)>, StoreError> {
        let failed = |error| StoreError::File {
            path: self.path.clone(),
            error,
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.and_then(|name| name.strip_suffix(".safetensors")) else {
                continue;
            };
            for kind in ["round", "optimizer"] {
                let number = name
                    .strip_prefix(kind)
                    .and_then(|name| name.strip_prefix('-'));
                if let Some(round) = number.and_then(|number| number.parse().ok()) {
                    files.push((round, kind, path.clone()));
                }
            }
        }
        Ok(files)
    }
}

impl Store {
    /// Steps 2 and 3 of a commit.
    ///
    /// # Errors
    /// When SQLite or the file system fails.
    pub fn commit(
        &mut self,
        folder: &WeightsFolder,
        rule: &Retention,
        completed: &Completed,
        participants: &[Participant],
        step: Option<&KeptStep>,
    ) -> Result<Vec<Round>, StoreError> {
        self.complete_round(completed, participants, step, unix_now())?;
        let rounds = self.rounds()?;
        folder.retain(rule, &rounds)?;
        Ok(rounds)
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write_atomic(path, bytes, Access::Shared).map_err(|error| StoreError::File {
        path: path.to_owned(),
        error,
    })
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::File {
            path: path.to_owned(),
            error,
        }),
        _ => Ok(()),
    }
}

fn read_checked(path: &Path, expected: Option<Digest>) -> Result<Vec<u8>, StoreError> {
    let bytes = fs::read(path).map_err(|error| StoreError::File {
        path: path.to_owned(),
        error,
    })?;
    let expected = expected.ok_or(StoreError::Corrupt {
        what: "the digest of a round's weights",
    })?;
    let found = Digest::of(&bytes);
    if found == expected {
        return Ok(bytes);
    }
    Err(StoreError::Digest {
        path: path.to_owned(),
        found,
        expected,
    })
}

fn invalid(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Weights {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
