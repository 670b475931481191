//! From shares to seeds to masks to the sum: the only heavy loop of the server.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{Abort, CollectUnmask, Common, Outcome, Phase};
use crate::{
    graph, mask,
    message::{Advert, Revealed},
    primitives::{self, KeyPair},
    secret::{Key, Seed, Share},
    shamir::Coefficients,
    words::Sign,
};

/// Takes the self masks of the survivors off the sum, and the pairwise masks between survivors
/// and the clients that were lost after they shared their keys.
pub(super) fn recover(mut round: CollectUnmask) -> Result<Outcome, Abort> {
    let mut coefficients = BTreeMap::new();
    let owners: Vec<usize> = round.sharers.iter().collect();
    for owner in owners {
        for (key, sign) in masks_of(&round, owner, &mut coefficients)? {
            mask::apply(&key, sign, &mut round.sum);
        }
    }
    round.sum.reduce();
    let CollectUnmask {
        mut common,
        survivors,
        revealed,
        sum,
        ..
    } = round;
    for rank in survivors.iter().filter(|rank| !revealed.contains_key(rank)) {
        common.lost.entry(common.id(rank)).or_insert(Phase::Unmask);
    }
    Ok(Outcome {
        sum,
        contributors: common.ids(survivors.iter()),
        lost: common.lost.into_iter().collect(),
    })
}

/// The masks that one owner's seed opens, with the signs that take them off.
fn masks_of(
    round: &CollectUnmask,
    owner: usize,
    coefficients: &mut BTreeMap<Vec<u16>, Coefficients>,
) -> Result<Vec<(Key, Sign)>, Abort> {
    let Common {
        session,
        roster,
        graph,
        round: id,
        ..
    } = &round.common;
    let advert = roster
        .adverts
        .get(owner)
        .expect("sharers are in the roster");
    let seed = reconstruct(round, owner, advert, coefficients)?;
    if round.survivors.contains(owner) {
        let key = primitives::self_mask(id, advert.id, &seed);
        return Ok(Vec::from([(key, mask::opposite(Sign::Plus))]));
    }
    let pair = KeyPair::mask(&seed, session.id(), advert.id);
    let survivors = graph
        .neighbours(owner)
        .filter(|rank| round.survivors.contains(*rank));
    let masks = survivors
        .filter_map(|rank| roster.adverts.get(rank))
        .map(|peer| {
            let key = pair.pairwise_mask(id, advert.id, peer.id, &peer.mask_key);
            (key, mask::opposite(mask::sign(peer.id, advert.id)))
        });
    Ok(masks.collect())
}

/// Combines the first t shares of one owner's seed and checks the result against its advert.
fn reconstruct(
    round: &CollectUnmask,
    owner: usize,
    advert: &Advert,
    coefficients: &mut BTreeMap<Vec<u16>, Coefficients>,
) -> Result<Seed, Abort> {
    let needed = round.common.threshold();
    let mut holders = Vec::with_capacity(needed);
    let mut coordinates = Vec::with_capacity(needed);
    let mut shares: Vec<&Share> = Vec::with_capacity(needed);
    for (holder, revealed) in &round.revealed {
        let (Some(position), Some(Revealed::SelfMask(share) | Revealed::MaskSeed(share))) = (
            round.common.graph.position(owner, *holder),
            revealed.get(&owner),
        ) else {
            continue;
        };
        holders.push(*holder);
        coordinates.push(graph::coordinate(position));
        shares.push(share);
        if shares.len() == needed {
            break;
        }
    }
    if shares.len() < needed {
        let have = shares.len();
        return Err(Abort::TooFewShares {
            owner: advert.id,
            have,
            needed,
        });
    }
    let seed = coefficients
        .entry(coordinates)
        .or_insert_with_key(|coordinates| {
            Coefficients::new(coordinates).expect("positions among neighbours are distinct")
        })
        .reconstruct(shares);

    // Wrong shares would otherwise take a wrong mask off and spoil the sum silently.
    let session = round.common.session.id();
    let committed = if round.survivors.contains(owner) {
        primitives::self_mask_commitment(session, advert.id, &seed) == advert.self_mask_commitment
    } else {
        *KeyPair::mask(&seed, session, advert.id).public() == advert.mask_key
    };
    if committed {
        Ok(seed)
    } else {
        let holders = round.common.ids(holders);
        Err(Abort::WrongShares {
            dealer: advert.id,
            holders,
        })
    }
}
