//! From shares to seeds to masks to the sum: the only heavy loop of the server.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{Abort, CollectUnmask, Common, Outcome, Phase, WrongShare};
use crate::{
    decoding::{self, Corrected},
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
    let mut findings = Findings::default();
    let owners: Vec<usize> = round.sharers.iter().collect();
    for owner in owners {
        for (key, sign) in masks_of(&round, owner, &mut findings)? {
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
        wrong_shares: findings.wrong_shares,
    })
}

/// What is found for one seed and kept for all.
#[derive(Debug, Default)]
struct Findings {
    /// By the coordinates that they belong to: many seeds are held by the same.
    coefficients: BTreeMap<Vec<u16>, Coefficients>,
    wrong_shares: Vec<WrongShare>,
}

/// The masks that one owner's seed opens, with the signs that take them off.
fn masks_of(
    round: &CollectUnmask,
    owner: usize,
    findings: &mut Findings,
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
    let seed = reconstruct(round, owner, advert, findings)?;
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

/// Combines the first t shares of one owner's seed and checks the result against its advert. If
/// it is not what was committed to, all shares are decoded.
fn reconstruct(
    round: &CollectUnmask,
    owner: usize,
    advert: &Advert,
    findings: &mut Findings,
) -> Result<Seed, Abort> {
    let needed = round.common.threshold();
    let mut held = round.revealed.iter().filter_map(|(holder, revealed)| {
        let position = round.common.graph.position(owner, *holder)?;
        match revealed.get(&owner)? {
            Revealed::Nothing => None,
            Revealed::SelfMask(share) | Revealed::MaskSeed(share) => {
                Some((*holder, graph::coordinate(position), share))
            }
        }
    });
    let first: Vec<(usize, u16, &Share)> = held.by_ref().take(needed).collect();
    if first.len() < needed {
        return Err(Abort::TooFewShares {
            owner: advert.id,
            have: first.len(),
            needed,
        });
    }
    // V-37. A wrong share would otherwise take a wrong mask off and spoil the sum silently.
    let session = round.common.session.id();
    let committed = |seed: &Seed| {
        if round.survivors.contains(owner) {
            primitives::self_mask_commitment(session, advert.id, seed)
                == advert.self_mask_commitment
        } else {
            *KeyPair::mask(seed, session, advert.id).public() == advert.mask_key
        }
    };
    let seed = findings
        .coefficients
        .entry(first.iter().map(|(_, coordinate, _)| *coordinate).collect())
        .or_insert_with_key(|coordinates| {
            Coefficients::new(coordinates).expect("positions among neighbours are distinct")
        })
        .reconstruct(first.iter().map(|(.., share)| *share));
    if committed(&seed) {
        return Ok(seed);
    }

    // V-38. A liar could frame an honest dealer or holder: a pair is named, or the dealer with all
    // holders, and nobody is excluded on it.
    let combined = first.iter().map(|(holder, ..)| *holder);
    let undecided = Abort::WrongShares {
        dealer: advert.id,
        holders: round.common.ids(combined),
    };
    let all: Vec<(usize, u16, &Share)> = first.into_iter().chain(held).collect();
    let coordinates: Vec<u16> = all.iter().map(|(_, coordinate, _)| *coordinate).collect();
    let shares: Vec<&Share> = all.iter().map(|(.., share)| *share).collect();
    let Corrected { seed, wrong } =
        decoding::correct(&coordinates, &shares, needed, committed).ok_or(undecided)?;
    let holders = wrong.into_iter().filter_map(|place| all.get(place));
    let pairs = holders.map(|(holder, ..)| WrongShare {
        dealer: advert.id,
        holder: round.common.id(*holder),
    });
    findings.wrong_shares.extend(pairs);
    Ok(seed)
}
