//! Shamir's secret sharing (CACM 1979) of 32-byte seeds over GF(2^16).
//!
//! Holder i (counted from 0) has the coordinate i + 1, so up to 65,535 holders. Coefficients are
//! uniform, zero included: a scheme that avoids zero coefficients leaks what the secret is not.

use alloc::{vec, vec::Vec};

use rand_core::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

use crate::{
    evaluation,
    field::{self, LANES, Lanes},
    kernel::{Path, Work},
    secret::{Seed, Share},
};

/// The largest number of holders.
pub(crate) const MAX_HOLDERS: u32 = u16::MAX as u32;

/// Splits a seed so that any `threshold` of the `holders` shares give it back, and fewer give
/// nothing. Share i belongs to coordinate i + 1.
///
/// `threshold` is at least 1; both are at most [`MAX_HOLDERS`].
pub(crate) fn split(
    seed: &Seed,
    threshold: u32,
    holders: u32,
    rng: &mut dyn CryptoRng,
) -> Vec<Share> {
    let holders = u16::try_from(holders).expect("parameters allow at most 65,535 holders");
    let mut bytes = Zeroizing::new(vec![0_u8; 32 * (threshold as usize - 1)]);
    rng.fill_bytes(&mut bytes);
    let (chunks, _) = bytes.as_chunks::<32>();
    let points = (usize::from(holders) + 1).next_power_of_two();
    let mut coefficients: Zeroizing<Vec<Lanes>> = Zeroizing::new(Vec::with_capacity(points));
    coefficients.push(field::from_bytes(seed.as_bytes()));
    // The highest was drawn first.
    coefficients.extend(chunks.iter().rev().map(field::from_bytes));

    if threshold as usize * usize::from(holders) <= evaluation::cost(points) {
        return (1..=holders)
            .map(|coordinate| evaluate_at(&coefficients, coordinate))
            .collect();
    }
    coefficients.resize(points, [0; LANES]);
    evaluation::evaluate(&mut coefficients);
    let places = (1..=holders).map(|coordinate| evaluation::place(coordinate, points));
    let values = places.filter_map(|place| coefficients.get(place));
    values
        .map(|value| Share::from_bytes(field::to_bytes(value)))
        .collect()
}

/// Horner's rule from the highest coefficient down to the secret.
fn evaluate_at(coefficients: &[Lanes], coordinate: u16) -> Share {
    let mut value = [0; LANES];
    for coefficient in coefficients.iter().rev() {
        value = field::scale(&value, coordinate);
        field::add_assign(&mut value, coefficient);
    }
    let share = Share::from_bytes(field::to_bytes(&value));
    value.zeroize();
    share
}

/// The Lagrange coefficients at zero of a set of holders: computed once, used for every secret
/// that this set holds.
#[derive(Debug)]
pub(crate) struct Coefficients(Vec<u16>);

impl Coefficients {
    /// The coefficients of these coordinates, in their order; `None` if a coordinate is zero or
    /// stands twice.
    pub(crate) fn new(coordinates: &[u16]) -> Option<Self> {
        let mut sorted = coordinates.to_vec();
        sorted.sort_unstable();
        if sorted.first() == Some(&0) || !sorted.is_sorted_by(|a, b| a < b) {
            return None;
        }
        let mut coefficients = vec![0; coordinates.len()];
        Path::best().run(Interpolate {
            coordinates,
            coefficients: &mut coefficients,
        });
        Some(Self(coefficients))
    }

    /// The coefficients, in the order of the coordinates.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.iter().copied()
    }

    /// The seed that these shares, in the order of the coordinates, are shares of.
    pub(crate) fn reconstruct<'a>(&self, shares: impl IntoIterator<Item = &'a Share>) -> Seed {
        let mut secret = Zeroizing::new([0; LANES]);
        let shares = shares
            .into_iter()
            .map(|share| field::from_bytes(share.as_bytes()));
        let shares: Zeroizing<Vec<Lanes>> = Zeroizing::new(shares.collect());
        Path::best().run(Combine {
            coefficients: &self.0,
            shares: &shares,
            secret: &mut secret,
        });
        Seed::from_bytes(field::to_bytes(&secret))
    }
}

