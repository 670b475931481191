//! The group, for fuzz targets alone: results are remembered, because the same clients meet again and
//! again, and an agreement takes a sanitizer half a millisecond.

use std::{cell::RefCell, collections::BTreeMap, thread::LocalKey};

use curve25519_dalek::{ristretto::RistrettoPoint, scalar::Scalar};

#[path = "../group.rs"]
mod real;

/// What was computed before.
pub(crate) type Memory<K, V> = RefCell<BTreeMap<K, V>>;

std::thread_local! {
    static POINTS: Memory<[u8; 32], Option<RistrettoPoint>> = const { RefCell::new(BTreeMap::new()) };
    static KEYS: Memory<[u8; 32], (RistrettoPoint, [u8; 32])> = const { RefCell::new(BTreeMap::new()) };
}

pub(crate) fn decompress(bytes: &[u8; 32]) -> Option<RistrettoPoint> {
    remember(&POINTS, *bytes, || real::decompress(bytes))
}

pub(crate) fn public(scalar: &Scalar) -> (RistrettoPoint, [u8; 32]) {
    remember(&KEYS, scalar.to_bytes(), || real::public(scalar))
}

/// So much is remembered; then all of it is forgotten.
const MOST: usize = 1 << 14;

pub(crate) fn remember<K: Ord, V: Clone>(
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
