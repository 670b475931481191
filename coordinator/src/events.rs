//! Events: to a file, to standard output as JSON Lines, and to whoever drives the coordinator in
//! its own process.

use std::path::Path;

use secagg_wire::events::{EventLog, now_ms};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Where events go.
#[derive(Clone, Debug, Default)]
pub struct Events {
    log: EventLog,
    stdout: bool,
    observer: Option<mpsc::UnboundedSender<Value>>,
}

impl Events {
    /// Events go nowhere.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Events are appended to a file, if there is one.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn to_file(path: Option<&Path>) -> std::io::Result<Self> {
        Ok(Self {
            log: EventLog::to_optional_file(path)?,
            ..Self::default()
        })
    }

    /// The same, and every event to standard output.
    #[must_use]
    pub fn and_stdout(mut self, stdout: bool) -> Self {
        self.stdout = stdout;
        self
    }

    /// The same, and every event to the receiver that is returned: an object with the event's
    /// name in `event`.
    #[must_use]
    pub fn and_observer(mut self) -> (Self, mpsc::UnboundedReceiver<Value>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.observer = Some(sender);
        (self, receiver)
    }

    /// Whether anybody gets the events.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.stdout || self.observer.is_some() || self.log.is_on()
    }

    /// Writes one event; `fields` is an object.
    pub fn event(&self, name: &str, fields: Value) {
        if self.stdout || self.observer.is_some() {
            let mut line = json!({ "t_ms": now_ms(), "event": name });
            if let (Some(line), Some(fields)) = (line.as_object_mut(), fields.as_object()) {
                line.extend(fields.clone());
            }
            if self.stdout {
                println!("{line}");
            }
            if let Some(observer) = &self.observer {
                // Nobody listens any more: that is the listener's choice.
                let _ = observer.send(line);
            }
        }
        self.log.event(name, fields);
    }
}
