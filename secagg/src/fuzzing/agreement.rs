//! Agreements, for fuzz targets alone: remembered, see `group.rs` beside this file.

use alloc::vec::Vec;
use core::iter;
use std::{cell::RefCell, collections::BTreeMap};

use curve25519_dalek::{ristretto::RistrettoPoint, scalar::Scalar};

pub(crate) use self::real::BATCH;
use crate::{
    group::{Memory, remember},
    secret::Seed,
};

#[path = "../agreement.rs"]
#[allow(dead_code, reason = "what is remembered is computed one by one")]
mod real;

std::thread_local! {
    static SHARED: Memory<([u8; 32], [u8; 32]), [u8; 32]> = const { RefCell::new(BTreeMap::new()) };
}

pub(crate) fn with_each<'a>(
    scalar: &Scalar,
    points: impl Iterator<Item = &'a RistrettoPoint>,
) -> Vec<Seed> {
    points.map(|point| shared(scalar, point)).collect()
}

pub(crate) fn by_each<'a>(
    point: &RistrettoPoint,
    scalars: impl ExactSizeIterator<Item = &'a Scalar>,
) -> Vec<Seed> {
    scalars.map(|scalar| shared(scalar, point)).collect()
}

fn shared(scalar: &Scalar, point: &RistrettoPoint) -> Seed {
    let key = (scalar.to_bytes(), point.compress().to_bytes());
    let one = || first(&real::with_each(scalar, iter::once(point)));
    Seed::from_bytes(remember(&SHARED, key, one))
}

fn first(seeds: &[Seed]) -> [u8; 32] {
    let seed = seeds.first().expect("one agreement gives one seed");
    *seed.as_bytes()
}