/// Lagrange coefficients at zero: λ_i = ∏_{j≠i} x_j / (x_j − x_i) = P / (x_i ∏_{j≠i} (x_j − x_i))
/// with P = ∏ x_j.
struct Interpolate<'a> {
    coordinates: &'a [u16],
    coefficients: &'a mut [u16],
}

impl Work for Interpolate<'_> {
    #[inline(always)]
    fn run(self) {
        let product = self.coordinates.iter().fold(1, |product, coordinate| {
            field::product(product, *coordinate)
        });
        // Four at a time: one multiplication fills the waits of the others.
        let chunks = self.coordinates.chunks(4 * LANES);
        for (chunk, coefficients) in chunks.zip(self.coefficients.chunks_mut(4 * LANES)) {
            let mut own = [[1; LANES]; 4];
            for (own, coordinate) in own.as_flattened_mut().iter_mut().zip(chunk) {
                *own = *coordinate;
            }
            let mut denominators = own;
            for other in self.coordinates {
                for (denominator, own) in denominators.iter_mut().zip(&own) {
                    let mut factor = *own;
                    for factor in &mut factor {
                        *factor ^= other;
                        // The factor of a coordinate with itself is left out. Coordinates are
                        // public.
                        *factor |= u16::from(*factor == 0);
                    }
                    *denominator = field::multiply(denominator, &factor);
                }
            }
            let lambdas = denominators.map(|it| field::scale(&field::invert(&it), product));
            for (coefficient, lambda) in coefficients.iter_mut().zip(lambdas.as_flattened()) {
                *coefficient = *lambda;
            }
        }
    }
}

/// The sum of shares, each multiplied by its coefficient.
struct Combine<'a> {
    coefficients: &'a [u16],
    shares: &'a [Lanes],
    secret: &'a mut Lanes,
}

