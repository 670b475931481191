//! Time that never goes back, passed to code that must not ask for it itself.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Tells how much time is over since any fixed moment.
#[derive(Clone, Copy)]
pub struct Clock<'a>(&'a dyn Fn() -> Duration);

impl<'a> Clock<'a> {
    /// A clock that asks `now`, which must never give less than before.
    #[must_use]
    pub fn new(now: &'a dyn Fn() -> Duration) -> Self {
        Self(now)
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Duration {
        (self.0)()
    }
}

impl Default for Clock<'_> {
    /// The machine's monotonic clock.
    fn default() -> Self {
        Self(&monotonic)
    }
}

impl fmt::Debug for Clock<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}

fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
