//! Which rounds' weights are kept.

use std::collections::BTreeSet;

/// Keep the newest, every so manieth, and the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many of the newest are kept; at least 1.
    pub last: u32,
    /// Rounds divisible by this are kept; `None`: no such rule.
    pub every: Option<u32>,
    /// Whether the best round is kept.
    pub best: bool,
}

impl Retention {
    /// The rounds of `saved` whose weights may be deleted. The newest is never among them.
    #[must_use]
    pub fn obsolete(&self, saved: &BTreeSet<u64>, best: Option<u64>) -> Vec<u64> {
        let newest = saved.iter().rev().take(self.last.max(1) as usize);
        let newest: BTreeSet<u64> = newest.copied().collect();
        let kept = |round: &u64| {
            newest.contains(round)
                || self
                    .every
                    .is_some_and(|every| round.is_multiple_of(u64::from(every)))
                || (self.best && best == Some(*round))
        };
        saved.iter().copied().filter(|round| !kept(round)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_every_so_manieth_and_the_best_stay() {
        let saved: BTreeSet<u64> = (1..=12).collect();
        let rule = Retention {
            last: 2,
            every: Some(5),
            best: true,
        };
        assert_eq!(rule.obsolete(&saved, Some(7)), [1, 2, 3, 4, 6, 8, 9]);
        let rule = Retention {
            last: 1,
            every: None,
            best: false,
        };
        assert_eq!(rule.obsolete(&saved, Some(7)), (1..12).collect::<Vec<_>>());
        assert!(rule.obsolete(&BTreeSet::new(), None).is_empty());
    }
}
