//! What the benchmarks measure on its own. No part of the public interface.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use curve25519_dalek::scalar::Scalar;
use rand_core::CryptoRng;

use crate::{
    agreement::{self, Job},
    id::ClientId,
    kernel::{BATCH, BLOCK_LEN, Path},
    mask::{self, Mask},
    primitives::{End, KeyPair, PublicKey},
    secret::{Key, Seed, Share},
    session::Session,
    shamir::{self, Coefficients},
    vector::Vector,
    words::Sign,
};

/// A buffer of 16 KiB.
pub type Buffer = [[[u8; BLOCK_LEN]; BATCH]; 16];

/// The ways to compute that this processor has, the fastest first, with their names.
#[must_use]
pub fn paths() -> Vec<(&'static str, Masking)> {
    let paths = [
        ("avx512", Path::avx512()),
        ("avx2", Path::avx2()),
        ("portable", Some(Path::PORTABLE)),
    ];
    let available = paths
        .into_iter()
        .filter_map(|(name, path)| Some((name, Masking(path?))));
    available.collect()
}

/// One way to compute keystream and masks.
#[derive(Clone, Copy, Debug)]
pub struct Masking(Path);

impl Masking {
    /// Fills a buffer with keystream.
    pub fn keystream(self, buffer: &mut Buffer) {
        self.0.expand(&Key::from_bytes([7; 32]), [0; 3], 0, buffer);
    }

    /// Puts this many masks on a vector, or takes them off.
    pub fn masks(self, count: u8, on: bool, vector: &mut Vector) {
        let sign = if on { Sign::Plus } else { Sign::Minus };
        let mask = |byte| Mask {
            key: Key::from_bytes([byte; 32]),
            sign,
        };
        let masks: Vec<Mask> = (0..count).map(mask).collect();
        mask::apply_by(self.0, &masks, vector);
    }

    /// One scalar with so many keys.
    #[must_use]
    pub fn agree_with_each(self, agreements: &Agreements, count: usize) -> usize {
        let keys: Vec<&PublicKey> = agreements.keys.iter().take(count).collect();
        let shared = agreement::with_each_on(self.0, &agreements.own, &keys);
        core::hint::black_box(shared).len()
    }

    /// Each of so many keys with so many scalars.
    #[must_use]
    pub fn agree_by_each(self, agreements: &Agreements, keys: usize, scalars: usize) -> usize {
        let scalars: Vec<&Scalar> = agreements.scalars.iter().take(scalars).collect();
        let keys = agreements.keys.iter().take(keys);
        let jobs: Vec<Job<'_>> = keys.map(|key| (key, scalars.clone())).collect();
        let shared = agreement::by_each_on(self.0, &jobs);
        core::hint::black_box(shared).iter().map(Vec::len).sum()
    }
}

/// Appends the packed bits of a vector.
pub fn pack(vector: &Vector, out: &mut Vec<u8>) {
    vector.pack(out);
}

/// Adds a packed vector to one of the same layout.
pub fn add_packed(vector: &mut Vector, packed: &[u8]) {
    vector.add_packed(packed);
}

/// The shares of a seed.
pub struct Dealt(Vec<Share>);

impl Dealt {
    /// Splits a seed.
    #[must_use]
    pub fn new(threshold: u32, holders: u32, rng: &mut dyn CryptoRng) -> Self {
        let seed = Seed::from_bytes([7; 32]);
        Self(shamir::split(&seed, threshold, holders, rng))
    }

    /// Opens the seed with the last shares.
    #[must_use]
    pub fn open(&self, combination: &Combination) -> Box<[u8; 32]> {
        let shares = self.0.iter().skip(combination.skipped);
        Box::new(*combination.coefficients.reconstruct(shares).as_bytes())
    }
}

impl fmt::Debug for Dealt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dealt").finish_non_exhaustive()
    }
}

/// How a set of shares is combined.
#[derive(Debug)]
pub struct Combination {
    skipped: usize,
    coefficients: Coefficients,
}

impl Combination {
    /// For the last shares of so many.
    ///
    /// # Panics
    ///
    /// With more than 65,535 holders.
    #[must_use]
    pub fn new(threshold: u16, holders: u16) -> Self {
        let skipped = holders.saturating_sub(threshold);
        let coordinates: Vec<u16> = (skipped + 1..=holders).collect();
        Self {
            skipped: skipped.into(),
            coefficients: Coefficients::new(&coordinates).expect("coordinates are distinct"),
        }
    }
}

/// Scalars and keys that agree, without what is derived from it.
pub struct Agreements {
    own: Scalar,
    keys: Vec<PublicKey>,
    scalars: Vec<Scalar>,
}

impl Agreements {
    /// With so many others.
    #[must_use]
    pub fn new(session: &Session, others: u8) -> Self {
        let pair = |byte| KeyPair::mask(&Seed::from_bytes([byte; 32]), session.id(), Agreeing::ID);
        Self {
            own: Scalar::from_bytes_mod_order([0x5a; 32]),
            keys: (0..others).map(|byte| *pair(byte).public()).collect(),
            scalars: (0..others)
                .map(|byte| Scalar::from_bytes_mod_order([byte | 1; 32]))
                .collect(),
        }
    }
}

impl fmt::Debug for Agreements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agreements").finish_non_exhaustive()
    }
}

/// A client that agrees with others on the keys of masks.
pub struct Agreeing {
    session: Session,
    pairs: Vec<KeyPair>,
}

impl Agreeing {
    /// With so many others.
    #[must_use]
    pub fn new(session: &Session, others: u8) -> Self {
        let pair = |byte| KeyPair::mask(&Seed::from_bytes([byte; 32]), session.id(), Self::ID);
        Self {
            session: session.clone(),
            pairs: (0..=others).map(pair).collect(),
        }
    }

    const ID: ClientId = ClientId::from_bytes([1; 16]);

    /// Agrees with all of them, so many at once.
    ///
    /// # Panics
    ///
    /// With none at once.
    pub fn agree(&self, at_once: usize) {
        let Some((own, others)) = self.pairs.split_first() else {
            return;
        };
        let round = crate::session::RoundId::new(self.session.id(), &[0; 32], 3, 2, 2);
        let ends: Vec<End<'_>> = others
            .iter()
            .map(|pair| End {
                id: Self::ID,
                key: pair.public(),
            })
            .collect();
        for ends in ends.chunks(at_once) {
            core::hint::black_box(own.pairwise_masks(&round, Self::ID, ends));
        }
    }
}

impl fmt::Debug for Agreeing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agreeing").finish_non_exhaustive()
    }
}
