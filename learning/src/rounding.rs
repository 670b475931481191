//! From floats to whole numbers: the norm, the scale, and stochastic rounding.

use rand_core::CryptoRng;

use crate::{codec::CodecError, plan::Plan};

/// The L2 norm, computed in f64, where no sum of squares of f32 overflows.
///
/// # Errors
/// [`CodecError::NotFinite`] names the first element that is infinite or not a number.
pub(crate) fn norm(delta: &[f32]) -> Result<f64, CodecError> {
    // Independent partial sums, so that additions need not wait for each other.
    let mut sums = [0.0_f64; 8];
    let (blocks, rest) = delta.as_chunks::<8>();
    for block in blocks {
        for (sum, &element) in sums.iter_mut().zip(block) {
            *sum += f64::from(element) * f64::from(element);
        }
    }
    for (sum, &element) in sums.iter_mut().zip(rest) {
        *sum += f64::from(element) * f64::from(element);
    }
    let square: f64 = sums.iter().sum();
    if square.is_finite() {
        return Ok(square.sqrt());
    }
    // Finite elements have a finite sum of squares, so one of them is not.
    let index = delta
        .iter()
        .position(|element| !element.is_finite())
        .expect("only an element that is not finite makes the sum of squares so");
    Err(CodecError::NotFinite {
        index,
        value: delta[index],
    })
}

/// What clips an update of that norm to `clip_norm`.
pub(crate) fn clip(norm: f64, clip_norm: f32) -> f64 {
    let clip_norm = f64::from(clip_norm);
    if norm > clip_norm {
        clip_norm / norm
    } else {
        1.0
    }
}

/// How an element becomes a whole number from 0 to 2·max.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounding {
    /// From an element of the update to fixed point: clip, weight, scale, and 2^28.
    factor: f64,
    /// max in fixed point.
    limit: f64,
    /// The same as an integer: what makes a value non-negative.
    offset: u64,
}

impl Rounding {
    /// The rounding of an update that is multiplied by `clip`, from a client of `weight`, at most the
    /// cap.
    pub(crate) fn new(plan: &Plan, clip: f64, weight: u64) -> Self {
        let share = weight as f64 / f64::from(plan.update().weight_cap);
        let max = f64::from(plan.value_max());
        let limit = max * FRACTION;
        Self {
            factor: clip * share * (limit / plan.value_range()),
            limit,
            offset: u64::from(plan.value_max()) << FRACTION_BITS,
        }
    }

    /// Rounds one finite element, up with a probability equal to the fractional part: adding a
    /// uniform fraction carries into the whole part with exactly that probability.
    #[inline]
    fn round(self, element: f32, random: u32) -> u64 {
        let scaled = f64::from(element) * self.factor;
        let scaled = scaled.max(-self.limit).min(self.limit);
        // At the upper edge the fraction is zero, so that nothing carries beyond 2·max.
        let fixed = to_integer(scaled).wrapping_add(self.offset);
        fixed.wrapping_add(u64::from(random >> (32 - FRACTION_BITS))) >> FRACTION_BITS
    }
}

/// The nearest integer, modulo 2^64, to a number of magnitude below 2^51. At 1.5·2^52 the last bit
/// of an f64 counts ones, so an addition rounds, and the difference of the two bit patterns is the
/// integer: fewer instructions than a cast, which checks for NaN and saturates.
#[inline]
fn to_integer(value: f64) -> u64 {
    (value + ONES).to_bits().wrapping_sub(ONES.to_bits())
}

/// The rounded elements of an update, computed a block at a time.
pub(crate) struct Rounded<'a, R> {
    rounding: Rounding,
    rest: &'a [f32],
    rng: &'a mut R,
    random: [u8; 4 * BLOCK],
    block: [u64; BLOCK],
    position: usize,
    filled: usize,
}

