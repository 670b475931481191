//! `ChaCha20` on AVX2 and AVX-512: register i holds word i of eight or sixteen blocks; and the calls
//! of what `lanes.rs` has for them.
#![allow(
    unsafe_code,
    reason = "vector stores, and calls of what only some processors can run"
)]
#![allow(
    clippy::indexing_slicing,
    reason = "arrays of constant size, with positions below it"
)]

use core::arch::x86_64::{
    __m256i, __m512i, _mm256_add_epi32, _mm256_or_si256, _mm256_permute2x128_si256,
    _mm256_set1_epi32, _mm256_setr_epi8, _mm256_setr_epi32, _mm256_shuffle_epi8, _mm256_slli_epi32,
    _mm256_srli_epi32, _mm256_storeu_si256, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
    _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm256_xor_si256, _mm512_add_epi32,
    _mm512_rol_epi32, _mm512_set1_epi32, _mm512_setr_epi32, _mm512_shuffle_i32x4,
    _mm512_storeu_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64, _mm512_xor_si512,
};

use core::hint::black_box;

use alloc::vec::Vec;

use curve25519_dalek::scalar::Scalar;

use super::{BATCH, Block, Work};
#[cfg(test)]
use crate::lanes::{Applied, Limbs, Operation};
use crate::{lanes, secret::Seed};

cpufeatures::new!(has_avx2, "avx2");
cpufeatures::new!(has_avx512, "avx2", "avx512f", "avx512bw", "avx512vl");

