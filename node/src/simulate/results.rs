//! Results as JSON Lines: one line that says what was run, and one for each round.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use secagg_wire::process::{Access, write_atomic};
use serde::{Deserialize, Serialize};

use super::SimulateError;
use crate::evaluation::Evaluation;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// The first.
    Experiment(Header),
    /// Each other, from round 0, the initial weights, on.
    Round(Box<RoundLine>),
}

/// What was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The name of the experiment's file.
    pub experiment: String,
    /// SHA-256 over all settings but `rounds.rounds`, `rounds.save_every` and `rounds.keep_last`, the
    /// model and the data, in hexadecimal.
    pub digest: String,
    /// The version of this program.
    pub version: String,
    /// Parameters of the model.
    pub parameters: u32,
    /// Virtual clients.
    pub clients: u32,
    /// Messages of all of them to train on.
    pub messages: u64,
    /// Clients of a round.
    pub cohort: u32,
    /// Neighbours of each in the protocol.
    pub degree: u32,
    /// Shares that open a seed.
    pub threshold: u32,
    /// Bits of an element of the sum.
    pub modulus_bits: u8,
    /// Whether the real protocol summed.
    pub secure_aggregation: bool,
}

/// What a round brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundLine {
    /// The round; 0 for the initial weights.
    pub round: u32,
    /// Clients that were sampled.
    pub cohort: u32,
    /// Clients that are in the sum.
    pub survivors: u32,
    /// Whether more clients were lost than the protocol bears: the weights are then as before.
    pub abandoned: bool,
    /// Mean loss in training, nats a token; null where there was no token.
    pub train_loss: Option<f64>,
    /// Tokens that were trained on.
    pub train_tokens: u64,
    /// The survivors' weights together.
    pub weight: u64,
    /// The weights after this round on the validation text; null where they were not evaluated.
    pub validation: Option<ValidationLine>,
    /// The share of the weights that is zero after this round, of those that pruning can reach; left out
    /// where nothing is pruned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparsity: Option<f64>,
    /// Bytes that a client sends in such a round: those of the protocol's messages, whether it was
    /// carried out or not.
    pub bytes_up: u64,
    /// Bytes that it receives: those of the protocol's messages and the weights; with evolution
    /// strategies, in the mean, the steps since the weights that it holds, or weights and optimiser's state.
    pub bytes_down: u64,
    /// Clients that received the weights whole. Results of before have 0.
    #[serde(default)]
    pub whole: u32,
    /// Where the time went.
    pub seconds: Seconds,
}

/// How well weights predict the validation text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationLine {
    /// Mean cross-entropy, nats a token; null where it is no finite number.
    pub loss: Option<f64>,
    /// Share of the tokens that were predicted first, 0 to 1.
    pub top1: f64,
    /// Share of the tokens that were among the first three predictions, 0 to 1.
    pub top3: f64,
    /// How many tokens.
    pub tokens: u64,
}

/// CPU seconds, of all clients together and of the server, and the seconds on the clock. On a machine
/// that does nothing else, and with one thread, they are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// Training, or drawing updates.
    pub training: f64,
    /// Encoding updates and decoding the sum; without the protocol adding as well.
    pub codec: f64,
    /// The protocol at the clients.
    pub client_cryptography: f64,
    /// The protocol at the server.
    pub server_cryptography: f64,
    /// The server's optimiser.
    pub optimizer: f64,
    /// Evaluation of the new weights.
    pub evaluation: f64,
    /// The whole round, but for saving.
    pub cpu: f64,
    /// The same, on the clock.
    pub clock: f64,
}

impl From<Evaluation> for ValidationLine {
    fn from(evaluation: Evaluation) -> Self {
        Self {
            loss: Some(evaluation.loss()).filter(|loss| loss.is_finite()),
            top1: evaluation.top1_rate(),
            top3: evaluation.top3_rate(),
            tokens: evaluation.tokens,
        }
    }
}

/// The results of one experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// What was run.
    pub header: Header,
    /// The rounds, from round 0 on.
    pub rounds: Vec<RoundLine>,
}

impl Results {
    /// Reads results that are complete up to some round.
    ///
    /// # Errors
    /// [`SimulateError`] that names the file, and the line where there is one.
    pub fn read(path: &Path) -> Result<Self, SimulateError> {
        let text = fs::read_to_string(path).map_err(|error| SimulateError::file(path, error))?;
        parse(path, &text).map(|(results, _)| results)
    }
}

/// The results, and how many bytes the lines up to each round take. A last line without an end was
/// being written when the process ended: it does not count.
fn parse(path: &Path, text: &str) -> Result<(Results, Vec<u64>), SimulateError> {
    let wrong = |line: usize, problem: String| SimulateError::Results {
        path: path.to_owned(),
        line,
        problem,
    };
    let mut header = None;
    let mut rounds: Vec<RoundLine> = Vec::new();
    let mut ends = Vec::new();
    let mut end = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let Some(json) = line.strip_suffix('\n') else {
            break;
        };
        end += line.len() as u64;
        let line: Line =
            serde_json::from_str(json).map_err(|error| wrong(number, error.to_string()))?;
        match (line, &header) {
            (Line::Experiment(first), None) => header = Some(first),
            (Line::Round(round), Some(_)) if round.round as usize == rounds.len() => {
                rounds.push(*round);
                ends.push(end);
            }
            _ => return Err(wrong(number, "it is out of order".to_owned())),
        }
    }
    let header = header.ok_or_else(|| wrong(1, "the experiment's line is missing".to_owned()))?;
    Ok((Results { header, rounds }, ends))
}

