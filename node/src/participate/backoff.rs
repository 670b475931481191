//! How long to wait before connecting again.

use std::time::Duration;

use super::randomness::jitter;

/// Waits that double up to a longest one. Each is shortened by up to a half at random, so that the
/// nodes of a coordinator that was gone do not all come back in the same moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
}

const FIRST: Duration = Duration::from_millis(250);

/// No attempt to connect is given up earlier.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(4);

impl Backoff {
    pub(super) fn new(max: Duration) -> Self {
        Self {
            next: FIRST.min(max),
            max,
        }
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.max);
        wait.mul_f64(1.0 - jitter() / 2.0)
    }

    /// How long the next attempt to connect may take, `longest` at most: a coordinator that has just
    /// been started is found soon, one that is slow is found too.
    pub(super) fn patience(&self, longest: Duration) -> Duration {
        self.next
            .saturating_mul(16)
            .max(SHORTEST_ATTEMPT)
            .min(longest)
    }

    /// Begins again with the shortest wait.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        for expected in [0.25, 0.5, 1.0, 1.0] {
            let wait = backoff.next().as_secs_f64();
            assert!(
                (expected / 2.0..=expected).contains(&wait),
                "{wait} of {expected}"
            );
        }
        let longest = Duration::from_secs(20);
        assert_eq!(backoff.patience(longest).as_secs(), 16);
        assert_eq!(backoff.patience(FIRST), FIRST);
        backoff.reset();
        assert_eq!(backoff.patience(longest).as_secs(), 4);
        assert!(backoff.next() <= FIRST);
        let short = Duration::from_millis(10);
        assert!(Backoff::new(short).next() <= short);
    }
}
