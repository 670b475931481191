//! Inner functions, for fuzz targets alone. Secrets are plain bytes here.

use alloc::vec::Vec;

use crate::{
    codec::to_u32,
    decoding::{self, Corrected},
    identity::SigningIdentity,
    message::{ConsistencyCheck, Roster, Survivors},
    secret::{Seed, Share},
    session::{RoundId, Session},
};

/// The signature of a client that was shown this roster on this set of survivors.
#[must_use]
pub fn sign_survivors(
    key: &SigningIdentity,
    session: &Session,
    roster: &Roster,
    survivors: &Survivors,
) -> [u8; 64] {
    let round = RoundId::new(
        session.id(),
        &roster.digest(),
        to_u32(roster.entries.len()),
        roster.degree(),
        roster.threshold(),
    );
    ConsistencyCheck::sign(key, &round, &survivors.set).signature
}

/// Corrects shares: the seed, if it is the one committed to, and the places of the wrong ones.
#[must_use]
pub fn correct(
    coordinates: &[u16],
    shares: &[[u8; 32]],
    threshold: usize,
    committed: &[u8; 32],
) -> Option<([u8; 32], Vec<usize>)> {
    let shares: Vec<Share> = shares
        .iter()
        .map(|bytes| Share::from_bytes(*bytes))
        .collect();
    let shares: Vec<&Share> = shares.iter().collect();
    let committed = |seed: &Seed| seed.as_bytes() == committed;
    let Corrected { seed, wrong } = decoding::correct(coordinates, &shares, threshold, committed)?;
    Some((*seed.as_bytes(), wrong))
}
