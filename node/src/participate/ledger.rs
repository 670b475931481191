//! What this node did in which rounds, and what it may still do.
//!
//! Every step stands here, on the disk, before it is done: a coordinator that claims that a round
//! failed, or a node that crashes, must not lead to more sums of one model, or to more rounds in a
//! day, than the policy allows. The lines are also the node's receipts: `secagg-node audit` shows
//! them.
//!
//! The file has one line a step, `CHECK JSON`. CHECK is a hash over the check of the line before and
//! the JSON, so that a changed, removed or inserted line shows. A last line that was not written
//! whole is left over from a crash before its step was done, and is dropped. Lines cut off at the end
//! show only to who has noted a later check: whoever can write this file can also read the node's
//! keys.

mod entry;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use secagg_wire::digest::{Digest, Hasher};
use thiserror::Error;

pub use self::entry::{Entry, Hash, Join, Reveal, Step, Upload, architecture, elements};

/// The ledger's file in a node's directory.
pub const LEDGER_FILE: &str = "ledger";

/// A day, in seconds.
const DAY: u64 = 24 * 3600;

/// What a node's policy says about its rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Uploads for one model.
    pub uploads_per_model: u32,
    /// Rounds that may be joined in 24 hours.
    pub rounds_per_day: u32,
}

/// The steps of one node. While it exists, no other process can open it to write.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    /// Bytes of the file that are known to be on the disk.
    len: u64,
    check: Hash,
    uploads: BTreeMap<Hash, u32>,
    uploaded: BTreeSet<Hash>,
    /// When each session was joined.
    joined: BTreeMap<Hash, u64>,
}

/// Why a step is not done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// This session was used before.
    #[error("round {round} was uploaded in before, in this very session")]
    SessionUsed {
        /// The round.
        round: u64,
    },
    /// The policy allows no further upload for this model.
    #[error(
        "uploads made for this model: {uploads}, allowed by the policy: {allowed} \
         (uploads_per_model): another one could give the coordinator a second sum of it, whether or \
         not a round has failed"
    )]
    UploadsUsedUp {
        /// How many were made.
        uploads: u32,
        /// How many the policy allows.
        allowed: u32,
    },
    /// The policy allows no further round today.
    #[error(
        "{rounds} rounds were joined within 24 hours, the policy's rounds_per_day is {allowed}"
    )]
    RoundsUsedUp {
        /// How many were joined.
        rounds: u32,
        /// How many the policy allows.
        allowed: u32,
    },
    /// Another process has this node's directory.
    #[error("{}: another process runs as this node; end that one first", path.display())]
    InUse {
        /// The ledger's file.
        path: PathBuf,
    },
    /// A line is not what was written.
    #[error(
        "{}, line {line}: changed or damaged. This file keeps a coordinator from getting several \
         sums of one model; put it back from a copy. (Without it, all models count as never \
         uploaded for.)", path.display()
    )]
    Damaged {
        /// The ledger's file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The ledger's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A ledger as it stands on the disk, for people to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// All whole lines: the check and the entry.
    pub lines: Vec<(Hash, Entry)>,
    /// Whether a last line is not whole: it is being written, or a crash cut it off.
    pub cut: bool,
}

impl Ledger {
    /// Opens the ledger of a node's directory, or begins one.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] with the line, [`LedgerError::InUse`], [`LedgerError::Io`].
    pub fn open(directory: &Path) -> Result<Self, LedgerError> {
        let path = directory.join(LEDGER_FILE);
        let failed = |source| LedgerError::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LedgerError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        File::open(directory)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let record = Record::parse(&path, &bytes)?;
        let mut ledger = Self {
            path,
            file,
            len: 0,
            check: first_check(),
            uploads: BTreeMap::new(),
            uploaded: BTreeSet::new(),
            joined: BTreeMap::new(),
        };
        for (check, entry) in &record.lines {
            ledger.note(entry, *check);
            ledger.len += line(*check, entry).len() as u64;
        }
        if record.cut {
            ledger.cut_off().map_err(|source| ledger.failed(source))?;
        }
        Ok(ledger)
    }

    /// How many uploads were made for a model.
    #[must_use]
    pub fn uploads(&self, model: &Hash) -> u32 {
        self.uploads.get(model).copied().unwrap_or(0)
    }

    /// Whether a step may be done.
    ///
    /// # Errors
    /// [`LedgerError::SessionUsed`], [`LedgerError::UploadsUsedUp`] or
    /// [`LedgerError::RoundsUsedUp`].
    pub fn check(&self, entry: &Entry, limits: Limits) -> Result<(), LedgerError> {
        match &entry.step {
            Step::Join(join) => {
                self.check_upload(entry, &join.model, limits)?;
                self.check_rounds(entry, limits)
            }
            Step::Upload(upload) => self.check_upload(entry, &upload.model, limits),
            Step::Reveal(_) | Step::Leave { .. } => Ok(()),
        }
    }

