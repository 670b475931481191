//! The events that coordinator and nodes write as JSON Lines, and how they are followed.
//!
//! Only the fields that the demo uses are named; what else a line holds is ignored.

use std::fs::File;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// An event and when it happened.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Timed<E> {
    /// Milliseconds since the process started.
    pub(crate) t_ms: f64,
    /// What happened.
    #[serde(flatten)]
    pub(crate) event: E,
}

/// What the coordinator writes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum CoordinatorEvent {
    /// It takes connections here.
    Listening { addr: String },
    /// A node's identity is known now.
    Enrolled { client: String, name: String },
    /// A node's connection is up.
    NodeConnected { client: String, name: String },
    /// A node's connection is gone.
    NodeGone { client: String },
    /// A round begins.
    RoundStarted {
        round: u64,
        attempt: u32,
        selected: u32,
    },
    /// A phase of a round has ended.
    Phase(Phase),
    /// A masked vector arrived whole.
    Upload(Upload),
    /// A round has its sum.
    RoundComplete(RoundComplete),
    /// A round fell below its threshold.
    RoundAbandoned {
        round: u64,
        attempt: u32,
        phase: String,
        reason: String,
    },
    /// Training is over.
    Finished { reason: String },
    /// An event that the demo does not use.
    #[serde(other)]
    Other,
}

/// A phase of a round, as the coordinator saw it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Phase {
    pub(crate) round: u64,
    pub(crate) attempt: u32,
    pub(crate) phase: String,
    pub(crate) wall_ms: f64,
    pub(crate) have: u32,
    #[serde(default)]
    pub(crate) lost: Vec<Lost>,
}

/// A node that a phase has lost.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Lost {
    pub(crate) client: String,
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// A masked vector as it arrived.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Upload {
    pub(crate) round: u64,
    pub(crate) attempt: u32,
    pub(crate) client: String,
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) blake3: String,
}

/// A round that has its sum. The validation figures are those of the weights that the nodes
/// received in this round, which the round before has made.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct RoundComplete {
    pub(crate) round: u64,
    pub(crate) attempt: u32,
    pub(crate) kind: String,
    pub(crate) contributors: u32,
    pub(crate) wall_ms: f64,
    pub(crate) train_loss: Option<f64>,
    pub(crate) validation: Option<Validation>,
}

/// How well weights predict held-out text.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, serde::Serialize)]
pub(crate) struct Validation {
    /// Nats a token.
    pub(crate) loss: f64,
    /// e to the loss.
    pub(crate) perplexity: f64,
    /// Share of tokens whose most probable prediction was right.
    pub(crate) top1: f64,
    /// Share of tokens that were among the three most probable predictions.
    pub(crate) top3: f64,
    /// Held-out tokens that were predicted.
    pub(crate) tokens: u64,
    /// The same with what each node mixes in of its own text; pooled training has no such thing.
    #[serde(default)]
    pub(crate) personal: Option<Personal>,
}

/// How well weights predict held-out text together with what each node mixes in of its own.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, serde::Serialize)]
pub(crate) struct Personal {
    /// Nats a token.
    pub(crate) loss: f64,
    /// Share of tokens whose most probable prediction was right.
    pub(crate) top1: f64,
    /// Share of tokens that were among the three most probable predictions.
    pub(crate) top3: f64,
}

impl Validation {
    /// What it is with what each node mixes in of its own.
    pub(crate) fn personal(&self) -> Option<Self> {
        let Personal { loss, top1, top3 } = self.personal?;
        let perplexity = loss.exp();
        Some(Self {
            loss,
            perplexity,
            top1,
            top3,
            ..*self
        })
    }
}

/// What a node writes, in a file that stays with it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum NodeEvent {
    /// A process began to write: times start anew.
    Started { unix_ms: f64 },
    /// The model and the vocabulary came.
    ModelReceived { bytes: u64 },
    /// Time spent on something.
    Span(Span),
    /// What went over its connection in a round.
    Bytes {
        round: u64,
        attempt: u32,
        up: u64,
        down: u64,
    },
    /// It stands still before a phase.
    Paused { round: u64, phase: String },
    /// A round has ended for it.
    RoundEnd {
        round: u64,
        attempt: u32,
        result: serde_json::Value,
    },
    /// Training is over.
    Finished,
    /// An event that the demo does not use.
    #[serde(other)]
    Other,
}