impl<'a, R: CryptoRng> Rounded<'a, R> {
    pub(crate) fn new(rounding: Rounding, delta: &'a [f32], rng: &'a mut R) -> Self {
        Self {
            rounding,
            rest: delta,
            rng,
            random: [0; 4 * BLOCK],
            block: [0; BLOCK],
            position: 0,
            filled: 0,
        }
    }

    fn refill(&mut self) {
        let (block, rest) = self.rest.split_at(self.rest.len().min(BLOCK));
        let rounding = self.rounding;
        self.rest = rest;
        let random = &mut self.random[..4 * block.len()];
        self.rng.fill_bytes(random);
        let (random, _) = random.as_chunks::<4>();
        for ((to, &element), &bytes) in self.block.iter_mut().zip(block).zip(random) {
            *to = rounding.round(element, u32::from_le_bytes(bytes));
        }
        self.position = 0;
        self.filled = block.len();
    }
}

impl<R: CryptoRng> Iterator for Rounded<'_, R> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        if self.position == self.filled {
            if self.rest.is_empty() {
                return None;
            }
            self.refill();
        }
        let value = self.block[self.position];
        self.position += 1;
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.filled - self.position + self.rest.len();
        (len, Some(len))
    }
}

/// Elements for which randomness is drawn at once.
const BLOCK: usize = 1_024;

/// With at most 23 bits of magnitude a fixed-point number stays below 2^51.
const FRACTION_BITS: u32 = 28;

/// 2^[`FRACTION_BITS`].
const FRACTION: f64 = 268_435_456.0;

