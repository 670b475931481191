//! Events as JSON Lines: what happened when, by a monotonic clock of this process.
//!
//! Each line is `{"t_ms": …, "event": "…", …}` and is written at once, so that a killed process
//! leaves all lines up to its end. Nothing of it is sent to anybody.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    marker::PhantomData,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};

use crate::digest::Digest;

/// Where events go: a file, or nowhere. Clones write to the same file.
#[derive(Clone, Debug, Default)]
pub struct EventLog(Option<Arc<Mutex<File>>>);

impl EventLog {
    /// Events go nowhere.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Events are appended to a file, beginning with `started {pid, unix_ms}`: a process that is
    /// started again begins a new part.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        // The clock starts with the log, not with the first event.
        process_start();
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let log = Self(Some(Arc::new(Mutex::new(file))));
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        log.event(
            "started",
            json!({ "pid": std::process::id(), "unix_ms": milliseconds(unix) }),
        );
        Ok(log)
    }

    /// To a file when there is one.
    ///
    /// # Errors
    /// See [`to_file`](Self::to_file).
    pub fn to_optional_file(path: Option<&Path>) -> io::Result<Self> {
        path.map_or(Ok(Self::none()), Self::to_file)
    }

    /// Whether events go anywhere.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes one event. `fields` is an object; anything else becomes its field `value`. A file
    /// that cannot be written to loses the event, never the round.
    ///
    /// # Security
    /// Events are plain text on the disk: no secret and nothing of the private text belongs there.
    pub fn event(&self, name: &str, fields: Value) {
        let Some(file) = &self.0 else { return };
        let mut line = Map::new();
        line.insert("t_ms".to_owned(), json!(now_ms()));
        line.insert("event".to_owned(), json!(name));
        match fields {
            Value::Object(fields) => line.extend(fields),
            Value::Null => {}
            other => {
                line.insert("value".to_owned(), other);
            }
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        // One write a line, so that a killed process leaves no half of one.
        let _ = file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(text.as_bytes());
    }

    /// Measures synchronous work on this thread and writes it as a span.
    pub fn measure<T>(
        &self,
        round: Round,
        kind: SpanKind,
        name: &str,
        work: impl FnOnce() -> T,
    ) -> T {
        let span = Span::start(kind, Cpu::Thread);
        let result = work();
        span.finish(self, round, name);
        result
    }
}

/// Which round an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// The round.
    pub round: u64,
    /// The attempt.
    pub attempt: u32,
}

/// What a span's time was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Evaluating received weights.
    Evaluation,
    /// Training.
    Training,
    /// Keys, shares, masks.
    Cryptography,
    /// Bytes on their way.
    Network,
    /// For others.
    Waiting,
}

impl SpanKind {
    /// The name in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evaluation => "evaluation",
            Self::Training => "training",
            Self::Cryptography => "cryptography",
            Self::Network => "network",
            Self::Waiting => "waiting",
        }
    }
}

/// Whose CPU time a span counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpu {
    /// This thread's: for work that stays on it.
    Thread,
    /// The whole process's: for work that a library spreads over threads of its own.
    Process,
    /// Nobody's: for work that waits in an async task. `cpu_ms` is then 0.
    None,
}

/// A measurement that is running. [`SpanTimer`] is the one to hold across an `await`.
#[derive(Debug)]
pub struct Span {
    timer: SpanTimer,
    /// A thread's CPU time means something on that thread only: this type is not `Send`.
    thread: PhantomData<*const ()>,
}

impl Span {
    /// Starts to measure.
    #[must_use]
    pub fn start(kind: SpanKind, cpu: Cpu) -> Self {
        let timer = SpanTimer {
            kind,
            start: Instant::now(),
            cpu,
            cpu_start: cpu.now(),
        };
        Self {
            timer,
            thread: PhantomData,
        }
    }

    /// Ends the measurement and writes it: `span {round, attempt, kind, name, start_ms, wall_ms,
    /// cpu_ms}`.
    pub fn finish(self, log: &EventLog, round: Round, name: &str) -> Measured {
        self.timer.finish(log, round, name)
    }
}

/// A measurement of wall time (and, if asked for, the process's CPU time) that may move between
/// threads.
#[derive(Debug)]
pub struct SpanTimer {
    kind: SpanKind,
    start: Instant,
    cpu: Cpu,
    cpu_start: Duration,
}

