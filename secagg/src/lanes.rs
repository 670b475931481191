//! Diffie-Hellman in ristretto255, an agreement in each lane of a vector register.
//!
//! The source is the same for all widths: macros over the vector type, whose functions are compiled
//! for the features that they name. Nothing here branches or indexes on scalars, or on points that
//! are shared. `kernel.rs` dispatches; `agreement.rs` has the plain reference.
#![allow(
    clippy::indexing_slicing,
    reason = "arrays of constant size, with positions below it"
)]

mod constants;
mod field;
mod multiply;
mod point;
#[cfg(test)]
mod tests;
mod vector;

use curve25519_dalek::scalar::Scalar;
use zeroize::{Zeroize, Zeroizing};

#[cfg(test)]
pub(crate) use self::{
    constants::Limbs,
    tests::{Applied, Operation},
};
use crate::secret::Seed;

/// Registers full of points that share an inversion: more would gain little.
const AT_ONCE: usize = 16;

/// Whether tables for as many points as there are lanes at most, with so many scalars each, are
/// faster than none. Measured, on both widths: where five is what a register full of multiples by a
/// table takes, one without takes 18, and making the tables 40.
fn tables_pay(counts: impl Iterator<Item = usize> + Clone, lanes: usize) -> bool {
    let without = counts.clone().sum::<usize>().div_ceil(lanes);
    let with: usize = counts.map(|count| count.div_ceil(lanes)).sum();
    18 * without > 5 * with + 40
}

/// The words of m + 2^255, where 2m + 1 is half the scalar.
fn digits(scalar: &Scalar) -> Zeroizing<[u64; 4]> {
    let half = Zeroizing::new(scalar.div_by_2());
    let less = Zeroizing::new(*half - Scalar::ONE);
    let m = Zeroizing::new(less.div_by_2());
    let mut words = Zeroizing::new([0; 4]);
    for (word, bytes) in words.iter_mut().zip(m.as_bytes().as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words[3] |= 1 << 63;
    words
}

/// The lower half.
fn low(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The seed of little-endian words, which are wiped.
fn seed(mut words: [u64; 4]) -> Seed {
    let mut bytes = [0; 32];
    for (to, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *to = word.to_le_bytes();
    }
    words.zeroize();
    let seed = Seed::from_bytes(bytes);
    bytes.zeroize();
    seed
}

macro_rules! lanes {
    ($name:ident, $features:tt) => {
        /// For processors with the features of this name.
        pub(crate) mod $name {
            use alloc::{boxed::Box, vec, vec::Vec};

            use curve25519_dalek::scalar::Scalar;
            use zeroize::{Zeroize, Zeroizing};

            #[cfg(test)]
            use super::tests::{Applied, Operation};
            use super::{
                AT_ONCE,
                constants::{
                    D, D_2, EVEN, INVSQRT_A_MINUS_D, Limbs, ODD, ONE, P_2, P_4, SQRT_M1, ZERO,
                },
                digits,
                field::each_limb,
                low, seed, tables_pay,
                vector::$name::{
                    LANES, Mask, Row, Vector, add, and, equal, from_words, multiply, or, permute,
                    row, select, shift_left, shift_right, splat, subtract, to_words,
                },
            };
            use crate::secret::Seed;

            super::field::field!($features);
            super::point::point!($features);
            super::multiply::multiply!($features);
            #[cfg(test)]
            super::tests::tests!($features);
        }
    };
}

lanes!(avx2, "avx2");
lanes!(avx512, "avx2,avx512f,avx512bw,avx512vl");