/// 1.5·2^52.
const ONES: f64 = 6_755_399_441_055_744.0;

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::plan::{
        Budget, Compression, LocalOptimizer, Parts, RoundKind, ServerOptimizerConfig, TrainingPlan,
        UpdatePlan,
    };

    fn rounding(value_bits: u8, range: f32, weight: u64) -> Rounding {
        let update = UpdatePlan {
            parameters: 1,
            clip_norm: 1e9,
            range,
            value_bits,
            weight_cap: 8,
            max_cohort: 3,
            compression: Compression::NONE,
            parts: Parts::ALL,
        };
        let training = TrainingPlan {
            budget: Budget::Epochs(1),
            batch: 1,
            optimizer: LocalOptimizer::Sgd { rate: 1.0 },
            gradient_clip: 1.0,
            max_words: 1,
            ..TrainingPlan::DEFAULT
        };
        let server = ServerOptimizerConfig::FedAvg { rate: 1.0 };
        let plan = Plan::new(RoundKind::Train, update, training, server).unwrap();
        Rounding::new(&plan, 1.0, weight)
    }

    #[test]
    fn rounding_up_is_exactly_as_likely_as_the_fraction_is_large() {
        // 3 bits: max = 3, and with range 3 a step is 1. The element's fraction, in 2^−28ths, is
        // the number of random fractions out of 2^28 that round up: those from 2^28 − fraction on.
        let rounding = rounding(3, 3.0, 8);
        for (element, below, fraction) in [
            (0.25_f32, 3, 1_u32 << 26),
            (-0.25, 2, 3 << 26),
            (1.5, 4, 1 << 27),
            (-2.75, 0, 1 << 26),
            (2.999_755_9, 5, (1 << 28) - (1 << 16)), // 3 − 2^−12
        ] {
            // The fraction is the upper 28 of the 32 random bits.
            let first_up = ((1 << 28) - fraction) << 4;
            assert_eq!(rounding.round(element, 0), below);
            assert_eq!(rounding.round(element, first_up - 1), below);
            assert_eq!(rounding.round(element, first_up), below + 1);
            assert_eq!(rounding.round(element, u32::MAX), below + 1);
        }
    }

    #[test]
    fn integers_of_up_to_51_bits_are_exact() {
        let largest = (1_i64 << 51) - 1;
        for value in [0, 1, -1, 123_456_789, -123_456_789, largest, -largest] {
            assert_eq!(to_integer(value as f64), value.cast_unsigned());
        }
        assert_eq!(to_integer(-0.0), 0);
        assert_eq!(to_integer(2.6), 3);
        assert_eq!(to_integer(-2.6), (-3_i64).cast_unsigned());
    }

    #[test]
    fn whole_numbers_and_the_edges_never_move() {
        for value_bits in 2..=24 {
            let rounding = rounding(value_bits, 1.0, 8);
            let max = (1 << (value_bits - 1)) - 1;
            for random in [0, 1, 1 << 31, u32::MAX] {
                for (element, expected) in [
                    (0.0, max),
                    (-0.0, max),
                    (1.0, 2 * max),
                    (-1.0, 0),
                    (f32::MAX, 2 * max),
                    (f32::MIN, 0),
                ] {
                    assert_eq!(rounding.round(element, random), expected);
                }
            }
            // The next floats inside the range stay inside it.
            assert!(rounding.round(1.0_f32.next_down(), u32::MAX) <= 2 * max);
            assert!(rounding.round((-1.0_f32).next_up(), 0) <= 1);
        }
    }

    #[test]
    fn the_smallest_subnormals_round_to_zero_or_a_neighbour() {
        let tiny = f32::from_bits(1);
        for element in [tiny, -tiny, f32::MIN_POSITIVE, -f32::MIN_POSITIVE] {
            // Far below 2^−28 of a step: nothing is left of it.
            assert_eq!(rounding(24, 1.0, 8).round(element, u32::MAX), (1 << 23) - 1);
            // The smallest range that a plan allows is still far above them.
            let max = (1 << 23) - 1;
            assert_eq!(rounding(24, 1e-9, 8).round(element, u32::MAX), max);
        }
    }

    #[test]
    fn a_client_without_weight_sends_zero() {
        for element in [1.0, -1.0, f32::MAX, f32::MIN] {
            assert_eq!(rounding(8, 1.0, 0).round(element, u32::MAX), 127);
        }
    }

    #[test]
    fn the_mean_of_many_roundings_is_the_value() {
        let count = 200_000;
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for element in [0.1_f32, -0.3, 0.777, -1e-3] {
            // 8 bits and range 1: y/step = 127·element.
            let delta = vec![element; count];
            let rounded = Rounded::new(rounding(8, 1.0, 8), &delta, &mut rng);
            assert_eq!(rounded.size_hint(), (count, Some(count)));
            let sum: u64 = rounded.sum();
            let mean = sum as f64 / count as f64 - 127.0;
            // One rounding's standard deviation is at most 1/2; five of the mean's.
            let tolerance = 5.0 * 0.5 / (count as f64).sqrt();
            assert!((mean - 127.0 * f64::from(element)).abs() < tolerance);
        }
    }

    #[test]
    fn the_norm_is_that_of_the_definition() {
        assert_eq!(norm(&[]), Ok(0.0));
        assert_eq!(norm(&[-0.0, 0.0]), Ok(0.0));
        assert_eq!(norm(&[3.0, -4.0]), Ok(5.0));
        // 25 elements: blocks of eight and a rest.
        assert_eq!(norm(&[2.0; 25]), Ok(10.0));
        assert_eq!(
            norm(&[f32::MAX; 4]),
            Ok(2.0 * f64::from(f32::MAX)),
            "finite elements never overflow"
        );
    }

    #[test]
    fn what_is_not_finite_is_named() {
        let mut delta = [0.0; 30];
        delta[29] = f32::NEG_INFINITY;
        assert_eq!(
            norm(&delta),
            Err(CodecError::NotFinite {
                index: 29,
                value: f32::NEG_INFINITY
            })
        );
        delta[17] = f32::NAN;
        assert!(matches!(
            norm(&delta),
            Err(CodecError::NotFinite { index: 17, value }) if value.is_nan()
        ));
    }
}