impl Work for Combine<'_> {
    #[inline(always)]
    fn run(self) {
        // For each bit of the coefficients the sum of the shares that have it; the doublings follow
        // once for all.
        let mut sums = [[0; LANES]; u16::BITS as usize];
        for (coefficient, share) in self.coefficients.iter().zip(self.shares) {
            for (sum, bit) in sums.iter_mut().zip(0..) {
                let select = 0_u16.wrapping_sub((coefficient >> bit) & 1);
                for (sum, share) in sum.iter_mut().zip(share) {
                    *sum ^= share & select;
                }
            }
        }
        for sum in sums.iter().rev() {
            field::double(self.secret);
            field::add_assign(self.secret, sum);
        }
        sums.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::subsequence};
    use rand_chacha::{
        ChaCha20Rng,
        rand_core::{Rng, SeedableRng},
    };

    use super::*;

    fn reconstruct(shares: &[Share], holders: &[u16]) -> [u8; 32] {
        let coordinates: Vec<u16> = holders.iter().map(|holder| holder + 1).collect();
        let chosen = holders.iter().map(|holder| &shares[usize::from(*holder)]);
        *Coefficients::new(&coordinates)
            .unwrap()
            .reconstruct(chosen)
            .as_bytes()
    }

    fn cases() -> impl Strategy<Value = (u32, u32, Vec<u16>)> {
        (1_u32..40)
            .prop_flat_map(|holders| (1..=holders, Just(holders)))
            .prop_flat_map(|(threshold, holders)| {
                let all: Vec<u16> = (0..u16::try_from(holders).unwrap()).collect();
                let chosen = subsequence(all, threshold as usize..=holders as usize);
                (Just(threshold), Just(holders), chosen.prop_shuffle())
            })
    }

    proptest! {
        #[test]
        fn enough_shares_in_any_order_give_the_seed_back(
            (threshold, holders, chosen) in cases(), seed: [u8; 32], coins: [u8; 32],
        ) {
            let mut rng = ChaCha20Rng::from_seed(coins);
            let shares = split(&Seed::from_bytes(seed), threshold, holders, &mut rng);
            prop_assert_eq!(shares.len(), holders as usize);
            prop_assert_eq!(reconstruct(&shares, &chosen), seed);
        }

        /// The access structure is that of an independent implementation: what is enough there is
        /// enough here, and one share fewer gives another value in both.
        #[test]
        fn the_access_structure_is_that_of_blahaj(
            (threshold, holders, chosen) in cases(), seed: [u8; 32], coins: [u8; 32],
        ) {
            prop_assume!(threshold >= 2);
            let sharks = blahaj::Sharks(u8::try_from(threshold).unwrap());
            let theirs: Vec<blahaj::Share> = sharks
                .dealer(&seed)
                .take(holders as usize)
                .collect();
            let mut rng = ChaCha20Rng::from_seed(coins);
            let ours = split(&Seed::from_bytes(seed), threshold, holders, &mut rng);
            for count in [threshold as usize - 1, chosen.len()] {
                let some = &chosen[..count];
                let recovered = sharks
                    .recover(some.iter().map(|holder| &theirs[usize::from(*holder)]));
                let enough = recovered.is_ok_and(|secret| secret == seed);
                prop_assert_eq!(enough, reconstruct(&ours, some) == seed);
            }
        }
    }

    #[test]
    fn one_share_fewer_is_consistent_with_every_seed() {
        // With t − 1 shares fixed, each candidate for the seed fits exactly one value of the t-th
        // share: so the t − 1 shares tell nothing.
        let mut rng = ChaCha20Rng::from_seed([7; 32]);
        let shares = split(&Seed::from_bytes([1; 32]), 3, 3, &mut rng);
        let mut seen = alloc::collections::BTreeSet::new();
        for candidate in 0..=u16::MAX {
            let mut third = field::from_bytes(shares[2].as_bytes());
            third[0] = candidate;
            let third = Share::from_bytes(field::to_bytes(&third));
            let coefficients = Coefficients::new(&[1, 2, 3]).unwrap();
            let seed = coefficients.reconstruct([&shares[0], &shares[1], &third]);
            seen.insert(field::from_bytes(seed.as_bytes())[0]);
        }
        assert_eq!(seen.len(), 65_536);
    }

    #[test]
    fn zero_coordinates_and_duplicate_holders_are_refused() {
        assert!(Coefficients::new(&[0, 1]).is_none());
        assert!(Coefficients::new(&[3, 1, 3]).is_none());
        assert!(Coefficients::new(&[3, 1, 2]).is_some());
    }

    #[test]
    fn both_ways_to_evaluate_deal_the_same_shares() {
        for (threshold, holders) in [(1, 1), (2, 3), (9, 15), (40, 64), (170, 255), (60, 256)] {
            let split = || {
                let mut rng = ChaCha20Rng::from_seed([7; 32]);
                split(&Seed::from_bytes([3; 32]), threshold, holders, &mut rng)
            };
            let mut rng = ChaCha20Rng::from_seed([7; 32]);
            let mut bytes = vec![0; 32 * (threshold as usize - 1)];
            rng.fill_bytes(&mut bytes);
            let mut coefficients = vec![field::from_bytes(&[3; 32])];
            coefficients.extend(bytes.as_chunks().0.iter().rev().map(field::from_bytes));
            for (share, coordinate) in split().iter().zip(1..) {
                let expected = evaluate_at(&coefficients, coordinate);
                assert_eq!(share.as_bytes(), expected.as_bytes());
            }
        }
    }

    #[test]
    fn the_largest_coordinates_work() {
        let mut rng = ChaCha20Rng::from_seed([9; 32]);
        let shares = split(&Seed::from_bytes([5; 32]), 2, MAX_HOLDERS, &mut rng);
        assert_eq!(reconstruct(&shares, &[65_534, 0]), [5; 32]);
        assert_eq!(reconstruct(&shares, &[65_533, 32_767]), [5; 32]);
    }
}
