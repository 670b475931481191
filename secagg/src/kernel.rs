//! The keystream's inner loop, on whatever vector unit the processor has, and the way to `lanes.rs`.
//!
//! A path computes `ChaCha20` blocks (RFC 8439) and runs the additions of `words.rs` with the same
//! instructions. All paths give the same bytes: [`Path::PORTABLE`], which the `chacha20` crate
//! computes, is the reference for the others. Only `x86.rs` beside this file is allowed `unsafe`.

#[cfg(target_arch = "x86_64")]
mod x86;

use alloc::vec::Vec;

use chacha20::{
    ChaCha20, KeyIvInit,
    cipher::{StreamCipher, StreamCipherSeek},
};
use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroize;

#[cfg(all(test, target_arch = "x86_64"))]
use crate::lanes;
use crate::secret::{Key, Seed};

/// Bytes of a block of keystream.
pub(crate) const BLOCK_LEN: usize = 64;

/// A block of keystream.
pub(crate) type Block = [u8; BLOCK_LEN];

/// Blocks that are computed together.
pub(crate) const BATCH: usize = 16;

/// Plain code that a compiler spreads over the lanes of a vector unit.
pub(crate) trait Work {
    /// Must be `#[inline(always)]`, and so must everything in it that matters: only what is inlined
    /// into a path is compiled for its instructions.
    fn run(self);
}

/// A way to compute: it exists only where the processor has what it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path(Kind);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
}

impl Path {
    /// The path that every processor has.
    pub(crate) const PORTABLE: Self = Self(Kind::Portable);

    /// The path on AVX2, if the processor has it.
    pub(crate) fn avx2() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return x86::Avx2::detect().map(|token| Self(Kind::Avx2(token)));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// The path on AVX-512, if the processor has it.
    pub(crate) fn avx512() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        return x86::Avx512::detect().map(|token| Self(Kind::Avx512(token)));
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// The fastest path of this processor.
    pub(crate) fn best() -> Self {
        Self::avx512().or_else(Self::avx2).unwrap_or(Self::PORTABLE)
    }

