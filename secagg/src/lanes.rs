//! Diffie-Hellman in ristretto255, an agreement in each lane of a vector register.
//!
//! The source is the same for all widths: macros over the vector type, whose functions are compiled
//! for the features that they name. Nothing here branches or indexes on scalars, or on points that
//! are shared. [`Agreeing`](crate::kernel::Path) dispatches; `agreement.rs` has the plain reference.
#![allow(
    clippy::indexing_slicing,
    reason = "arrays of constant size, with positions below it"
)]

mod constants;
mod field;
mod multiply;
mod point;
mod vector;

use zeroize::Zeroize;

use crate::secret::Seed;

/// Digits of a scalar to the base 16.
const PLACES: usize = 64;

/// The bits of a digit: its magnitude, up to 8, and its sign.
const MAGNITUDE: u64 = 15;
const NEGATIVE: u64 = 16;

/// A digit as sign and magnitude.
fn digit(signed: i8) -> u64 {
    let sign = signed >> 7;
    let magnitude = (signed ^ sign).wrapping_sub(sign);
    u64::from(magnitude.cast_unsigned()) | u64::from(sign.cast_unsigned()) & NEGATIVE
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
            use alloc::{boxed::Box, vec::Vec};

            use curve25519_dalek::scalar::Scalar;
            use zeroize::{Zeroize, Zeroizing};

            use super::{
                MAGNITUDE, NEGATIVE, PLACES,
                constants::{
                    D, D_2, EVEN, INVSQRT_A_MINUS_D, Limbs, ODD, ONE, P_2, P_4, SQRT_M1, TWO, ZERO,
                },
                digit, seed,
                vector::$name::{
                    LANES, Mask, Vector, add, and, equal, from_words, multiply, or, select,
                    shift_left, shift_right, splat, subtract, to_words,
                },
            };
            use crate::{agreement, secret::Seed};

            super::field::field!($features);
            super::point::point!($features);
            super::multiply::multiply!($features);
        }
    };
}

lanes!(avx2, "avx2");
lanes!(avx512, "avx2,avx512f,avx512bw,avx512vl");
