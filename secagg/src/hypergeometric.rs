//! Tails of the hypergeometric distribution in log space, rounded up.
//!
//! Everything is computed by addition, multiplication, division and the software routines of
//! `libm`, so a server that chooses a threshold and a client that checks it get the same bits.

use core::f64::consts::LOG2_E;

/// `draws` members of a population, drawn without putting back; how many of them are marked?
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hypergeometric {
    population: u32,
    marked: u32,
    draws: u32,
}

impl Hypergeometric {
    /// Numbers above the population count as the whole of it.
    pub(crate) fn new(population: u32, marked: u32, draws: u32) -> Self {
        Self {
            population,
            marked: marked.min(population),
            draws: draws.min(population),
        }
    }

    /// log2 of the probability that at least so many marked members are drawn: never below the
    /// true value, and above it by less than 10^−6 up to a population of a million.
    pub(crate) fn log2_tail(&self, at_least: u32) -> f64 {
        if at_least <= self.fewest() {
            return 0.0;
        }
        if at_least > self.most() {
            return f64::NEG_INFINITY;
        }
        // The tail in units of its first term. The ratios of terms fall: m steps after the largest,
        // at a term below 2^−64 of the sum, they are below 2^(−64/m), so less than 2^−64 · m is cut
        // off. Where the sum overflows, the first term is so small below the largest that the tail
        // is 1.
        let mut sum = 1.0;
        let mut term = 1.0;
        for marked in at_least..self.most() {
            term *= self.ratio(marked);
            sum += term;
            if term < NEGLIGIBLE * sum {
                break;
            }
        }
        let ln_tail = self.ln_probability(at_least) + libm::log(sum) + self.rounding();
        (ln_tail * LOG2_E).min(0.0)
    }

    /// The smallest number whose tail is at most 2^`log2_bound`, a bound below 1.
    pub(crate) fn quantile(&self, log2_bound: f64) -> u32 {
        let (mut above, mut within) = (self.fewest(), self.most() + 1);
        let mut probe = self.guess(log2_bound).clamp(above + 1, within);
        let mut step = 1;
        while within - above > 1 {
            // Growing steps away from the guess, as long as halving is not faster.
            if self.log2_tail(probe) <= log2_bound {
                within = probe;
                probe = within.saturating_sub(step).max(above.midpoint(within));
            } else {
                above = probe;
                probe = above.saturating_add(step).min(above.midpoint(within));
            }
            step = step.saturating_mul(2);
        }
        within
    }

    /// About the quantile, by a normal approximation with a correction for skewness (Cornish and
    /// Fisher): a good guess saves probes, a bad one costs some, and nothing else.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the conversion saturates, and any guess will do"
    )]
    fn guess(&self, log2_bound: f64) -> u32 {
        let [population, marked, draws] = [self.population, self.marked, self.draws].map(f64::from);
        let (marked, drawn) = (marked / population, draws / population);
        let variance = draws * marked * (1.0 - marked) * (1.0 - drawn);
        // Half the square of the normal quantile, to first and second order.
        let half = -log2_bound / LOG2_E;
        let half = (half - 0.5 * libm::log(4.0 * core::f64::consts::PI * half)).max(0.0);
        let skewness = (1.0 - 2.0 * marked) * (1.0 - 2.0 * drawn) * (2.0 * half - 1.0) / 6.0;
        (draws * marked + libm::sqrt(2.0 * half * variance) + skewness) as u32
    }

    const fn fewest(&self) -> u32 {
        self.draws.saturating_sub(self.population - self.marked)
    }

    fn most(&self) -> u32 {
        self.draws.min(self.marked)
    }

    /// Pr[marked + 1] / Pr[marked].
    fn ratio(&self, marked: u32) -> f64 {
        let [population, all_marked, draws, marked] =
            [self.population, self.marked, self.draws, marked].map(f64::from);
        let unmarked_left = (population - all_marked) - (draws - marked);
        (all_marked - marked) * (draws - marked) / ((marked + 1.0) * (unmarked_left + 1.0))
    }

    /// ln Pr[marked] for a number that can be drawn.
    fn ln_probability(&self, marked: u32) -> f64 {
        ln_binomial(self.marked, marked)
            + ln_binomial(self.population - self.marked, self.draws - marked)
            - ln_binomial(self.population, self.draws)
    }

    /// What rounding can add up to. Nine logarithms of factorials enter, each at most ln n! and
    /// wrong by a few units in the last place (2^−52 of it), then eight additions of such numbers
    /// and a sum of fewer than 65,536 terms (wrong by less than 2^−32): below 64 · 2^−52 · ln n! and
    /// 2^−30 in all. For n = 10^6, where ln n! = 1.3 · 10^7, that is 2 · 10^−7.
    fn rounding(&self) -> f64 {
        64.0 * f64::EPSILON * ln_factorial(self.population) + ROUNDING_OF_SUMS
    }
}

fn ln_binomial(n: u32, k: u32) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

