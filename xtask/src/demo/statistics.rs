//! The two tests that tell noise from data: χ² over bytes, and Pearson's correlation.

/// A sequence of bytes passes as uniform when its χ² has a larger p-value than this.
pub(crate) const UNIFORM_P: f64 = 0.001;

/// Two sequences of m numbers pass as uncorrelated when |r| is below this number over √m. For
/// independent sequences r is about normal with a standard deviation of 1/√m.
pub(crate) const CORRELATION_DEVIATIONS: f64 = 4.0;

/// How far the counts of the 256 byte values are from equal.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct ByteTest {
    /// How many bytes there were.
    pub(crate) bytes: usize,
    /// χ² with 255 degrees of freedom.
    pub(crate) chi_square: f64,
    /// The probability that uniform bytes reach this χ² or more.
    pub(crate) p: f64,
}

impl ByteTest {
    /// Counts the bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut counts = [0_u64; 256];
        for &byte in bytes {
            counts[usize::from(byte)] += 1;
        }
        let expected = bytes.len() as f64 / 256.0;
        let chi_square = if bytes.is_empty() {
            0.0
        } else {
            let squares = counts.map(|count| (count as f64 - expected).powi(2));
            squares.iter().sum::<f64>() / expected
        };
        Self {
            bytes: bytes.len(),
            chi_square,
            p: upper_gamma(255.0 / 2.0, chi_square / 2.0),
        }
    }

    /// Whether the bytes pass as uniform.
    pub(crate) fn passes(&self) -> bool {
        self.p > UNIFORM_P
    }
}

/// The largest |r| of m pairs that passes as uncorrelated.
pub(crate) fn correlation_limit(pairs: usize) -> f64 {
    CORRELATION_DEVIATIONS / (pairs as f64).sqrt()
}

/// Pearson's correlation of pairs of numbers; 0 when one side never varies.
pub(crate) fn pearson(left: &[f64], right: &[f64]) -> f64 {
    let count = left.len().min(right.len()) as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / count;
    let (left_mean, right_mean) = (mean(left), mean(right));
    let (mut both, mut left_square, mut right_square) = (0.0, 0.0, 0.0);
    for (x, y) in left.iter().zip(right) {
        let (x, y) = (x - left_mean, y - right_mean);
        both += x * y;
        left_square += x * x;
        right_square += y * y;
    }
    let scale = (left_square * right_square).sqrt();
    if scale > 0.0 { both / scale } else { 0.0 }
}

/// The regularised upper incomplete gamma function Q(a, x) = Γ(a, x)/Γ(a), for a > 0 and x ≥ 0:
/// by its series below a + 1, by its continued fraction above (Press et al., "Numerical Recipes",
/// 6.2).
fn upper_gamma(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let factor = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        1.0 - factor * lower_series(a, x)
    } else {
        factor * upper_fraction(a, x)
    }
}

/// Enough for arguments in the thousands; both expansions end early when they have converged.
const MOST_TERMS: u32 = 10_000;

/// Σ xⁿ/(a (a + 1) … (a + n)).
fn lower_series(a: f64, x: f64) -> f64 {
    let mut term = 1.0 / a;
    let mut sum = term;
    for n in 1..MOST_TERMS {
        term *= x / (a + f64::from(n));
        sum += term;
        if term < sum * f64::EPSILON {
            break;
        }
    }
    sum
}

/// 1/(x + 1 − a − 1(1 − a)/(x + 3 − a − 2(2 − a)/(x + 5 − a − …))), by Lentz's method.
fn upper_fraction(a: f64, x: f64) -> f64 {
    let tiny = f64::MIN_POSITIVE / f64::EPSILON;
    let away_from_zero = |value: f64| if value.abs() < tiny { tiny } else { value };
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / tiny;
    let mut d = 1.0 / away_from_zero(b);
    let mut fraction = d;
    for n in 1..MOST_TERMS {
        let numerator = f64::from(n) * (a - f64::from(n));
        b += 2.0;
        d = 1.0 / away_from_zero(numerator * d + b);
        c = away_from_zero(b + numerator / c);
        fraction *= c * d;
        if (c * d - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    fraction
}

/// ln Γ(x) for x > 0, by Lanczos' approximation with g = 7 and nine terms.
fn ln_gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let mut series = 0.999_999_999_999_809_9;
    for (place, coefficient) in (1_u8..).zip(COEFFICIENTS) {
        series += coefficient / (x + f64::from(place));
    }
    let t = x + 7.5;
    0.5 * std::f64::consts::TAU.ln() + (x + 0.5) * t.ln() - t + series.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() < tolerance, "{found} {expected}");
    }

    #[test]
    fn ln_gamma_has_known_values() {
        close(ln_gamma(1.0), 0.0, 1e-13);
        close(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln(), 1e-13);
        close(ln_gamma(11.0), 3_628_800_f64.ln(), 1e-11);
    }

    #[test]
    fn upper_gamma_has_known_values() {
        // Q(1, x) = e^−x.
        for x in [0.1, 1.0, 2.5, 30.0] {
            close(upper_gamma(1.0, x), (-x).exp(), 1e-13);
        }
        // Q(3, x) = e^−x (1 + x + x²/2).
        close(upper_gamma(3.0, 4.0), (-4_f64).exp() * 13.0, 1e-13);
        close(upper_gamma(7.0, 0.0), 1.0, 1e-15);
        // Tabulated quantiles of χ²: 95 % with 1 and 10 degrees, 95 % and 99.9 % with 255.
        close(upper_gamma(0.5, 3.841_458_820_694 / 2.0), 0.05, 1e-9);
        close(upper_gamma(5.0, 18.307_038_053_275 / 2.0), 0.05, 1e-9);
        close(upper_gamma(127.5, 293.247_835_08 / 2.0), 0.05, 1e-6);
        close(upper_gamma(127.5, 330.519_743_6 / 2.0), 0.001, 1e-6);
        assert!(upper_gamma(127.5, 50_000.0) < 1e-300);
    }

    #[test]
    fn equal_counts_are_uniform_and_few_values_are_not() {
        let equal: Vec<u8> = (0..=255).cycle().take(2560).collect();
        let test = ByteTest::of(&equal);
        close(test.chi_square, 0.0, 1e-12);
        assert!(test.passes());
        // Half of the values twice as often, the others never: χ² is the number of bytes.
        let half: Vec<u8> = (0..128).cycle().take(2560).collect();
        let test = ByteTest::of(&half);
        close(test.chi_square, 2560.0, 1e-9);
        assert!(!test.passes());
        assert!(ByteTest::of(&[]).passes());
    }

    #[test]
    fn pseudorandom_bytes_pass() {
        use sha2::{Digest, Sha256};
        let bytes: Vec<u8> = (0..4000_u32)
            .flat_map(|n| Sha256::digest(n.to_le_bytes()))
            .collect();
        let test = ByteTest::of(&bytes);
        assert!(test.passes(), "{test:?}");
    }

    #[test]
    fn correlation_of_known_pairs() {
        let x = [1.0, 2.0, 3.0, 4.0];
        close(pearson(&x, &x.map(|x| 5.0 - 2.0 * x)), -1.0, 1e-12);
        close(pearson(&x, &[1.0, -1.0, -1.0, 1.0]), 0.0, 1e-12);
        close(pearson(&x, &[2.0, 1.0, 4.0, 3.0]), 0.6, 1e-12);
        close(pearson(&x, &[7.0; 4]), 0.0, 1e-12);
        close(correlation_limit(10_000), 0.04, 1e-12);
    }
}
