//! Agreements, for fuzz targets alone: remembered, see `group.rs` beside this file.

use alloc::vec::Vec;
use std::{cell::RefCell, collections::BTreeMap};

use curve25519_dalek::scalar::Scalar;

pub(crate) use self::real::{BATCH, Job, TABLES};
#[cfg(feature = "internals")]
pub(crate) use self::real::{by_each_on, with_each_on};
use crate::{
    group::{Memory, remember},
    primitives::PublicKey,
    secret::Seed,
};

#[path = "../agreement.rs"]
#[allow(dead_code, reason = "what is remembered is computed one by one")]
mod real;

std::thread_local! {
    static SHARED: Memory<([u8; 32], [u8; 32]), [u8; 32]> = const { RefCell::new(BTreeMap::new()) };
}

pub(crate) fn with_each(scalar: &Scalar, keys: &[&PublicKey]) -> Vec<Seed> {
    keys.iter().map(|key| shared(scalar, key)).collect()
}

pub(crate) fn by_each(jobs: &[Job<'_>]) -> Vec<Vec<Seed>> {
    let one = |(key, scalars): &Job<'_>| scalars.iter().map(|s| shared(s, key)).collect();
    jobs.iter().map(one).collect()
}

fn shared(scalar: &Scalar, key: &PublicKey) -> Seed {
    let one = || first(&real::with_each(scalar, &[key]));
    let both = (scalar.to_bytes(), *key.as_bytes());
    Seed::from_bytes(remember(&SHARED, both, one))
}

fn first(seeds: &[Seed]) -> [u8; 32] {
    let seed = seeds.first().expect("one agreement gives one seed");
    *seed.as_bytes()
}
