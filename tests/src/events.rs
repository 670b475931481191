//! Following the events that a process writes.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::deadline::Deadline;

/// One event: its fields, its name among them.
pub type Event = Value;

/// The loss on held-out text in the event of a completed round, in nats a token.
///
/// # Errors
/// When nothing was held out.
pub fn validation_loss(event: &Event) -> Result<f64> {
    let loss = event["validation"]["loss"].as_f64();
    loss.with_context(|| format!("no validation loss in {event}"))
}

/// The events of one process, read from its file as it grows.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    offset: u64,
    /// The start of a line that is not complete yet.
    rest: Vec<u8>,
    seen: Vec<Event>,
}

impl Events {
    /// The events in that file, which need not exist yet.
    #[must_use]
    pub fn follow(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            offset: 0,
            rest: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// All events so far.
    ///
    /// # Errors
    /// When the file holds something else than JSON Lines.
    pub fn all(&mut self) -> Result<&[Event]> {
        self.read()
            .with_context(|| format!("cannot read the events in {}", self.path.display()))?;
        Ok(&self.seen)
    }

    /// The events of one name so far.
    ///
    /// # Errors
    /// See [`all`](Self::all).
    pub fn named(&mut self, name: &str) -> Result<Vec<Event>> {
        let named = self.all()?.iter().filter(|event| event["event"] == name);
        Ok(named.cloned().collect())
    }

    /// Waits for the first event of that name with which `fits` agrees, past ones included.
    /// `alive` fails when it is of no use to wait any longer.
    ///
    /// # Errors
    /// When the time is up or `alive` fails, with all events so far.
    pub fn wait(
        &mut self,
        deadline: &Deadline,
        mut alive: impl FnMut() -> Result<()>,
        name: &str,
        mut fits: impl FnMut(&Event) -> bool,
    ) -> Result<Event> {
        let mut looked_at = 0;
        loop {
            // Asked first: what a process says before it ends is read after.
            let living = alive();
            let new = self.all()?.get(looked_at..).unwrap_or_default();
            let found = new
                .iter()
                .find(|event| event["event"] == name && fits(event));
            if let Some(event) = found {
                return Ok(event.clone());
            }
            looked_at = self.seen.len();
            living
                .and_then(|()| deadline.look_again())
                .with_context(|| format!("no fitting event `{name}`\n{}", self.text()))?;
        }
    }

    /// All events that were read, as a text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("--- events in {} ---\n", self.path.display());
        for event in &self.seen {
            text.push_str(&event.to_string());
            text.push('\n');
        }
        text
    }

    fn read(&mut self) -> Result<()> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        self.offset += file.read_to_end(&mut self.rest)? as u64;
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.seen.push(serde_json::from_slice(&line)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn half_a_line_is_not_an_event_yet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let mut events = Events::follow(&path);
        assert!(events.all().unwrap().is_empty());
        let mut file = File::create(&path).unwrap();
        file.write_all(b"{\"event\":\"a\"}\n{\"event\":").unwrap();
        assert_eq!(events.all().unwrap().len(), 1);
        file.write_all(b"\"b\"}\n").unwrap();
        assert_eq!(events.named("b").unwrap().len(), 1);
    }
}
