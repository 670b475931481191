//! Messages at rest: encrypted, split into training and held-out.
//!
//! Each file that a user adds becomes one sealed record in the folder `text/` of the node's
//! directory, beside the key. Held-out messages are never trained on.

mod record;
mod seal;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use secagg_wire::process::{Access, PrivateFileError, create_private_folder, write_atomic};
use thiserror::Error;
use zeroize::Zeroizing;

use self::record::Record;
use self::seal::Key;

/// Every message at a place divisible by this, counted from 1 in the order of adding, is held out.
pub const HELD_OUT_EVERY: u64 = 10;

const FOLDER: &str = "text";
const KEY_FILE: &str = "key";
const LOCK_FILE: &str = "lock";
const RECORD_PREFIX: &str = "text-";
const RECORD_SUFFIX: &str = ".sealed";

/// Which messages of an added file are held out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Every tenth message, in the order of adding over all files added so.
    EveryTenth,
    /// None.
    TrainingOnly,
    /// All.
    HeldOutOnly,
}

/// What adding a file did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The messages were sealed into a new record.
    New {
        /// How many of them are for training.
        training: usize,
        /// How many of them are held out.
        held_out: usize,
    },
    /// The very same messages, split in the same manner, were added before: nothing was done.
    AlreadyThere,
}

/// The messages of a node, in the order of adding; wiped from memory when dropped.
#[derive(Default)]
pub struct StoredText {
    /// For training.
    pub training: Vec<Zeroizing<String>>,
    /// For evaluation alone.
    pub held_out: Vec<Zeroizing<String>>,
}

impl std::fmt::Debug for StoredText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "StoredText({} for training, {} held out)",
            self.training.len(),
            self.held_out.len()
        )
    }
}

/// Why the stored text could not be read or added to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No text was ever added to this directory.
    #[error("{path} holds no text; add some with `secagg-node add`")]
    NoText {
        /// The node's directory.
        path: PathBuf,
    },
    /// The key is gone, but there is text that it sealed.
    #[error(
        "{path}: the key is missing, and the text beside it cannot be read without it; \
         put the key back, or delete the folder and add the text again"
    )]
    KeyMissing {
        /// Where the key must be.
        path: PathBuf,
    },
    /// The key cannot be read, or others can read it too.
    #[error(transparent)]
    Key(#[from] PrivateFileError),
    /// The key is not 32 bytes long.
    #[error("{path}: the key is {found} bytes long instead of 32")]
    KeyLength {
        /// The key's file.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
    /// A record is of a later version, or not one at all.
    #[error("{path}: not a text record of version {}", seal::VERSION)]
    NotARecord {
        /// The record's file.
        path: PathBuf,
    },
    /// A record was changed since it was written, or sealed with another key.
    #[error(
        "{path}: damaged, tampered with, or sealed with another key; \
         restore the file, or delete it and add its text again"
    )]
    Tampered {
        /// The record's file.
        path: PathBuf,
    },
    /// There was nothing to add.
    #[error("there is no message to add")]
    NothingToAdd,
    /// The system gave no randomness.
    #[error("the system gave no randomness: {0}")]
    Randomness(getrandom::Error),
}

/// The encrypted messages of one node.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    key: Key,
}

impl Store {
    /// Opens the store of a node's directory.
    ///
    /// # Errors
    /// [`StoreError::NoText`] when there is none; otherwise what is wrong with the key.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let folder = directory.join(FOLDER);
        if !folder.is_dir() {
            return Err(StoreError::NoText {
                path: directory.to_owned(),
            });
        }
        let path = folder.join(KEY_FILE);
        if !path.exists() {
            return Err(if record_numbers(&folder)?.is_empty() {
                StoreError::NoText {
                    path: directory.to_owned(),
                }
            } else {
                StoreError::KeyMissing { path }
            });
        }
        let key = Key::read(&path)?;
        Ok(Self { folder, key })
    }

    /// Opens the store of a node's directory, or makes an empty one with a new key.
    ///
    /// # Errors
    /// What is wrong with the key, or why the store could not be made.
    pub fn open_or_create(directory: &Path) -> Result<Self, StoreError> {
        let folder = directory.join(FOLDER);
        create_private_folder(&folder).map_err(io(&folder))?;
        let _lock = lock(&folder)?;
        let path = folder.join(KEY_FILE);
        if !path.exists() {
            if !record_numbers(&folder)?.is_empty() {
                return Err(StoreError::KeyMissing { path });
            }
            Key::create(&path)?;
        }
        let key = Key::read(&path)?;
        Ok(Self { folder, key })
    }

    /// Seals the messages of one file into a new record: all of them, or, after an error, none.
    ///
    /// # Errors
    /// A [`StoreError`] that names the file that could not be read or written.
    pub fn add(&self, messages: &[Zeroizing<String>], split: Split) -> Result<Added, StoreError> {
        if messages.is_empty() {
            return Err(StoreError::NothingToAdd);
        }
        let _lock = lock(&self.folder)?;
        let digest = record::digest(messages, split);
        let mut place = 0;
        let mut number = 0;
        for stored in record_numbers(&self.folder)? {
            let record = self.read(stored)?;
            if record.digest == digest {
                return Ok(Added::AlreadyThere);
            }
            place = place.max(record.place);
            number = stored;
        }
        let record = Record::new(messages, split, digest, place);
        let held_out = record
            .messages
            .iter()
            .filter(|(held_out, _)| *held_out)
            .count();
        let path = self.path(number + 1);
        let sealed = self.key.seal(number + 1, &record.encode())?;
        write_atomic(&path, &sealed, Access::Owner).map_err(io(&path))?;
        Ok(Added::New {
            training: messages.len() - held_out,
            held_out,
        })
    }

    /// All messages, decrypted.
    ///
    /// # Errors
    /// [`StoreError::Tampered`] or [`StoreError::NotARecord`] for a damaged record; what the system
    /// says for one that cannot be read.
    pub fn load(&self) -> Result<StoredText, StoreError> {
        let mut text = StoredText::default();
        for number in record_numbers(&self.folder)? {
            for (held_out, message) in self.read(number)?.messages {
                let part = if held_out {
                    &mut text.held_out
                } else {
                    &mut text.training
                };
                part.push(message);
            }
        }
        Ok(text)
    }

    fn read(&self, number: u64) -> Result<Record, StoreError> {
        let path = self.path(number);
        let sealed = fs::read(&path).map_err(io(&path))?;
        let plain = self.key.open(number, &sealed, &path)?;
        Record::decode(&plain).ok_or(StoreError::NotARecord { path })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder
            .join(format!("{RECORD_PREFIX}{number:06}{RECORD_SUFFIX}"))
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source }
}

/// Keeps two processes from adding at the same time; released when dropped.
fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK_FILE);
    let file = File::create(&path).map_err(io(&path))?;
    file.lock().map_err(io(&path))?;
    Ok(file)
}

/// The numbers of all records, ascending.
fn record_numbers(folder: &Path) -> Result<Vec<u64>, StoreError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let name = entry.map_err(io(folder))?.file_name();
        let number: Option<u64> = name
            .to_str()
            .and_then(|name| {
                name.strip_prefix(RECORD_PREFIX)?
                    .strip_suffix(RECORD_SUFFIX)
            })
            .and_then(|number| number.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests;
