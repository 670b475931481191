//! The group, for fuzz targets alone: results are remembered, because the same clients meet again and
//! again, and an agreement takes a sanitizer half a millisecond.

use std::{cell::RefCell, collections::BTreeMap, thread::LocalKey};

use curve25519_dalek::{ristretto::RistrettoPoint, scalar::Scalar};

use crate::{primitives::PublicKey, secret::Seed};

#[path = "../group.rs"]
mod real;

type Memory<K, V> = RefCell<BTreeMap<K, V>>;

std::thread_local! {
    static POINTS: Memory<[u8; 32], Option<RistrettoPoint>> = const { RefCell::new(BTreeMap::new()) };
    static KEYS: Memory<[u8; 32], (RistrettoPoint, [u8; 32])> = const { RefCell::new(BTreeMap::new()) };
    static SHARED: Memory<([u8; 32], [u8; 32]), [u8; 32]> = const { RefCell::new(BTreeMap::new()) };
}

pub(crate) fn decompress(bytes: &[u8; 32]) -> Option<RistrettoPoint> {
    remember(&POINTS, *bytes, || real::decompress(bytes))
}

pub(crate) fn public(scalar: &Scalar) -> (RistrettoPoint, [u8; 32]) {
    remember(&KEYS, scalar.to_bytes(), || real::public(scalar))
}

pub(crate) fn shared(scalar: &Scalar, peer: &PublicKey) -> Seed {
    let key = (scalar.to_bytes(), *peer.as_bytes());
    let shared = remember(&SHARED, key, || *real::shared(scalar, peer).as_bytes());
    Seed::from_bytes(shared)
}

/// So much is remembered; then all of it is forgotten.
const MOST: usize = 1 << 14;

fn remember<K: Ord, V: Clone>(
    memory: &'static LocalKey<Memory<K, V>>,
    key: K,
    compute: impl FnOnce() -> V,
) -> V {
    memory.with_borrow_mut(|memory| {
        if memory.len() >= MOST {
            memory.clear();
        }
        memory.entry(key).or_insert_with(compute).clone()
    })
}
