//! What an operator sees: a progress bar a round on a terminal, plain lines elsewhere.

use std::{
    io::{IsTerminal as _, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use secagg_wire::phase::Phase;

/// Shows how far a round is.
#[derive(Clone, Debug)]
pub struct Progress {
    shown: Shown,
}

#[derive(Clone, Debug)]
enum Shown {
    Nothing,
    Lines,
    Bar(ProgressBar),
}

impl Progress {
    /// A bar where standard error is a terminal, else lines on it.
    #[must_use]
    pub fn stderr() -> Self {
        if !stderr().is_terminal() {
            return Self {
                shown: Shown::Lines,
            };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let template = "{prefix:<10} {bar:30} {pos}/{len} {msg} {elapsed}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self {
            shown: Shown::Bar(bar),
        }
    }

    /// Shows nothing.
    #[must_use]
    pub fn none() -> Self {
        Self {
            shown: Shown::Nothing,
        }
    }

    /// Prints a line.
    pub fn line(&self, line: &str) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Lines => eprintln!("{line}"),
            Shown::Bar(bar) => bar.suspend(|| eprintln!("{line}")),
        }
    }

    pub(crate) fn round(&self, round: u64, attempt: u32) {
        if let Shown::Bar(bar) = &self.shown {
            bar.reset();
            bar.enable_steady_tick(Duration::from_millis(250));
            bar.set_prefix(match attempt {
                1 => format!("round {round}"),
                _ => format!("round {round}.{attempt}"),
            });
        }
    }

    pub(crate) fn phase(&self, phase: Phase) {
        if let Shown::Bar(bar) = &self.shown {
            bar.set_message(phase.as_str());
            bar.set_position(0);
        }
    }

    pub(crate) fn count(&self, have: usize, expected: usize) {
        if let Shown::Bar(bar) = &self.shown {
            bar.set_length(expected as u64);
            bar.set_position(have as u64);
        }
    }

    pub(crate) fn round_done(&self, line: &str) {
        if let Shown::Bar(bar) = &self.shown {
            bar.disable_steady_tick();
        }
        self.line(line);
    }

    pub(crate) fn finish(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
