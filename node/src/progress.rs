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
    Lines {
        started: Instant,
        last: Instant,
        /// What was done before.
        from: u64,
    },
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
                from: 0,
            }
        };
        Self {
            label: label.to_owned(),
            total,
            shown,
        }
    }

    /// Says that `done` pieces were done before: they do not count in the time that is left.
    pub fn start_at(&mut self, done: u64) {
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(done);
                bar.reset_eta();
            }
            Shown::Lines { from, .. } => *from = done,
        }
    }

    /// Says that `done` pieces are done; `note` is a few words beside the bar.
    pub fn set(&mut self, done: u64, note: impl FnOnce() -> String) {
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(done);
                bar.set_message(note());
            }
            Shown::Lines {
                started,
                last,
                from,
            } => {
                if last.elapsed() >= LINE_EVERY && done < self.total {
                    *last = Instant::now();
                    let left = left(
                        started.elapsed(),
                        done.saturating_sub(*from),
                        self.total - done,
                    );
                    let (label, total, note) = (&self.label, self.total, note());
                    eprintln!("{label}: {done} of {total} {note}{left}");
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

/// About how long the rest takes, if it goes on like this.
fn left(elapsed: Duration, done: u64, rest: u64) -> String {
    // The first pieces say little.
    if done == 0 || done < rest / 50 {
        return String::new();
    }
    let seconds = elapsed.as_secs_f64() * rest as f64 / done as f64;
    if seconds < 90.0 {
        format!(", about {seconds:.0} s left")
    } else if seconds < 5_400.0 {
        format!(", about {:.0} min left", seconds / 60.0)
    } else {
        format!(", about {:.1} h left", seconds / 3_600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_the_time_taken() {
        let ten = Duration::from_secs(10);
        assert_eq!(left(ten, 0, 5), "");
        assert_eq!(left(ten, 1, 100), "");
        assert_eq!(left(ten, 5, 10), ", about 20 s left");
        assert_eq!(left(ten, 5, 60), ", about 2 min left");
        assert_eq!(left(ten * 360, 100, 1_000), ", about 10.0 h left");
    }
}