/// A token that exists only where the features were detected, and what may be called with it.
macro_rules! token {
    (
        $(#[$what:meta])* $token:ident, $detected:ident, $lanes:ident, $expand:ident, $run:ident,
        $blocks:expr
    ) => {
        $(#[$what])*
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $token(());

        impl $token {
            pub(super) fn detect() -> Option<Self> {
                $detected::get().then_some(Self(()))
            }

            /// Writes consecutive blocks from this state on.
            pub(super) fn expand(self, state: &[u32; 16], blocks: &mut [[Block; $blocks]]) {
                // SAFETY: `self` exists only where the features were detected.
                unsafe { $expand(state, blocks) }
            }

            pub(super) fn run(self, work: impl Work) {
                // SAFETY: `self` exists only where the features were detected.
                unsafe { $run(work) }
            }

            /// The points of these pairs of an encoding and a scalar, multiplied and encoded.
            pub(super) fn multiply(self, pairs: &[(&[u8; 32], &Scalar)]) -> Vec<Seed> {
                // SAFETY: `self` exists only where the features were detected.
                unsafe { lanes::$lanes::pairs(pairs) }
            }

            /// The same for each of these pairs of an encoding and scalars.
            pub(super) fn multiply_by_each(
                self,
                jobs: &[(&[u8; 32], &[&Scalar])],
            ) -> Vec<Vec<Seed>> {
                // SAFETY: `self` exists only where the features were detected.
                unsafe { lanes::$lanes::jobs(jobs) }
            }

            #[cfg(test)]
            pub(super) fn apply(
                self,
                operation: Operation,
                f: &[Limbs],
                g: &[Limbs],
            ) -> Vec<Applied> {
                // SAFETY: `self` exists only where the features were detected.
                unsafe { lanes::$lanes::apply(operation, f, g) }
            }
        }
    };
}

token!(
    /// That the processor has AVX2.
    Avx2, has_avx2, avx2, expand_avx2, run_avx2, BATCH / 2
);
token!(
    /// That the processor has the parts of AVX-512 which all but the first have.
    Avx512, has_avx512, avx512, expand_avx512, run_avx512, BATCH
);

#[target_feature(enable = "avx2")]
fn run_avx2(work: impl Work) {
    work.run();
}

#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn run_avx512(work: impl Work) {
    work.run();
}

/// The ten double rounds, in terms of the vector type's `add`, `xor` and rotations.
macro_rules! rounds {
    ($x:ident, $rotate_16:ident, $rotate_8:ident) => {
        for _ in 0..10 {
            quarter_rounds!($x, $rotate_16, $rotate_8, [0, 4, 8, 12], [1, 5, 9, 13]);
            quarter_rounds!($x, $rotate_16, $rotate_8, [2, 6, 10, 14], [3, 7, 11, 15]);
            quarter_rounds!($x, $rotate_16, $rotate_8, [0, 5, 10, 15], [1, 6, 11, 12]);
            quarter_rounds!($x, $rotate_16, $rotate_8, [2, 7, 8, 13], [3, 4, 9, 14]);
        }
    };
}

/// Two quarter rounds step by step: the steps of one fill the waits of the other, and what both
/// need fits the sixteen registers of AVX2.
macro_rules! quarter_rounds {
    ($x:ident, $rotate_16:ident, $rotate_8:ident, $([$a:literal, $b:literal, $c:literal, $d:literal]),*) => {
        $($x[$a] = add($x[$a], $x[$b]);)*
        $($x[$d] = $rotate_16(xor($x[$d], $x[$a]));)*
        $($x[$c] = add($x[$c], $x[$d]);)*
        $($x[$b] = rotate_12(xor($x[$b], $x[$c]));)*
        $($x[$a] = add($x[$a], $x[$b]);)*
        $($x[$d] = $rotate_8(xor($x[$d], $x[$a]));)*
        $($x[$c] = add($x[$c], $x[$d]);)*
        $($x[$b] = rotate_7(xor($x[$b], $x[$c]));)*
    };
}

#[target_feature(enable = "avx2")]
fn expand_avx2(state: &[u32; 16], blocks: &mut [[Block; BATCH / 2]]) {
    use avx2::{
        add, bytes_rotated_8, bytes_rotated_16, rotate_7, rotate_12, splat, transpose, xor,
    };

    // The compiler would replace one shuffle by an order that it does not know by two that it
    // knows.
    let order_16 = black_box(bytes_rotated_16());
    let order_8 = black_box(bytes_rotated_8());
    let rotate_16 = |a| _mm256_shuffle_epi8(a, order_16);
    let rotate_8 = |a| _mm256_shuffle_epi8(a, order_8);
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let mut counter = state[12];
    for blocks in blocks {
        let mut x = [splat(0); 16];
        for (x, word) in x.iter_mut().zip(state) {
            *x = splat(*word);
        }
        let counters = add(splat(counter), lanes);
        x[12] = counters;
        rounds!(x, rotate_16, rotate_8);
        for (i, (x, word)) in x.iter_mut().zip(state).enumerate() {
            *x = add(*x, if i == 12 { counters } else { splat(*word) });
        }
        transpose(&x, blocks);
        counter = counter.wrapping_add(8);
    }
}

#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn expand_avx512(state: &[u32; 16], blocks: &mut [[Block; BATCH]]) {
    use avx512::{add, rotate_7, rotate_8, rotate_12, rotate_16, splat, transpose, xor};

    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let mut counter = state[12];
    for blocks in blocks {
        let mut x = [splat(0); 16];
        for (x, word) in x.iter_mut().zip(state) {
            *x = splat(*word);
        }
        let counters = add(splat(counter), lanes);
        x[12] = counters;
        rounds!(x, rotate_16, rotate_8);
        for (i, (x, word)) in x.iter_mut().zip(state).enumerate() {
            *x = add(*x, if i == 12 { counters } else { splat(*word) });
        }
        transpose(&x, blocks);
        counter = counter.wrapping_add(16);
    }
}

