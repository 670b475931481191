//! What one sees while a run goes on: a bar a round on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Progress on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The round's bar; `None` between rounds and where there is no terminal.
    bar: Option<ProgressBar>,
    terminal: bool,
}

impl Progress {
    /// Bars if standard error is a terminal.
    pub(crate) fn new() -> Self {
        Self {
            bar: None,
            terminal: io::stderr().is_terminal(),
        }
    }

    /// A line that stays.
    pub(crate) fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    /// Something begins that has so many steps.
    pub(crate) fn start(&mut self, name: &str, steps: u64) {
        self.clear();
        if !self.terminal {
            return;
        }
        let bar = ProgressBar::new(steps);
        if let Ok(style) = ProgressStyle::with_template("{prefix:<16} {bar:32} {msg} {elapsed:>4}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bar = Some(bar);
    }

    /// A step of it is done.
    pub(crate) fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// What goes on.
    pub(crate) fn message(&self, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(message.to_owned());
        }
    }

    /// It is done; the line stays.
    pub(crate) fn finish(&mut self, line: &str) {
        self.clear();
        eprintln!("{line}");
    }

    /// Takes the bar away.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