    /// Computes consecutive blocks of the stream of this key and nonce, from block `counter` on.
    pub(crate) fn expand(
        self,
        key: &Key,
        nonce: [u32; 3],
        counter: u32,
        blocks: &mut [[Block; BATCH]],
    ) {
        match self.0 {
            Kind::Portable => expand_portable(key, nonce, counter, blocks.as_flattened_mut()),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(token) => {
                let mut state = initial_state(key, nonce, counter);
                let (halves, _) = blocks.as_flattened_mut().as_chunks_mut();
                token.expand(&state, halves);
                state.zeroize();
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(token) => {
                let mut state = initial_state(key, nonce, counter);
                token.expand(&state, blocks);
                state.zeroize();
            }
        }
    }

    /// Runs `work`, compiled for this path's instructions.
    pub(crate) fn run(self, work: impl Work) {
        match self.0 {
            Kind::Portable => work.run(),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(token) => token.run(work),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(token) => token.run(work),
        }
    }

    /// The points of these pairs of an encoding and a scalar, multiplied and encoded; `None` on a
    /// path without lanes for it. Encodings must be canonical.
    pub(crate) fn multiply(self, pairs: &[(&[u8; 32], &Scalar)]) -> Option<Vec<Seed>> {
        match self.0 {
            Kind::Portable => None,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(token) => Some(token.multiply(pairs)),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(token) => Some(token.multiply(pairs)),
        }
    }

    /// The same for each of these pairs of an encoding and scalars.
    pub(crate) fn multiply_by_each(
        self,
        jobs: &[(&[u8; 32], &[&Scalar])],
    ) -> Option<Vec<Vec<Seed>>> {
        match self.0 {
            Kind::Portable => None,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(token) => Some(token.multiply_by_each(jobs)),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(token) => Some(token.multiply_by_each(jobs)),
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
impl Path {
    /// In each lane an operation on field elements.
    pub(crate) fn apply(
        self,
        operation: lanes::Operation,
        f: &[lanes::Limbs],
        g: &[lanes::Limbs],
    ) -> Vec<lanes::Applied> {
        match self.0 {
            Kind::Portable => Vec::new(),
            Kind::Avx2(token) => token.apply(operation, f, g),
            Kind::Avx512(token) => token.apply(operation, f, g),
        }
    }
}

fn expand_portable(key: &Key, nonce: [u32; 3], counter: u32, blocks: &mut [Block]) {
    let mut bytes = [0; 12];
    for (to, from) in bytes.as_chunks_mut().0.iter_mut().zip(nonce) {
        *to = u32::to_le_bytes(from);
    }
    let mut cipher = ChaCha20::new(key.as_bytes().into(), &bytes.into());
    cipher.seek(u64::from(counter) * BLOCK_LEN as u64);
    cipher.write_keystream(blocks.as_flattened_mut());
}

/// The words that a block starts from (RFC 8439, section 2.3).
#[cfg(target_arch = "x86_64")]
fn initial_state(key: &Key, [n0, n1, n2]: [u32; 3], counter: u32) -> [u32; 16] {
    let mut state = [0; 16];
    let constants = b"expand 32-byte k".as_chunks().0;
    let keys = key.as_bytes().as_chunks().0;
    for (word, bytes) in state.iter_mut().zip(constants.iter().chain(keys)) {
        *word = u32::from_le_bytes(*bytes);
    }
    for (word, value) in state.iter_mut().skip(12).zip([counter, n0, n1, n2]) {
        *word = value;
    }
    state
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    /// Every path that this processor has, but for the reference.
    pub(crate) fn paths() -> impl Iterator<Item = Path> {
        [Path::avx2(), Path::avx512()].into_iter().flatten()
    }

    /// Else this processor would be slow, and the tests of its paths would test nothing.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_paths_are_those_of_the_processor() {
        use std::is_x86_feature_detected as has;
        let avx512 = has!("avx512f") && has!("avx512bw") && has!("avx512vl");
        assert_eq!(Path::avx2().is_some(), has!("avx2"));
        assert_eq!(Path::avx512().is_some(), avx512);
        match Path::best().0 {
            Kind::Avx512(_) => assert!(avx512),
            Kind::Avx2(_) => assert!(!avx512 && has!("avx2")),
            Kind::Portable => assert!(!avx512 && !has!("avx2")),
        }
    }

    /// RFC 8439, section 2.3.2.
    #[test]
    fn a_block_is_that_of_the_rfc() {
        let key = Key::from_bytes(core::array::from_fn(|i| u8::try_from(i).unwrap()));
        let nonce = [0x0900_0000, 0x4a00_0000, 0];
        let expected = [
            0xe4e7_f110,
            0x1559_3bd1,
            0x1fdd_0f50,
            0xc471_20a3,
            0xc7f4_d1c7,
            0x0368_c033,
            0x9aaa_2204,
            0x4e6c_d4c3,
            0x4664_82d2,
            0x09aa_9f07,
            0x05d7_c214,
            0xa202_8bd9,
            0xd19c_12b5,
            0xb94e_16de,
            0xe883_d0cb,
            0x4e3c_50a2_u32,
        ];
        for path in paths().chain([Path::PORTABLE]) {
            let mut blocks = [[[0; BLOCK_LEN]; BATCH]];
            path.expand(&key, nonce, 1, &mut blocks);
            let words = blocks[0][0]
                .as_chunks()
                .0
                .iter()
                .map(|w| u32::from_le_bytes(*w));
            assert!(words.eq(expected), "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn every_path_gives_the_reference_keystream(
            key: [u8; 32], nonce: [u32; 3], counter in 0..u32::MAX - 1024, batches in 1_usize..9,
        ) {
            let key = Key::from_bytes(key);
            let mut expected = vec![[[0; BLOCK_LEN]; BATCH]; batches];
            Path::PORTABLE.expand(&key, nonce, counter, &mut expected);
            for path in paths() {
                let mut blocks = vec![[[0; BLOCK_LEN]; BATCH]; batches];
                path.expand(&key, nonce, counter, &mut blocks);
                prop_assert_eq!(&blocks, &expected, "{:?}", path);
            }
        }
    }
}
