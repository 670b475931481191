//! Which sessions this node has uploaded in, and how often for each model.
//!
//! An upload stands here, on the disk, before its first byte is sent: a coordinator that claims that
//! a round failed, or a node that crashes, must not lead to more sums of one model than the policy
//! allows.
//!
//! The file has one line an upload, `1 ROUND ATTEMPT MODEL SESSION CHECK`. CHECK is a hash over the
//! line and the check before it, so that a changed, removed or inserted line shows. A last line that
//! was not written whole is left over from a crash before its upload began, and is dropped. Lines
//! cut off at the end do not show: whoever can write this file can also read the node's keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use secagg_wire::digest::{Digest, Hasher};
use thiserror::Error;

/// The ledger's file in a node's directory.
pub const LEDGER_FILE: &str = "ledger";

/// One upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The round.
    pub round: u64,
    /// The attempt.
    pub attempt: u32,
    /// The model's digest, over what this node received.
    pub model: [u8; 32],
    /// The session's id.
    pub session: [u8; 32],
}

/// The uploads of one node. While it exists, no other process can open it.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    /// Bytes of the file that are known to be on the disk.
    len: u64,
    check: Digest,
    uploads: BTreeMap<[u8; 32], u32>,
    sessions: BTreeSet<[u8; 32]>,
}

/// Why an upload is not made.
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
        "{uploads} uploads were made for this model, the policy allows {allowed} \
         (uploads_per_model): another one could give the coordinator a second sum of it, whether or \
         not a round has failed"
    )]
    UploadsUsedUp {
        /// How many were made.
        uploads: u32,
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
        let mut ledger = Self {
            path,
            file,
            len: 0,
            check: Digest::of(LABEL),
            uploads: BTreeMap::new(),
            sessions: BTreeSet::new(),
        };
        ledger.replay(&bytes)?;
        Ok(ledger)
    }

    /// How many uploads were made for a model.
    #[must_use]
    pub fn uploads(&self, model: &[u8; 32]) -> u32 {
        self.uploads.get(model).copied().unwrap_or(0)
    }

    /// Whether an upload may be made.
    ///
    /// # Errors
    /// [`LedgerError::SessionUsed`] or [`LedgerError::UploadsUsedUp`].
    pub fn check(&self, upload: &Upload, allowed: u32) -> Result<(), LedgerError> {
        // A coordinator that repeats a session would get two sums with related masks.
        if self.sessions.contains(&upload.session) {
            let round = upload.round;
            return Err(LedgerError::SessionUsed { round });
        }
        // "It failed, try again" would otherwise give it overlapping sums of one model.
        let uploads = self.uploads(&upload.model);
        if uploads >= allowed {
            return Err(LedgerError::UploadsUsedUp { uploads, allowed });
        }
        Ok(())
    }

    /// Records an upload that is about to be made. When this returns, it is on the disk.
    ///
    /// # Errors
    /// See [`check`](Self::check), and [`LedgerError::Io`]: the upload must then not be made.
    pub fn record(&mut self, upload: &Upload, allowed: u32) -> Result<(), LedgerError> {
        self.check(upload, allowed)?;
        let content = content(upload);
        let check = next_check(&self.check, &content);
        let line = format!("{content} {check}\n");
        let written = self
            .file
            .write_all_at(line.as_bytes(), self.len)
            .and_then(|()| self.file.sync_all());
        if let Err(source) = written {
            // What came of it is cut off again; if that fails too, opening drops it.
            let _ = self.file.set_len(self.len);
            return Err(LedgerError::Io {
                path: self.path.clone(),
                source,
            });
        }
        self.len += line.len() as u64;
        self.note(upload, check);
        Ok(())
    }

    fn note(&mut self, upload: &Upload, check: Digest) {
        *self.uploads.entry(upload.model).or_insert(0) += 1;
        self.sessions.insert(upload.session);
        self.check = check;
    }

    /// Takes what the file holds, and cuts off a last line that was not written whole.
    fn replay(&mut self, bytes: &[u8]) -> Result<(), LedgerError> {
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let damaged = || LedgerError::Damaged {
                path: self.path.clone(),
                line: index + 1,
            };
            let Some(whole) = line.strip_suffix(b"\n") else {
                return self
                    .file
                    .set_len(self.len)
                    .map_err(|source| LedgerError::Io {
                        path: self.path.clone(),
                        source,
                    });
            };
            let (upload, check) = parse(whole, &self.check).ok_or_else(damaged)?;
            self.note(&upload, check);
            self.len += line.len() as u64;
        }
        Ok(())
    }
}