/// Time that a node has spent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Span {
    pub(crate) round: u64,
    pub(crate) attempt: u32,
    pub(crate) kind: SpanKind,
    pub(crate) wall_ms: f64,
    pub(crate) cpu_ms: f64,
}

/// What a span's time went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SpanKind {
    /// Training on the node's own text.
    Training,
    /// Evaluating received weights on held-out text.
    Evaluation,
    /// Keys, shares, masks.
    Cryptography,
    /// Bytes on their way.
    Network,
    /// For the coordinator and other nodes.
    Waiting,
}

impl SpanKind {
    /// In the order in which they are shown.
    pub(crate) const ALL: [Self; 5] = [
        Self::Training,
        Self::Evaluation,
        Self::Cryptography,
        Self::Network,
        Self::Waiting,
    ];

    /// The name for people, also the class in the report's style sheet.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Evaluation => "evaluation",
            Self::Cryptography => "cryptography",
            Self::Network => "network",
            Self::Waiting => "waiting",
        }
    }
}

/// Reads a file of events while it is being written.
#[derive(Debug)]
pub(crate) struct Follower<E> {
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line whose end has not been written yet.
    rest: Vec<u8>,
    event: PhantomData<E>,
}

impl<E: DeserializeOwned> Follower<E> {
    /// Follows a file from its beginning; it need not exist yet.
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
            rest: Vec::new(),
            event: PhantomData,
        }
    }

    /// The events since the last call.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or a line is no event.
    pub(crate) fn read(&mut self) -> Result<Vec<Timed<E>>> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error).with_context(|| self.cannot_read()),
            }
        }
        if let Some(file) = &mut self.file {
            let read = file.read_to_end(&mut self.rest);
            read.with_context(|| self.cannot_read())?;
        }
        let Some(end) = self.rest.iter().rposition(|&byte| byte == b'\n') else {
            return Ok(Vec::new());
        };
        let lines: Vec<u8> = self.rest.drain(..=end).collect();
        lines
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                serde_json::from_slice(line).with_context(|| {
                    let line = String::from_utf8_lossy(line);
                    format!("{}: no event of a known form: {line}", self.path.display())
                })
            })
            .collect()
    }

    fn cannot_read(&self) -> String {
        format!("cannot read the events in {}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_become_events_when_they_are_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut follower = Follower::<CoordinatorEvent>::new(&path);
        assert_eq!(follower.read().unwrap(), []);
        let mut file = File::create(&path).unwrap();
        file.write_all(b"{\"t_ms\":1.5,\"event\":\"listening\",\"addr\":\"127.0.0.1:7\"}\n{\"t_")
            .unwrap();
        let events = follower.read().unwrap();
        let addr = "127.0.0.1:7".to_owned();
        assert_eq!(events[0].event, CoordinatorEvent::Listening { addr });
        assert_eq!(events.len(), 1);
        assert_eq!(follower.read().unwrap(), []);
        file.write_all(b"ms\":2,\"event\":\"new_kind\",\"x\":[1]}\n")
            .unwrap();
        let events = follower.read().unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].event, CoordinatorEvent::Other);
    }

    #[test]
    fn a_known_event_of_another_form_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        std::fs::write(&path, "{\"t_ms\":1,\"event\":\"paused\",\"round\":\"x\"}\n").unwrap();
        let error = Follower::<NodeEvent>::new(&path).read().unwrap_err();
        let message = format!("{error:#}");
        assert!(message.contains("no event of a known form"), "{message}");
        assert!(message.contains("paused"), "{message}");
    }

    #[test]
    fn spans_and_phases_keep_their_figures() {
        let line = r#"{"t_ms":9,"event":"span","round":2,"attempt":1,"kind":"cryptography",
            "name":"mask","start_ms":4,"wall_ms":3.5,"cpu_ms":3.0}"#;
        let Timed { event, .. } = serde_json::from_str(line).unwrap();
        let NodeEvent::Span(span) = event else {
            panic!("{event:?}");
        };
        assert_eq!((span.round, span.kind), (2, SpanKind::Cryptography));
        let line = r#"{"t_ms":9,"event":"phase","round":2,"attempt":1,"phase":"unmask",
            "wall_ms":3.5,"have":10,"lost":[{"client":"ab","name":"hana","reason":"gone"}]}"#;
        let Timed { event, .. } = serde_json::from_str(line).unwrap();
        let CoordinatorEvent::Phase(phase) = event else {
            panic!("{event:?}");
        };
        assert_eq!(phase.lost[0].name, "hana");
    }
}