fn ln_factorial(n: u32) -> f64 {
    libm::lgamma(f64::from(n) + 1.0)
}

/// 2^−64: a term that is smaller in proportion to the sum ends it.
const NEGLIGIBLE: f64 = f64::EPSILON / 4_096.0;

/// 2^−30.
const ROUNDING_OF_SUMS: f64 = 4_194_304.0 * f64::EPSILON;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The number of draws with at least so many marked members; exact up to a population of 120.
    fn favourable(population: u32, marked: u32, draws: u32, at_least: u32) -> u128 {
        let ways = |j| binomial(marked, j) * binomial(population - marked, draws - j);
        (at_least..=draws).map(ways).sum()
    }

    fn binomial(n: u32, k: u32) -> u128 {
        if k > n {
            return 0;
        }
        (0..k).fold(1, |product, i| {
            product * u128::from(n - i) / u128::from(i + 1)
        })
    }

    fn assert_close(found: f64, exact: f64, allowance: f64) {
        assert!(
            (0.0..allowance).contains(&(found - exact)),
            "{found} is not {exact} rounded up by less than {allowance}"
        );
    }

    proptest! {
        #[test]
        fn tails_are_the_exact_ones_rounded_up(
            (population, marked, draws) in
                (1_u32..=120).prop_flat_map(|n| (Just(n), 0..=n, 0..=n)),
            at_least in 0_u32..125,
        ) {
            let found = Hypergeometric::new(population, marked, draws).log2_tail(at_least);
            let ways = favourable(population, marked, draws, at_least);
            let all = binomial(population, draws);
            match ways {
                0 => prop_assert_eq!(found, f64::NEG_INFINITY),
                _ if ways == all => prop_assert_eq!(found, 0.0),
                // Both are below 2^120, so the quotient's logarithm is exact to 2^−45.
                _ => {
                    let exact = (ways as f64).log2() - (all as f64).log2();
                    prop_assert!((-1e-12..2e-9).contains(&(found - exact)), "{found} {exact}");
                }
            }
        }

        #[test]
        fn the_quantile_is_the_smallest_within_the_bound(
            (population, marked, draws) in
                (1_u32..=60).prop_flat_map(|n| (Just(n), 0..=n, 0..=n)),
            bits in 1_u32..60,
        ) {
            let found = Hypergeometric::new(population, marked, draws).quantile(-f64::from(bits));
            let within = |t| {
                favourable(population, marked, draws, t) << bits <= binomial(population, draws)
            };
            prop_assert!(within(found));
            // A tail that equals the bound is rounded up beyond it.
            let equal = |t| {
                favourable(population, marked, draws, t) << bits == binomial(population, draws)
            };
            prop_assert!(found == 0 || !within(found - 1) || equal(found - 1));
        }
    }

    /// Exact values by rational arithmetic.
    #[test]
    fn tails_of_large_populations_are_exact() {
        for (population, marked, draws, at_least, exact) in LARGE {
            let found = Hypergeometric::new(population, marked, draws).log2_tail(at_least);
            assert_close(found, exact, 1e-6);
        }
    }

    #[test]
    fn numbers_beyond_the_population_do_not_panic() {
        let whole = Hypergeometric::new(10, u32::MAX, u32::MAX);
        assert_eq!(
            (whole.log2_tail(10), whole.log2_tail(11)),
            (0.0, f64::NEG_INFINITY)
        );
        assert_eq!(whole.quantile(-1.0), 11);
        let huge = Hypergeometric::new(u32::MAX, u32::MAX / 3, 400);
        assert!((100..400).contains(&huge.quantile(-80.0)));
        assert_eq!(Hypergeometric::new(0, 0, 0).quantile(-1.0), 1);
    }

    /// Else the search takes some forty probes for a cohort of a million, and not four.
    #[test]
    fn the_search_begins_beside_the_quantile() {
        for (population, marked, draws) in [
            (1_000, 330, 286),
            (1_000, 100, 48),
            (100_000, 5_000, 88),
            (100_000, 95_000, 600),
            (1_000_000, 330_000, 5_000),
            (1_000_000, 480_000, 65_534),
        ] {
            for bits in [20.0, 41.0, 81.0] {
                let distribution = Hypergeometric::new(population, marked, draws);
                let guess = distribution.guess(-bits).min(distribution.most() + 1);
                let quantile = distribution.quantile(-bits);
                assert!(guess.abs_diff(quantile) <= 4, "{guess} {quantile}");
            }
        }
    }

    const LARGE: [(u32, u32, u32, u32, f64); 6] = [
        (1_000, 330, 286, 150, -51.335378462021),
        (1_000_000, 330_000, 600, 300, -57.178160309649),
        (1_000_000, 330_000, 5_000, 2_300, -268.451453610150),
        (1_000_000, 10, 40, 3, -37.032833204440),
        (1_000_000, 500_000, 1_500, 700, -0.006534415241),
        // Its first term is 2^−2807 of the largest.
        (1_000_000, 500_000, 10_000, 2_000, 0.0),
    ];
}