mod avx2 {
    use super::*;

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn splat(word: u32) -> __m256i {
        _mm256_set1_epi32(word.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn add(a: __m256i, b: __m256i) -> __m256i {
        _mm256_add_epi32(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn xor(a: __m256i, b: __m256i) -> __m256i {
        _mm256_xor_si256(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn bytes_rotated_16() -> __m256i {
        _mm256_setr_epi8(
            2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, //
            2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13,
        )
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn bytes_rotated_8() -> __m256i {
        _mm256_setr_epi8(
            3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14, //
            3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14,
        )
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn rotate_12(a: __m256i) -> __m256i {
        _mm256_or_si256(_mm256_slli_epi32::<12>(a), _mm256_srli_epi32::<20>(a))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn rotate_7(a: __m256i) -> __m256i {
        _mm256_or_si256(_mm256_slli_epi32::<7>(a), _mm256_srli_epi32::<25>(a))
    }

    /// Writes eight blocks of which register i has word i.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn transpose(x: &[__m256i; 16], blocks: &mut [Block; BATCH / 2]) {
        let mut quarters = [[splat(0); 4]; 4];
        for (quarter, x) in quarters.iter_mut().zip(x.as_chunks::<4>().0) {
            let low = _mm256_unpacklo_epi32(x[0], x[1]);
            let high = _mm256_unpackhi_epi32(x[0], x[1]);
            let low_next = _mm256_unpacklo_epi32(x[2], x[3]);
            let high_next = _mm256_unpackhi_epi32(x[2], x[3]);
            // Lane h of entry j: the four words of block 4·h + j.
            *quarter = [
                _mm256_unpacklo_epi64(low, low_next),
                _mm256_unpackhi_epi64(low, low_next),
                _mm256_unpacklo_epi64(high, high_next),
                _mm256_unpackhi_epi64(high, high_next),
            ];
        }
        let [first, second, third, fourth] = &quarters;
        for j in 0..4 {
            let (a, b, c, d) = (first[j], second[j], third[j], fourth[j]);
            let ab = [
                _mm256_permute2x128_si256::<0x20>(a, b),
                _mm256_permute2x128_si256::<0x31>(a, b),
            ];
            let cd = [
                _mm256_permute2x128_si256::<0x20>(c, d),
                _mm256_permute2x128_si256::<0x31>(c, d),
            ];
            for half in 0..2 {
                let (halves, _) = blocks[4 * half + j].as_chunks_mut();
                store(ab[half], &mut halves[0]);
                store(cd[half], &mut halves[1]);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(a: __m256i, to: &mut [u8; 32]) {
        // SAFETY: `to` has the 32 bytes that are written; they need no alignment.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), a) }
    }
}

mod avx512 {
    use super::*;

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn splat(word: u32) -> __m512i {
        _mm512_set1_epi32(word.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn add(a: __m512i, b: __m512i) -> __m512i {
        _mm512_add_epi32(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn xor(a: __m512i, b: __m512i) -> __m512i {
        _mm512_xor_si512(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn rotate_16(a: __m512i) -> __m512i {
        _mm512_rol_epi32::<16>(a)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn rotate_12(a: __m512i) -> __m512i {
        _mm512_rol_epi32::<12>(a)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn rotate_8(a: __m512i) -> __m512i {
        _mm512_rol_epi32::<8>(a)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn rotate_7(a: __m512i) -> __m512i {
        _mm512_rol_epi32::<7>(a)
    }

    /// Writes sixteen blocks of which register i has word i.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn transpose(x: &[__m512i; 16], blocks: &mut [Block; BATCH]) {
        let mut quarters = [[splat(0); 4]; 4];
        for (quarter, x) in quarters.iter_mut().zip(x.as_chunks::<4>().0) {
            let low = _mm512_unpacklo_epi32(x[0], x[1]);
            let high = _mm512_unpackhi_epi32(x[0], x[1]);
            let low_next = _mm512_unpacklo_epi32(x[2], x[3]);
            let high_next = _mm512_unpackhi_epi32(x[2], x[3]);
            // Lane h of entry j: the four words of block 4·h + j.
            *quarter = [
                _mm512_unpacklo_epi64(low, low_next),
                _mm512_unpackhi_epi64(low, low_next),
                _mm512_unpacklo_epi64(high, high_next),
                _mm512_unpackhi_epi64(high, high_next),
            ];
        }
        let [first, second, third, fourth] = &quarters;
        for j in 0..4 {
            let (a, b, c, d) = (first[j], second[j], third[j], fourth[j]);
            // Lanes 0 and 1 of both, then lanes 2 and 3.
            let ab_low = _mm512_shuffle_i32x4::<0x44>(a, b);
            let cd_low = _mm512_shuffle_i32x4::<0x44>(c, d);
            let ab_high = _mm512_shuffle_i32x4::<0xee>(a, b);
            let cd_high = _mm512_shuffle_i32x4::<0xee>(c, d);
            // Even lanes, then odd lanes.
            store(_mm512_shuffle_i32x4::<0x88>(ab_low, cd_low), &mut blocks[j]);
            store(
                _mm512_shuffle_i32x4::<0xdd>(ab_low, cd_low),
                &mut blocks[4 + j],
            );
            store(
                _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high),
                &mut blocks[8 + j],
            );
            store(
                _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high),
                &mut blocks[12 + j],
            );
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(a: __m512i, to: &mut Block) {
        // SAFETY: `to` has the 64 bytes that are written; they need no alignment.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), a) }
    }
}