const LABEL: &[u8] = b"secagg/v1/node/ledger";

fn content(upload: &Upload) -> String {
    let Upload {
        round,
        attempt,
        model,
        session,
    } = upload;
    let (model, session) = (Digest::from_bytes(*model), Digest::from_bytes(*session));
    format!("1 {round} {attempt} {model} {session}")
}

fn next_check(previous: &Digest, content: &str) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(LABEL);
    hasher.update(previous.as_bytes());
    hasher.update(content.as_bytes());
    hasher.finish()
}

fn parse(line: &[u8], previous: &Digest) -> Option<(Upload, Digest)> {
    let line = std::str::from_utf8(line).ok()?;
    let (written, check) = line.rsplit_once(' ')?;
    let mut fields = written.split(' ');
    if fields.next()? != "1" {
        return None;
    }
    let upload = Upload {
        round: fields.next()?.parse().ok()?,
        attempt: fields.next()?.parse().ok()?,
        model: digest(fields.next()?)?,
        session: digest(fields.next()?)?,
    };
    let expected = next_check(previous, written);
    // The one way to write this upload, with the check that it must have after the line before.
    let same = written == content(&upload) && check == expected.to_string();
    same.then_some((upload, expected))
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn upload(model: u8, session: u8) -> Upload {
        Upload {
            round: 7,
            attempt: 1,
            model: [model; 32],
            session: [session; 32],
        }
    }

    /// Two uploads for model 1, one for model 2.
    fn filled(directory: &Path) -> PathBuf {
        let mut ledger = Ledger::open(directory).unwrap();
        for (model, session) in [(1, 10), (2, 11), (1, 12)] {
            ledger.record(&upload(model, session), 2).unwrap();
        }
        directory.join(LEDGER_FILE)
    }

    #[test]
    fn uploads_are_counted_by_model_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let mut ledger = Ledger::open(folder.path()).unwrap();
        assert_eq!(
            [1, 2, 3].map(|model| ledger.uploads(&[model; 32])),
            [2, 1, 0]
        );
        assert!(matches!(
            ledger.record(&upload(1, 13), 2),
            Err(LedgerError::UploadsUsedUp {
                uploads: 2,
                allowed: 2
            })
        ));
        ledger.record(&upload(2, 14), 2).unwrap();
        drop(ledger);
        assert_eq!(Ledger::open(folder.path()).unwrap().uploads(&[2; 32]), 2);
    }

    #[test]
    fn a_session_is_used_once() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let mut ledger = Ledger::open(folder.path()).unwrap();
        assert!(matches!(
            ledger.record(&upload(3, 11), 2),
            Err(LedgerError::SessionUsed { round: 7 })
        ));
        assert_eq!(ledger.uploads(&[3; 32]), 0);
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_dropped_wherever_it_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = filled(folder.path());
        let whole = fs::read(&path).unwrap();
        let second_line = whole.len() / 3 * 2;
        for cut in second_line + 1..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut ledger = Ledger::open(folder.path()).unwrap();
            assert_eq!(ledger.uploads(&[1; 32]), 1, "cut at {cut}");
            ledger.record(&upload(1, 12), 2).unwrap();
            drop(ledger);
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn a_changed_removed_or_swapped_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = filled(folder.path());
        let whole = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = whole.split_inclusive('\n').collect();
        let changed = whole.replacen("1 7 1", "1 8 1", 1);
        let unchecked = whole.replacen(" 0202", " 0303", 1);
        for (bad, expected) in [
            (changed, 1),
            (unchecked, 2),
            (lines[1..].concat(), 1),
            ([lines[0], lines[2]].concat(), 2),
            ([lines[0], lines[2], lines[1]].concat(), 2),
            (format!("{whole}\n"), 4),
            (whole.replacen('\n', " \n", 1), 1),
        ] {
            fs::write(&path, &bad).unwrap();
            let error = Ledger::open(folder.path()).unwrap_err();
            assert!(
                matches!(error, LedgerError::Damaged { line, .. } if line == expected),
                "{error} for\n{bad}"
            );
        }
    }

    #[test]
    fn a_second_process_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path()).unwrap();
        assert!(matches!(
            Ledger::open(folder.path()),
            Err(LedgerError::InUse { .. })
        ));
        drop(ledger);
        Ledger::open(folder.path()).unwrap();
    }
}
