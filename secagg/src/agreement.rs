//! Diffie-Hellman in ristretto255, many at a time.
//!
//! Where the processor has the vector units an agreement runs in each lane of them: see `lanes.rs`.
//! The plain code here is for all others, and the reference: compressing many points takes one
//! inversion for all, and a point that is multiplied by many scalars gets a table. Time does not
//! depend on scalars or points.

use alloc::{boxed::Box, vec::Vec};

use curve25519_dalek::{ristretto::RistrettoPoint, scalar::Scalar, traits::Identity};
use subtle::{ConditionallyNegatable, ConditionallySelectable, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

use crate::{kernel::Path, primitives::PublicKey, secret::Seed};

/// Agreements that share an inversion: more would gain little.
pub(crate) const BATCH: usize = 64;

/// Keys whose tables are made at once: as many as there are lanes at most.
pub(crate) const TABLES: usize = 8;

/// With this many scalars a table pays.
const TABLE_FROM: usize = 4;

/// Fewer than this would leave most lanes idle, and take longer than one by one.
const LANES_FROM: usize = 4;

/// A public key, and the scalars that agree with it.
pub(crate) type Job<'a> = (&'a PublicKey, Vec<&'a Scalar>);

/// The points that one scalar shares with each of these, compressed.
pub(crate) fn with_each(scalar: &Scalar, keys: &[&PublicKey]) -> Vec<Seed> {
    with_each_on(Path::best(), scalar, keys)
}

/// For each job the points that each of its scalars shares with its key, compressed.
pub(crate) fn by_each(jobs: &[Job<'_>]) -> Vec<Vec<Seed>> {
    by_each_on(Path::best(), jobs)
}

pub(crate) fn with_each_on(path: Path, scalar: &Scalar, keys: &[&PublicKey]) -> Vec<Seed> {
    let pairs: Vec<(&[u8; 32], &Scalar)> =
        keys.iter().map(|key| (key.as_bytes(), scalar)).collect();
    let multiples = (keys.len() >= LANES_FROM)
        .then(|| path.multiply(&pairs))
        .flatten();
    multiples.unwrap_or_else(|| one_by_one(scalar, keys))
}

pub(crate) fn by_each_on(path: Path, jobs: &[Job<'_>]) -> Vec<Vec<Seed>> {
    let encoded: Vec<(&[u8; 32], &[&Scalar])> = jobs
        .iter()
        .map(|(key, scalars)| (key.as_bytes(), scalars.as_slice()))
        .collect();
    let count: usize = encoded.iter().map(|(_, scalars)| scalars.len()).sum();
    let multiples = (count >= LANES_FROM)
        .then(|| path.multiply_by_each(&encoded))
        .flatten();
    multiples.unwrap_or_else(|| {
        let by_table = |(key, scalars): &Job<'_>| by_table(&key.point, scalars);
        jobs.iter().map(by_table).collect()
    })
}

fn one_by_one(scalar: &Scalar, keys: &[&PublicKey]) -> Vec<Seed> {
    let mut half = scalar.div_by_2();
    let multiples = keys.iter().map(|key| key.point * half).collect();
    half.zeroize();
    double_and_compress(multiples)
}

fn by_table(point: &RistrettoPoint, scalars: &[&Scalar]) -> Vec<Seed> {
    let table = (scalars.len() >= TABLE_FROM).then(|| Table::new(point));
    let multiples = scalars.iter().map(|scalar| {
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

    fn paths() -> impl Iterator<Item = Path> {
        let paths = [Some(Path::PORTABLE), Path::avx2(), Path::avx512()];
        paths.into_iter().flatten()
    }

    fn key(point: RistrettoPoint) -> PublicKey {
        PublicKey::from_bytes(compressed(point)).unwrap()
    }

    fn compressed(point: RistrettoPoint) -> [u8; 32] {
        point.compress().to_bytes()
    }

    /// Any, and those whose digits are the most unusual: small ones, their negatives, and what lies
    /// about a power of two.
    fn scalar() -> impl Strategy<Value = Scalar> {
        let uniform = any::<[u8; 32]>().prop_map(Scalar::from_bytes_mod_order);
        let small = (0..300_u32, any::<bool>()).prop_map(|(small, negative)| {
            let small = Scalar::from(small);
            if negative { -small } else { small }
        });
        let power = (0..252_u32, -9..=9_i8).prop_map(|(bit, distance)| {
            let power = (0..bit).fold(Scalar::ONE, |power, _| power + power);
            let magnitude = Scalar::from(distance.unsigned_abs());
            power + if distance < 0 { -magnitude } else { magnitude }
        });
        prop_oneof![uniform, small, power]
    }

    fn point() -> impl Strategy<Value = PublicKey> {
        any::<[u8; 64]>().prop_map(|uniform| key(RistrettoPoint::from_uniform_bytes(&uniform)))
    }

    proptest! {
        #[test]
        fn one_with_each_is_the_multiples_one_by_one(
            own in scalar(), keys in proptest::collection::vec(point(), 0..20),
        ) {
            let references: Vec<&PublicKey> = keys.iter().collect();
            for path in paths() {
                let shared = with_each_on(path, &own, &references);
                prop_assert_eq!(shared.len(), keys.len());
                for (shared, key) in shared.iter().zip(&keys) {
                    prop_assert_eq!(*shared.as_bytes(), compressed(key.point * own), "{:?}", path);
                }
            }
        }

        #[test]
        fn each_job_is_the_multiples_one_by_one(
            jobs in proptest::collection::vec(
                (point(), proptest::collection::vec(scalar(), 0..12)), 0..10,
            ),
        ) {
            let references: Vec<Job<'_>> =
                jobs.iter().map(|(key, scalars)| (key, scalars.iter().collect())).collect();
            for path in paths() {
                let shared = by_each_on(path, &references);
                prop_assert_eq!(shared.len(), jobs.len());
                for (shared, (key, scalars)) in shared.iter().zip(&jobs) {
                    prop_assert_eq!(shared.len(), scalars.len());
                    for (shared, scalar) in shared.iter().zip(scalars) {
                        let expected = compressed(key.point * scalar);
                        prop_assert_eq!(*shared.as_bytes(), expected, "{:?}", path);
                    }
                }
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