impl SpanTimer {
    /// Starts to measure wall time only.
    #[must_use]
    pub fn start(kind: SpanKind) -> Self {
        Self {
            kind,
            start: Instant::now(),
            cpu: Cpu::None,
            cpu_start: Duration::ZERO,
        }
    }

    /// Starts to measure wall time and the whole process's CPU time.
    #[must_use]
    pub fn start_with_process_cpu(kind: SpanKind) -> Self {
        Self {
            kind,
            start: Instant::now(),
            cpu: Cpu::Process,
            cpu_start: Cpu::Process.now(),
        }
    }

    /// Ends the measurement and writes it; see [`Span::finish`].
    pub fn finish(self, log: &EventLog, round: Round, name: &str) -> Measured {
        let measured = Measured {
            wall: self.start.elapsed(),
            cpu: self.cpu.now().saturating_sub(self.cpu_start),
        };
        log.event(
            "span",
            json!({
                "round": round.round,
                "attempt": round.attempt,
                "kind": self.kind.as_str(),
                "name": name,
                "start_ms": milliseconds(self.start.saturating_duration_since(process_start())),
                "wall_ms": milliseconds(measured.wall),
                "cpu_ms": milliseconds(measured.cpu),
            }),
        );
        measured
    }
}

/// What a span took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Time on the wall.
    pub wall: Duration,
    /// CPU time, of what [`Cpu`] says.
    pub cpu: Duration,
}

/// Milliseconds since this process began to count.
#[must_use]
pub fn now_ms() -> f64 {
    milliseconds(process_start().elapsed())
}

/// A duration in milliseconds, to the microsecond.
#[must_use]
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// A digest as events show it.
impl From<Digest> for Value {
    fn from(digest: Digest) -> Self {
        Self::String(digest.to_string())
    }
}

impl Cpu {
    fn now(self) -> Duration {
        let clock = match self {
            Self::Thread => ClockId::ThreadCPUTime,
            Self::Process => ClockId::ProcessCPUTime,
            Self::None => return Duration::ZERO,
        };
        Duration::try_from(clock_gettime(clock)).unwrap_or_default()
    }
}

fn process_start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn events_are_lines_in_the_order_of_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let log = EventLog::to_file(&path).unwrap();
        log.event("connected", json!({}));
        log.clone().event(
            "uploaded",
            json!({ "bytes": 3, "sha256": Digest::of(b"abc") .to_string()}),
        );
        let lines = lines(&path);
        let names: Vec<_> = lines
            .iter()
            .map(|line| line["event"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["started", "connected", "uploaded"]);
        assert_eq!(lines[2]["bytes"], 3);
        let times: Vec<_> = lines
            .iter()
            .map(|line| line["t_ms"].as_f64().unwrap())
            .collect();
        assert!(times.is_sorted());
    }

    #[test]
    fn a_second_process_appends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        drop(EventLog::to_file(&path).unwrap());
        EventLog::to_file(&path)
            .unwrap()
            .event("finished", Value::Null);
        let lines = lines(&path);
        let names: Vec<_> = lines
            .iter()
            .map(|line| line["event"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["started", "started", "finished"]);
    }

    #[test]
    fn a_span_counts_the_work_of_its_thread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let log = EventLog::to_file(&path).unwrap();
        let round = Round {
            round: 4,
            attempt: 1,
        };
        let digest = log.measure(round, SpanKind::Cryptography, "mask", || {
            Digest::of(&vec![1; 4 << 20])
        });
        assert_ne!(digest, Digest::of(b""));
        let waited = SpanTimer::start(SpanKind::Waiting).finish(&log, round, "nothing");
        assert_eq!(waited.cpu, Duration::ZERO);
        let lines = lines(&path);
        assert_eq!(lines[1]["event"], "span");
        assert_eq!(lines[1]["kind"], "cryptography");
        assert_eq!(lines[1]["name"], "mask");
        assert_eq!(
            (&lines[1]["round"], &lines[1]["attempt"]),
            (&json!(4), &json!(1))
        );
        let cpu = lines[1]["cpu_ms"].as_f64().unwrap();
        assert!(cpu > 0.0, "{cpu}");
        assert_eq!(lines[2]["kind"], "waiting");
    }

    #[test]
    fn no_log_writes_nothing() {
        let log = EventLog::to_optional_file(None).unwrap();
        assert!(!log.is_on());
        log.event("connected", json!({}));
    }
}
