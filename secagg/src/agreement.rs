//! Diffie-Hellman in ristretto255, many at a time.
//!
//! Compressing many points takes one inversion for all, and a point that is multiplied by many
//! scalars gets a table. Time does not depend on scalars or points.

use alloc::{boxed::Box, vec::Vec};

use curve25519_dalek::{ristretto::RistrettoPoint, scalar::Scalar, traits::Identity};
use subtle::{ConditionallyNegatable, ConditionallySelectable, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

use crate::secret::Seed;

/// Agreements that share an inversion: more would gain little.
pub(crate) const BATCH: usize = 64;

/// With this many scalars a table pays.
const TABLE_FROM: usize = 4;

/// The points that one scalar shares with each of these, compressed.
pub(crate) fn with_each<'a>(
    scalar: &Scalar,
    points: impl Iterator<Item = &'a RistrettoPoint>,
) -> Vec<Seed> {
    let mut half = scalar.div_by_2();
    let multiples = points.map(|point| point * half).collect();
    half.zeroize();
    double_and_compress(multiples)
}

/// The points that each of these scalars shares with one point, compressed.
pub(crate) fn by_each<'a>(
    point: &RistrettoPoint,
    scalars: impl ExactSizeIterator<Item = &'a Scalar>,
) -> Vec<Seed> {
    let table = (scalars.len() >= TABLE_FROM).then(|| Table::new(point));
    let multiples = scalars.map(|scalar| {
        let mut half = scalar.div_by_2();
        let multiple = match &table {
            Some(table) => table.multiply(&half),
            None => point * half,
        };
        half.zeroize();
        multiple
    });
    double_and_compress(multiples.collect())
}

/// What compresses many points with one inversion doubles them: so they come halved.
fn double_and_compress(mut halves: Vec<RistrettoPoint>) -> Vec<Seed> {
    let mut compressed = RistrettoPoint::double_and_compress_batch(&halves);
    halves.zeroize();
    let seeds = compressed.iter().map(|point| Seed::from_bytes(point.0));
    let seeds = seeds.collect();
    compressed.zeroize();
    seeds
}

/// The multiples j · 256^i · P for i below 32 and j from 1 to 8, in row i.
struct Table(Box<[[RistrettoPoint; 8]; 32]>);

impl Table {
    fn new(point: &RistrettoPoint) -> Self {
        let mut rows = Box::new([[RistrettoPoint::identity(); 8]; 32]);
        let mut base = *point;
        for row in rows.iter_mut() {
            let mut multiple = RistrettoPoint::identity();
            for entry in row {
                multiple += base;
                *entry = multiple;
            }
            // From 8 · 256^i to 256^(i + 1).
            base = (0..5).fold(multiple, |power, _| power + power);
        }
        Self(rows)
    }

    /// The digits of odd places first, times 16, then those of even places.
    fn multiply(&self, scalar: &Scalar) -> RistrettoPoint {
        let digits = Zeroizing::new(digits(scalar));
        let (pairs, _) = digits.as_chunks::<2>();
        let mut sum = RistrettoPoint::identity();
        for (row, [_, odd]) in self.0.iter().zip(pairs) {
            sum += select(row, *odd);
        }
        for _ in 0..4 {
            sum += sum;
        }
        for (row, [even, _]) in self.0.iter().zip(pairs) {
            sum += select(row, *even);
        }
        sum
    }
}

/// The digits of a scalar to the base 16, lowest first, each from −8 to 7, but for the last, which
/// takes what is carried into it: a scalar is below 2^253.
fn digits(scalar: &Scalar) -> [i8; 64] {
    let mut digits = [0; 64];
    let (pairs, _) = digits.as_chunks_mut::<2>();
    for ([low, high], byte) in pairs.iter_mut().zip(scalar.as_bytes()) {
        (*low, *high) = ((byte & 15).cast_signed(), (byte >> 4).cast_signed());
    }
    // Wrapping: nothing overflows here, and a check for it would be a branch on a secret.
    let mut carry = 0_i8;
    for digit in &mut digits {
        *digit = digit.wrapping_add(carry);
        carry = digit.wrapping_add(8) >> 4;
        *digit = digit.wrapping_sub(carry << 4);
    }
    digits
}

/// The multiple of a row that a digit names, read from all of them.
fn select(row: &[RistrettoPoint; 8], digit: i8) -> RistrettoPoint {
    let sign = digit >> 7;
    let magnitude = (digit ^ sign).wrapping_sub(sign).cast_unsigned();
    let mut selected = RistrettoPoint::identity();
    for (multiple, j) in row.iter().zip(1_u8..) {
        selected.conditional_assign(multiple, magnitude.ct_eq(&j));
    }
    selected.conditional_negate(sign.cast_unsigned().ct_eq(&u8::MAX));
    selected
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compressed(point: RistrettoPoint) -> [u8; 32] {
        point.compress().to_bytes()
    }

    fn scalars() -> impl Strategy<Value = Vec<Scalar>> {
        let scalar = any::<[u8; 32]>().prop_map(Scalar::from_bytes_mod_order);
        proptest::collection::vec(scalar, 0..9)
    }

    proptest! {
        #[test]
        fn one_with_each_is_the_multiples_one_by_one(own: [u8; 32], others in scalars()) {
            let own = Scalar::from_bytes_mod_order(own);
            let points: Vec<RistrettoPoint> = others.iter().map(RistrettoPoint::mul_base).collect();
            let shared = with_each(&own, points.iter());
            prop_assert_eq!(shared.len(), points.len());
            for (shared, point) in shared.iter().zip(points) {
                prop_assert_eq!(*shared.as_bytes(), compressed(point * own));
            }
        }

        #[test]
        fn one_by_each_is_the_multiples_one_by_one(own: [u8; 32], others in scalars()) {
            let point = RistrettoPoint::mul_base(&Scalar::from_bytes_mod_order(own));
            let shared = by_each(&point, others.iter());
            prop_assert_eq!(shared.len(), others.len());
            for (shared, scalar) in shared.iter().zip(others) {
                prop_assert_eq!(*shared.as_bytes(), compressed(point * scalar));
            }
        }
    }

    #[test]
    fn a_table_multiplies_by_the_smallest_and_largest_scalars() {
        let point = RistrettoPoint::mul_base(&Scalar::from(7_u8));
        let table = Table::new(&point);
        let small = (0..300_u32).map(Scalar::from);
        for scalar in small.clone().chain(small.map(|scalar| -scalar)) {
            assert_eq!(table.multiply(&scalar), point * scalar);
        }
    }
}
