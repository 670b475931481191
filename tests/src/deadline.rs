//! One generous time limit for everything that a test waits for.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// When a test gives up. It is far beyond what a test takes: only a hang reaches it.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    end: Instant,
}

impl Deadline {
    /// Two minutes from now, for a whole test.
    #[must_use]
    pub fn of_a_test() -> Self {
        Self::after(Duration::from_secs(120))
    }

    /// That long from now.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self {
            end: Instant::now() + duration,
        }
    }

    /// Lets other threads and processes work for a moment before the caller looks again.
    ///
    /// # Errors
    /// When the time is up.
    pub fn look_again(&self) -> Result<()> {
        ensure!(Instant::now() < self.end, "the test's time is up");
        std::thread::sleep(POLL);
        Ok(())
    }
}

/// How often a file or a process is looked at while something is awaited. It decides how soon
/// something is noticed, never whether.
const POLL: Duration = Duration::from_millis(5);
