//! The search for the smallest degree.

use super::{Choice, log2_disconnected};
use crate::{hypergeometric::Hypergeometric, params::MAX_COHORT};

/// Assumptions as whole numbers within their ranges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) malicious: bool,
    pub(super) complete_only: bool,
    pub(super) cohort: u32,
    pub(super) corrupt: u32,
    pub(super) dropped: u32,
    pub(super) security_bits: u32,
    pub(super) correctness_bits: u32,
}

impl Counts {
    pub(super) fn choose(&self) -> Option<Choice> {
        self.sparse().or_else(|| self.complete())
    }

    fn complete(&self) -> Option<Choice> {
        let degree = self.cohort - 1;
        let corrupt_floor = self.corrupt + 1;
        let threshold = floor_of_threshold(self.malicious, degree, corrupt_floor);
        // The owner of a secret holds no share of it, so of S survivors S − 1 do.
        let survivor_ceiling = degree.saturating_sub(self.dropped);
        (self.cohort <= MAX_COHORT && threshold <= survivor_ceiling).then_some(Choice {
            degree,
            threshold,
            complete: true,
            max_corrupt: self.corrupt,
            max_dropped: self.dropped,
            corrupt_floor,
            survivor_ceiling,
            log2_disconnected: f64::NEG_INFINITY,
            log2_insecure: f64::NEG_INFINITY,
            log2_incorrect: f64::NEG_INFINITY,
        })
    }

    pub(super) fn sparse(&self) -> Option<Choice> {
        if self.complete_only {
            return None;
        }
        // Half of the largest even degree that leaves a client without some neighbour and whose
        // coordinates have 16 bits.
        let most = (self.cohort - 2).min(MAX_COHORT - 1) / 2;
        let mut half = self.half_of_smallest_connected(most);
        while half <= most {
            let thresholds = self.thresholds(2 * half);
            let missing = thresholds
                .smallest
                .saturating_sub(thresholds.survivor_ceiling);
            if missing == 0 {
                return Some(self.choice(2 * half, thresholds));
            }
            // Whether a degree passes is not monotone in it: both sides of t ≤ t_S are rounded.
            // But two more neighbours raise t_S by at most 2, and never lower t_A: so they make up
            // for at most 2 of what is missing, or 1 if t is (t_A + k)/2. Degrees that cannot pass
            // are skipped, and no other.
            half += if self.malicious {
                missing
            } else {
                missing.div_ceil(2)
            };
        }
        None
    }

    /// Half of the smallest even degree whose graph stays connected; `most` + 1 if there is none.
    /// The probability falls as the degree grows.
    fn half_of_smallest_connected(&self, most: u32) -> u32 {
        let missing = self.corrupt.saturating_add(self.dropped);
        let bound = -f64::from(self.security_bits) - 1.0;
        let (mut first, mut last) = (1, most + 1);
        while first < last {
            let middle = first.midpoint(last);
            if log2_disconnected(self.cohort, 2 * middle, missing) < bound {
                last = middle;
            } else {
                first = middle + 1;
            }
        }
        first
    }

    /// The bounds on the threshold of a sparse graph of this degree.
    pub(super) fn thresholds(&self, degree: u32) -> Thresholds {
        let corrupt_floor = corrupt_floor(self.cohort, degree, self.corrupt, self.security_bits);
        // Fewer than t of k survive where at least k − t + 1 are lost.
        let fatal = Hypergeometric::new(self.cohort, self.dropped, degree)
            .quantile(-f64::from(self.correctness_bits) - libm::log2(f64::from(self.cohort)));
        Thresholds {
            corrupt_floor,
            smallest: floor_of_threshold(self.malicious, degree, corrupt_floor),
            survivor_ceiling: (degree + 1).saturating_sub(fatal),
        }
    }

    fn choice(&self, degree: u32, thresholds: Thresholds) -> Choice {
        let threshold = thresholds.smallest;
        let enough_corrupt = if self.malicious {
            2 * threshold - degree
        } else {
            threshold
        };
        let missing = self.corrupt.saturating_add(self.dropped);
        let any_client = |marked, at_least| {
            let tail = Hypergeometric::new(self.cohort, marked, degree).log2_tail(at_least);
            libm::log2(f64::from(self.cohort)) + tail
        };
        Choice {
            degree,
            threshold,
            complete: false,
            max_corrupt: self.corrupt,
            max_dropped: self.dropped,
            corrupt_floor: thresholds.corrupt_floor,
            survivor_ceiling: thresholds.survivor_ceiling,
            log2_disconnected: log2_disconnected(self.cohort, degree, missing),
            log2_insecure: any_client(self.corrupt, enough_corrupt),
            log2_incorrect: any_client(self.dropped, degree + 1 - threshold),
        }
    }

    /// The largest value of one bound that can be met; `None` if not even zero can. What a bound
    /// allows, every smaller one allows.
    pub(super) fn largest_feasible(&self, with: impl Fn(u32) -> Self) -> Option<u32> {
        with(0).choose()?;
        let (mut feasible, mut infeasible) = (0, self.cohort + 1);
        while infeasible - feasible > 1 {
            let middle = feasible.midpoint(infeasible);
            if with(middle).choose().is_some() {
                feasible = middle;
            } else {
                infeasible = middle;
            }
        }
        Some(feasible)
    }
}

/// The bounds on the threshold at one degree; it is feasible if they are in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    /// t_A.
    pub(super) corrupt_floor: u32,
    /// t.
    pub(super) smallest: u32,
    /// t_S.
    pub(super) survivor_ceiling: u32,
}

/// The smallest number (t_A) with Pr[HG(n, A, k) ≥ t_A] ≤ 2^−(σ+1) / n.
pub(super) fn corrupt_floor(cohort: u32, degree: u32, max_corrupt: u32, security_bits: u32) -> u32 {
    let log2_cohort = libm::log2(f64::from(cohort));
    Hypergeometric::new(cohort, max_corrupt, degree)
        .quantile(-f64::from(security_bits) - 1.0 - log2_cohort)
}

pub(super) fn floor_of_threshold(malicious: bool, degree: u32, corrupt_floor: u32) -> u32 {
    let threshold = if malicious {
        // ⌈(k + t_A) / 2⌉, for numbers whose sum might wrap around.
        corrupt_floor + degree.saturating_sub(corrupt_floor).div_ceil(2)
    } else {
        corrupt_floor
    };
    threshold.max(2)
}
