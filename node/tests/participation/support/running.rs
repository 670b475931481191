//! A node in this process, its text and its events.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secagg_node::participate::node::{Node, Options};
use secagg_node::participate::service::{self, RunEnd, RunError};
use secagg_node::participate::shutdown::{Shutdown, ShutdownSender};
use secagg_node::store::{Split, Store};
use secagg_wire::events::EventLog;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::{WAIT, WORDS};

/// A node that runs in this process.
pub(crate) struct Running {
    pub(crate) task: JoinHandle<Result<RunEnd, RunError>>,
    pub(crate) shutdown: ShutdownSender,
    pub(crate) events: PathBuf,
}

pub(crate) fn options() -> Options {
    Options {
        seed: Some(1),
        // Tests run on laptops, too.
        any_time: true,
        ..Options::default()
    }
}

pub(crate) fn run(directory: &Path, options: Options) -> Running {
    let events = directory.join("events.jsonl");
    let log = EventLog::to_file(&events).unwrap();
    let node = Arc::new(Node::open(directory, log, options).unwrap());
    let (sender, shutdown) = Shutdown::new();
    Running {
        task: tokio::spawn(service::run(node, shutdown)),
        shutdown: sender,
        events,
    }
}

impl Running {
    pub(crate) async fn ended(self) -> Result<RunEnd, RunError> {
        tokio::time::timeout(WAIT, self.task)
            .await
            .expect("the node ends")
            .unwrap()
    }
}

/// The events of a kind so far.
pub(crate) fn events(path: &Path, name: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["event"] == name)
        .collect()
}

/// `count` messages for training, two held out.
pub(crate) fn messages(count: usize) -> (Vec<String>, Vec<String>) {
    let words: Vec<&str> = WORDS.split(' ').collect();
    let message = |start: usize| words[start % 7..start % 7 + 4].join(" ");
    (
        (0..count).map(message).collect(),
        (count..count + 2).map(message).collect(),
    )
}

pub(super) fn add_text(directory: &Path, count: usize) {
    let store = Store::open_or_create(directory).unwrap();
    let (training, held_out) = messages(count);
    for (messages, split) in [
        (training, Split::TrainingOnly),
        (held_out, Split::HeldOutOnly),
    ] {
        let messages: Vec<_> = messages.into_iter().map(Zeroizing::new).collect();
        if !messages.is_empty() {
            store.add(&messages, split).unwrap();
        }
    }
}
