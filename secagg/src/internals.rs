//! Inner functions over plain bytes, for the benches and checks of this repository. No part of the
//! API: nothing here is promised, and none of it is a protocol.
#![allow(missing_docs, reason = "hidden from the documentation")]

pub mod bench;

use alloc::vec::Vec;

use rand_core::CryptoRng;

use crate::{
    client,
    id::ClientId,
    mask::{self, Mask},
    primitives::{End, KeyPair, PublicKey},
    secret::{Key, Seed, Share},
    session::{RoundId, Session},
    shamir::{self, Coefficients},
    vector::Vector,
    words::Sign,
};

const OWN: ClientId = ClientId::from_bytes([1; ClientId::LEN]);
const PEER: ClientId = ClientId::from_bytes([2; ClientId::LEN]);

/// Splits a seed into shares; the i-th belongs to the coordinate i + 1. `threshold` and `holders` as in
/// the protocol: from 1 to 65,535.
pub fn split(
    seed: &[u8; 32],
    threshold: u32,
    holders: u32,
    rng: &mut dyn CryptoRng,
) -> Vec<[u8; 32]> {
    let shares = shamir::split(&Seed::from_bytes(*seed), threshold, holders, rng);
    shares.iter().map(|share| *share.as_bytes()).collect()
}

/// What reconstructs seeds from shares at these coordinates; `None` for zero or duplicates.
pub fn reconstruction(coordinates: &[u16]) -> Option<impl Fn(&[[u8; 32]]) -> [u8; 32]> {
    let coefficients = Coefficients::new(coordinates)?;
    Some(move |shares: &[[u8; 32]]| {
        let shares: Vec<Share> = shares.iter().copied().map(Share::from_bytes).collect();
        *coefficients.reconstruct(&shares).as_bytes()
    })
}

/// The public key of a mask pair.
pub fn mask_public_key(seed: &[u8; 32], session: &Session) -> [u8; 32] {
    let pair = KeyPair::mask(&Seed::from_bytes(*seed), session.id(), OWN);
    *pair.public().as_bytes()
}

/// Agreement and derivation: the key of the mask with a peer. `None` if the peer's key is none.
pub fn pairwise_mask(seed: &[u8; 32], peer: [u8; 32], session: &Session) -> Option<[u8; 32]> {
    let pair = KeyPair::mask(&Seed::from_bytes(*seed), session.id(), OWN);
    let key = PublicKey::from_bytes(peer)?;
    let peer = End {
        id: PEER,
        key: &key,
    };
    let keys = pair.pairwise_masks(&round(session), OWN, &[peer]);
    keys.first().map(|key| *key.as_bytes())
}

/// Agreement, derivation and sealing of two shares. `None` if the peer's key is none.
pub fn seal(
    seed: &[u8; 32],
    peer: [u8; 32],
    shares: &[[u8; 32]; 2],
    session: &Session,
) -> Option<Vec<u8>> {
    let pair = KeyPair::channel(&Seed::from_bytes(*seed), session.id(), OWN);
    let key = PublicKey::from_bytes(peer)?;
    let peer = End {
        id: PEER,
        key: &key,
    };
    let (key, _) = pair.keys_of_boxes(&round(session), OWN, &[peer]).pop()?;
    let [mask_share, self_share] = shares.map(Share::from_bytes);
    Some(client::seal(key, &mask_share, &self_share).into())
}

/// Adds a mask to a vector.
pub fn mask(key: &[u8; 32], vector: &mut Vector) {
    let mask = Mask {
        key: Key::from_bytes(*key),
        sign: Sign::Plus,
    };
    mask::apply(&[mask], vector);
}

fn round(session: &Session) -> RoundId {
    RoundId::new(session.id(), &[0; 32], 3, 2, 2)
}
