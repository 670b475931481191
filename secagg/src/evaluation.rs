//! A polynomial over GF(2^16) at all points below a power of two: the additive Fourier transform of
//! Gao and Mateer (IEEE Transactions on Information Theory 56, 2010), sixteen polynomials at a time.
//!
//! With m = log2 of the number of points it takes about 1.5 · m multiplications a point, each by a
//! constant that is public, where Horner's rule takes one for each coefficient. The work does not
//! depend on the coefficients.

use alloc::vec::Vec;

use crate::{
    field::{self, Lanes},
    kernel::{Path, Work},
};

/// Replaces the coefficients of a polynomial, lowest first and as many as a power of two, by its
/// values: that at x goes to [`place`] of x.
pub(crate) fn evaluate(coefficients: &mut [Lanes]) {
    let levels = levels(coefficients.len().ilog2());
    let levels = &levels;
    Path::best().run(Transform {
        values: coefficients,
        levels,
    });
}

/// Where the value at x stands among so many: at the bits of x in reverse.
pub(crate) const fn place(x: u16, values: usize) -> usize {
    match values.ilog2() {
        0 => 0,
        bits => (x as usize).reverse_bits() >> (usize::BITS - bits),
    }
}

/// About how many multiplications [`evaluate`] takes for so many points.
pub(crate) const fn cost(points: usize) -> usize {
    points * points.ilog2() as usize * 3 / 2
}

/// The constants of one level of the recursion.
struct Level {
    /// The last element of the basis, and its powers: the i-th coefficient is multiplied by β^i.
    powers: Vec<u16>,
    /// The sums of the other elements divided by β, in the order of places.
    twiddles: Vec<u16>,
}

/// The levels for all points below 2^`bits`: the sums of the basis 1, x, x^2 and so on.
fn levels(bits: u32) -> Vec<Level> {
    let mut basis: Vec<u16> = (0..bits).map(|bit| 1 << bit).collect();
    let mut levels = Vec::new();
    while let Some(last) = basis.pop() {
        let mut powers = Vec::from([1]);
        for _ in 1..2_usize << basis.len() {
            powers.push(field::product(powers.last().copied().unwrap_or(1), last));
        }
        let inverse = field::inverse(last);
        let mut twiddles = Vec::from([0]);
        for element in basis.iter_mut().rev() {
            let quotient = field::product(*element, inverse);
            let shifted: Vec<u16> = twiddles.iter().map(|sum| sum ^ quotient).collect();
            twiddles.extend(shifted);
            *element = field::product(quotient, quotient) ^ quotient;
        }
        levels.push(Level { powers, twiddles });
    }
    levels
}

struct Transform<'a> {
    values: &'a mut [Lanes],
    levels: &'a [Level],
}

impl Work for Transform<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { values, levels } = self;
        // At depth d there are 2^d polynomials: the i-th coefficients of all are 2^d neighbours.
        for (depth, level) in levels.iter().enumerate() {
            let run = 1 << depth;
            for (coefficients, power) in values.chunks_exact_mut(run).zip(&level.powers).skip(1) {
                for coefficient in coefficients {
                    *coefficient = field::scale(coefficient, *power);
                }
            }
            expand(values, run);
        }
        for (depth, level) in levels.iter().enumerate().rev() {
            let run = 1 << depth;
            for (pair, twiddle) in values.chunks_exact_mut(2 * run).zip(&level.twiddles) {
                let (even, odd) = pair.split_at_mut(run);
                for (even, odd) in even.iter_mut().zip(odd) {
                    field::add_assign(even, &field::scale(odd, *twiddle));
                    field::add_assign(odd, even);
                }
            }
        }
    }
}

/// Writes polynomials as sums of (a + b·x)·(x^2 + x)^i: a and b are the coefficients 2·i and
/// 2·i + 1 then.
///
/// With X = (x^2 + x)^q = x^2q + x^q, where q is a power of two, and quarters of q coefficients:
/// f0 + x^q·f1 + x^2q·f2 + x^3q·f3 = f0 + x^q·(f1 + f2 + f3) + X·(f2 + f3 + x^q·f3).
#[inline(always)]
fn expand(values: &mut [Lanes], run: usize) {
    let mut size = values.len();
    while size >= 4 * run {
        for block in values.chunks_exact_mut(size) {
            let (low, high) = block.split_at_mut(size / 2);
            let (_, second) = low.split_at_mut(size / 4);
            let (third, fourth) = high.split_at_mut(size / 4);
            for ((second, third), fourth) in second.iter_mut().zip(third).zip(fourth) {
                field::add_assign(third, fourth);
                field::add_assign(second, third);
            }
        }
        size /= 2;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// On every path that this processor has.
        #[test]
        fn values_are_those_of_horners_rule(
            bits in 0_u32..=9, seed in proptest::collection::vec(any::<Lanes>(), 1..600),
        ) {
            let points = 1_usize << bits;
            let mut coefficients = seed;
            coefficients.resize(points, [0; field::LANES]);
            let levels = levels(bits);
            for path in [Path::avx512(), Path::avx2(), Some(Path::PORTABLE)].into_iter().flatten() {
                let mut values = coefficients.clone();
                path.run(Transform { values: &mut values, levels: &levels });
                for x in 0..points {
                    let x = u16::try_from(x).unwrap();
                    let mut expected = [0; field::LANES];
                    for coefficient in coefficients.iter().rev() {
                        expected = field::scale(&expected, x);
                        field::add_assign(&mut expected, coefficient);
                    }
                    prop_assert_eq!(values[place(x, points)], expected, "{:?} at {}", path, x);
                }
            }
        }
    }

    #[test]
    fn all_points_of_the_field_are_reached() {
        // The polynomial x + 1.
        let mut values = vec![[0; field::LANES]; 1 << 16];
        values[0] = [1; field::LANES];
        values[1] = [1; field::LANES];
        evaluate(&mut values);
        for x in 0..=u16::MAX {
            assert_eq!(values[place(x, 1 << 16)], [x ^ 1; field::LANES]);
        }
    }
}