    fn check_upload(&self, entry: &Entry, model: &Hash, limits: Limits) -> Result<(), LedgerError> {
        // A coordinator that repeats a session would get two sums with related masks.
        if self.uploaded.contains(&entry.session) {
            let round = entry.round;
            return Err(LedgerError::SessionUsed { round });
        }
        // V-40. "It failed, try again" would otherwise give it overlapping sums of one model.
        let (uploads, allowed) = (self.uploads(model), limits.uploads_per_model);
        if uploads >= allowed {
            return Err(LedgerError::UploadsUsedUp { uploads, allowed });
        }
        Ok(())
    }

    fn check_rounds(&self, entry: &Entry, limits: Limits) -> Result<(), LedgerError> {
        // V-41. Rounds with almost the same nodes and almost the same model tell of the difference.
        // A round that the clock puts into the future counts: it was set back since.
        let since = entry.at.saturating_sub(DAY);
        let within = |(session, at): &(&Hash, &u64)| **session != entry.session && **at > since;
        let rounds = u32::try_from(self.joined.iter().filter(within).count()).unwrap_or(u32::MAX);
        let allowed = limits.rounds_per_day;
        if rounds >= allowed {
            return Err(LedgerError::RoundsUsedUp { rounds, allowed });
        }
        Ok(())
    }

    /// Records a step that is about to be done. When this returns, it is on the disk.
    ///
    /// # Errors
    /// See [`check`](Self::check), and [`LedgerError::Io`]: the step must then not be done.
    pub fn record(&mut self, entry: &Entry, limits: Limits) -> Result<(), LedgerError> {
        self.check(entry, limits)?;
        let check = next_check(self.check, &entry.to_text());
        let line = line(check, entry);
        let written = self
            .file
            .write_all_at(line.as_bytes(), self.len)
            .and_then(|()| self.file.sync_all());
        if let Err(source) = written {
            // What came of it is cut off again; if that fails too, opening drops it.
            let _ = self.cut_off();
            return Err(self.failed(source));
        }
        self.len += line.len() as u64;
        self.note(entry, check);
        Ok(())
    }

    fn note(&mut self, entry: &Entry, check: Hash) {
        match &entry.step {
            Step::Join(_) => {
                self.joined.insert(entry.session, entry.at);
            }
            Step::Upload(upload) => {
                *self.uploads.entry(upload.model).or_insert(0) += 1;
                self.uploaded.insert(entry.session);
            }
            Step::Reveal(_) | Step::Leave { .. } => {}
        }
        self.check = check;
    }

    fn cut_off(&self) -> io::Result<()> {
        self.file.set_len(self.len)
    }

    fn failed(&self, source: io::Error) -> LedgerError {
        LedgerError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

impl Record {
    /// Reads and checks the ledger of a node's directory, also while the node runs.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] with the line, [`LedgerError::Io`].
    pub fn read(directory: &Path) -> Result<Self, LedgerError> {
        let path = directory.join(LEDGER_FILE);
        match fs::read(&path) {
            Ok(bytes) => Self::parse(&path, &bytes),
            Err(source) => Err(LedgerError::Io { path, source }),
        }
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, LedgerError> {
        let mut lines = Vec::new();
        let mut last = first_check();
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let Some(whole) = line.strip_suffix(b"\n") else {
                return Ok(Self { lines, cut: true });
            };
            let (check, entry) = parse(whole, last).ok_or_else(|| LedgerError::Damaged {
                path: path.to_owned(),
                line: index + 1,
            })?;
            last = check;
            lines.push((check, entry));
        }
        Ok(Self { lines, cut: false })
    }

    /// The check of the last line: it stands for the whole record.
    #[must_use]
    pub fn check(&self) -> Hash {
        self.lines
            .last()
            .map_or_else(first_check, |(check, _)| *check)
    }
}

const LABEL: &[u8] = b"secagg/v1/node/ledger";

fn first_check() -> Hash {
    Digest::of(LABEL).into()
}

fn next_check(previous: Hash, text: &str) -> Hash {
    let mut hasher = Hasher::new();
    hasher.update(LABEL);
    hasher.update(previous.as_bytes());
    hasher.update(text.as_bytes());
    hasher.finish().into()
}

fn line(check: Hash, entry: &Entry) -> String {
    format!("{check} {}\n", entry.to_text())
}

/// A line's entry, if it is written in the one way that there is, with the check that it must have
/// after the line before.
fn parse(line: &[u8], previous: Hash) -> Option<(Hash, Entry)> {
    let line = std::str::from_utf8(line).ok()?;
    let (check, text) = line.split_once(' ')?;
    let entry = Entry::parse(text)?;
    let expected = next_check(previous, text);
    (check == expected.to_string()).then_some((expected, entry))
}