/// The results of a run that goes on. One process has it at a time.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Begins a new file, in place of one that is there.
    pub(super) fn create(path: &Path, header: &Header) -> Result<Self, SimulateError> {
        let failed = |error| SimulateError::file(path, error);
        let first = line(&Line::Experiment(header.clone()))?;
        write_atomic(path, first.as_bytes(), Access::Shared).map_err(failed)?;
        let (mut log, _) = Self::locked(path)?;
        log.file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(log)
    }

    /// Opens a file; with what stands in it, and how many bytes the lines up to each round take.
    /// `None` where there is none.
    pub(super) fn open(path: &Path) -> Result<Option<(Self, Results, Vec<u64>)>, SimulateError> {
        if !path.exists() {
            return Ok(None);
        }
        let (log, text) = Self::locked(path)?;
        let (results, ends) = parse(path, &text)?;
        Ok(Some((log, results, ends)))
    }

    fn locked(path: &Path) -> Result<(Self, String), SimulateError> {
        let failed = |error| SimulateError::file(path, error);
        let mut file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(SimulateError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let path = path.to_owned();
        Ok((Self { path, file }, text))
    }

    /// Forgets what comes after so many bytes.
    pub(super) fn truncate(&mut self, len: u64) -> Result<(), SimulateError> {
        self.file
            .set_len(len)
            .and_then(|()| self.file.seek(SeekFrom::End(0)))
            .map(drop)
            .map_err(|error| SimulateError::file(&self.path, error))
    }

    /// Adds a round.
    pub(super) fn append(&mut self, round: &RoundLine) -> Result<(), SimulateError> {
        let text = line(&Line::Round(Box::new(round.clone())))?;
        self.file
            .write_all(text.as_bytes())
            .map_err(|error| SimulateError::file(&self.path, error))
    }

    /// Waits until all lines are on the disk.
    pub(super) fn sync(&self) -> Result<(), SimulateError> {
        self.file
            .sync_data()
            .map_err(|error| SimulateError::file(&self.path, error))
    }
}

fn line(line: &Line) -> Result<String, SimulateError> {
    let mut text = serde_json::to_string(line)
        .map_err(|error| SimulateError::file(Path::new("results"), io::Error::other(error)))?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::simulate) fn header(experiment: &str) -> Header {
        Header {
            experiment: experiment.to_owned(),
            digest: "ab".to_owned(),
            version: "0".to_owned(),
            parameters: 1,
            clients: 4,
            messages: 9,
            cohort: 3,
            degree: 2,
            threshold: 2,
            modulus_bits: 18,
            secure_aggregation: true,
        }
    }

    pub(in crate::simulate) fn round(round: u32, top1: Option<f64>) -> RoundLine {
        RoundLine {
            round,
            cohort: 3,
            survivors: 3,
            abandoned: false,
            train_loss: Some(4.0),
            train_tokens: 70,
            weight: 9,
            validation: top1.map(|top1| ValidationLine {
                loss: Some(5.0 - top1),
                top1,
                top3: top1,
                tokens: 50,
            }),
            sparsity: None,
            bytes_up: 1_000_000,
            bytes_down: 2_000_000,
            whole: 3,
            seconds: Seconds::default(),
        }
    }

    #[test]
    fn lines_come_back_and_a_torn_one_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        assert!(Log::open(&path).unwrap().is_none());
        let mut log = Log::create(&path, &header("one")).unwrap();
        for number in 0..3 {
            log.append(&round(number, Some(0.1))).unwrap();
        }
        assert!(matches!(Log::open(&path), Err(SimulateError::InUse { .. })));
        drop(log);
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, whole.clone() + "{\"kind\":\"rou").unwrap();
        let (mut log, results, ends) = Log::open(&path).unwrap().unwrap();
        assert_eq!(results.header, header("one"));
        assert_eq!(results.rounds.len(), 3);
        assert_eq!(ends.last(), Some(&(whole.len() as u64)));
        log.truncate(ends[1]).unwrap();
        log.append(&round(2, None)).unwrap();
        log.sync().unwrap();
        let results = Results::read(&path).unwrap();
        assert_eq!(results.rounds[2], round(2, None));
    }

    #[test]
    fn what_is_no_result_is_named_with_its_line() {
        let good = line(&Line::Experiment(header("one"))).unwrap();
        let second = line(&Line::Round(Box::new(round(1, None)))).unwrap();
        for (text, line, problem) in [
            (String::new(), 1, "missing"),
            ("{}\n".to_owned(), 1, "kind"),
            (good.clone() + "{\"kind\":\"round\"}\n", 2, "round"),
            (good.clone() + &good, 2, "out of order"),
            (good + &second, 2, "out of order"),
        ] {
            match parse(Path::new("r"), &text) {
                Err(SimulateError::Results {
                    line: found,
                    problem: said,
                    ..
                }) => {
                    assert_eq!(found, line, "{text}");
                    assert!(said.contains(problem), "{said}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
