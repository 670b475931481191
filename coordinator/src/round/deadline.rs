//! When a phase closes: a pure rule over time and counts.

use std::time::Duration;

/// How long a phase waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deadline {
    /// After this, enough is enough.
    pub min: Duration,
    /// After this, the phase closes in any case.
    pub max: Duration,
    /// Share of the expected nodes that is enough after `min`.
    pub min_fraction: f64,
}

/// What a phase does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It closes.
    Close,
    /// It waits for messages, but not beyond this time since it opened.
    WaitUntil(Duration),
}

impl Deadline {
    /// Decides for a phase that has been open for `elapsed`: `have` nodes have answered, `missing`
    /// are still expected (nodes that are gone are not), and the protocol needs `needed`.
    #[must_use]
    pub fn decide(
        &self,
        elapsed: Duration,
        have: usize,
        missing: usize,
        needed: usize,
    ) -> Decision {
        if missing == 0 || elapsed >= self.max {
            return Decision::Close;
        }
        let expected = (have + missing) as f64;
        let enough = have >= needed && have as f64 >= self.min_fraction * expected;
        match enough {
            true if elapsed >= self.min => Decision::Close,
            true => Decision::WaitUntil(self.min),
            false => Decision::WaitUntil(self.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Deadline = Deadline {
        min: Duration::from_secs(10),
        max: Duration::from_secs(60),
        min_fraction: 0.8,
    };

    fn decide(seconds: u64, have: usize, missing: usize, needed: usize) -> Decision {
        RULE.decide(Duration::from_secs(seconds), have, missing, needed)
    }

    #[test]
    fn closes_at_once_when_everybody_has_answered() {
        assert_eq!(decide(0, 5, 0, 3), Decision::Close);
        // Also with too few: waiting would bring nobody.
        assert_eq!(decide(0, 1, 0, 3), Decision::Close);
    }

    #[test]
    fn closes_after_the_minimum_when_enough_have_answered() {
        assert_eq!(
            decide(9, 8, 2, 3),
            Decision::WaitUntil(Duration::from_secs(10))
        );
        assert_eq!(decide(10, 8, 2, 3), Decision::Close);
    }

    #[test]
    fn waits_for_the_fraction_and_for_what_the_protocol_needs() {
        let to_the_end = Decision::WaitUntil(Duration::from_secs(60));
        assert_eq!(decide(10, 7, 3, 3), to_the_end);
        assert_eq!(decide(10, 8, 2, 9), to_the_end);
        assert_eq!(decide(60, 7, 3, 3), Decision::Close);
    }
}
