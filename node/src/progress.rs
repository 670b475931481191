//! A progress bar on a terminal, plain lines elsewhere; both on standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The shortest time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far a piece of work is.
#[derive(Debug)]
pub struct Progress {
    label: String,
    total: u64,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines { started: Instant, last: Instant },
}

impl Progress {
    /// Starts to show `total` pieces of work under a label.
    #[must_use]
    pub fn new(label: &str, total: u64) -> Self {
        let shown = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            if let Ok(style) =
                ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg} {eta}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(label.to_owned());
            Shown::Bar(bar)
        } else {
            let now = Instant::now();
            Shown::Lines {
                started: now,
                last: now,
            }
        };
        Self {
            label: label.to_owned(),
            total,
            shown,
        }
    }

    /// Says that `done` pieces are done; `note` is a few words beside the bar.
    pub fn set(&mut self, done: u64, note: impl FnOnce() -> String) {
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(done);
                bar.set_message(note());
            }
            Shown::Lines { last, .. } => {
                if last.elapsed() >= LINE_EVERY && done < self.total {
                    *last = Instant::now();
                    eprintln!("{}: {done} of {} {}", self.label, self.total, note());
                }
            }
        }
    }

    /// Ends the work with a line that stays.
    pub fn finish(self, result: &str) {
        match self.shown {
            Shown::Bar(bar) => {
                bar.finish_and_clear();
                eprintln!("{}: {result}", self.label);
            }
            Shown::Lines { started, .. } => {
                eprintln!(
                    "{}: {result} ({:.1} s)",
                    self.label,
                    started.elapsed().as_secs_f64()
                );
            }
        }
    }
}
