//! From shares to seeds to masks to the sum: the only heavy loop of the server.
//!
//! It runs in batches, so that memory does not grow with the number of masks, and each step of a
//! batch runs over all threads (feature `parallel`). Every step keeps the order of the clients:
//! the outcome is the same, whatever the number of threads.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::{Abort, CollectUnmask, Common, Outcome, Phase, WrongShare};
use crate::{
    agreement,
    decoding::{self, Corrected},
    graph,
    mask::{self, Mask},
    message::{Advert, Revealed},
    parallel,
    primitives::{self, KeyPair, Opened as OpenedPairs},
    secret::{Seed, Share},
    set::Set,
    shamir::Coefficients,
    words::Sign,
};

/// Seeds that are opened at once.
const SEEDS: usize = 64;

/// Masks that are taken off at once, about as many, unless they are those of [`SURVIVORS`].
const MASKS: usize = 4096;

/// Survivors, at least as many, whose agreements are made at once.
const SURVIVORS: usize = 32;

/// Takes the self masks of the survivors off the sum, and the pairwise masks between survivors
/// and the clients that were lost after they shared their keys.
pub(super) fn recover(round: CollectUnmask) -> Result<Outcome, Abort> {
    let CollectUnmask {
        mut common,
        sharers,
        survivors,
        revealed,
        mut sum,
        ..
    } = round;
    let recovery = Recovery {
        common: &common,
        survivors: &survivors,
        revealed: &revealed,
    };
    let owners: Vec<usize> = sharers.iter().collect();
    let mut known = BTreeMap::new();
    let mut wrong_shares = Vec::new();
    let mut lost = BTreeMap::new();
    for owners in owners.chunks(SEEDS) {
        let mut masks = Vec::new();
        for opened in recovery.open(owners, &mut known)? {
            wrong_shares.extend(opened.wrong_shares);
            match opened.secret {
                Secret::SelfMask(mask) => masks.push(mask),
                Secret::Pair(pair) => {
                    lost.insert(opened.owner, pair);
                }
            }
        }
        mask::apply(&masks, &mut sum);
    }
    // By survivor: its key is multiplied by the scalars of all its lost neighbours.
    let at_once = (MASKS / common.graph.degree()).max(SURVIVORS);
    let at_once = at_once.next_multiple_of(agreement::TABLES);
    let remaining: Vec<usize> = survivors.iter().collect();
    for survivors in remaining.chunks(at_once) {
        let masks = parallel::map_chunks(survivors, agreement::TABLES, |survivors| {
            recovery.pairwise_masks(survivors, &lost)
        });
        mask::apply(&masks, &mut sum);
    }
    sum.reduce();
    for rank in survivors.iter().filter(|rank| !revealed.contains_key(rank)) {
        common.lost.entry(common.id(rank)).or_insert(Phase::Unmask);
    }
    Ok(Outcome {
        sum,
        contributors: common.ids(survivors.iter()),
        lost: common.lost.into_iter().collect(),
        wrong_shares,
    })
}

/// What the sum is opened with.
struct Recovery<'a> {
    common: &'a Common,
    survivors: &'a Set,
    /// By the holder's rank and the owner's.
    revealed: &'a BTreeMap<usize, BTreeMap<usize, Revealed>>,
}

/// A share, with the rank of its holder and the holder's coordinate.
#[derive(Clone, Copy)]
struct HeldShare<'a> {
    holder: usize,
    coordinate: u16,
    share: &'a Share,
}

/// An owner's seed was opened.
struct Opened {
    owner: usize,
    secret: Secret,
    wrong_shares: Vec<WrongShare>,
}

/// What an opened seed gives.
enum Secret {
    /// Of a survivor: its self mask, to be taken off.
    SelfMask(Mask),
    /// Of a lost client: the pair that makes its pairwise masks.
    Pair(KeyPair),
}

impl Recovery<'_> {
    /// Opens the seeds of these owners, in their order. Coefficients that are `known` from the
    /// owners before are used again: many seeds are held by the same clients.
    fn open(
        &self,
        owners: &[usize],
        known: &mut BTreeMap<Vec<u16>, Coefficients>,
    ) -> Result<Vec<Opened>, Abort> {
        let first: Vec<Result<Vec<HeldShare<'_>>, Abort>> =
            parallel::map(owners, |owner| self.first_shares(*owner));
        let sets = first.iter().flatten().map(|held| coordinates(held));
        let sets: BTreeSet<Vec<u16>> = sets.collect();
        known.retain(|set, _| sets.contains(set));
        let missing = sets.into_iter().filter(|set| !known.contains_key(set));
        let missing: Vec<Vec<u16>> = missing.collect();
        let computed = parallel::map(&missing, |set| {
            Coefficients::new(set).expect("positions among neighbours are distinct")
        });
        known.extend(missing.into_iter().zip(computed));
        let tasks: Vec<(usize, Vec<HeldShare<'_>>)> = owners
            .iter()
            .zip(first)
            .map(|(owner, first)| Ok((*owner, first?)))
            .collect::<Result<_, _>>()?;
        let opened = parallel::map(&tasks, |(owner, first)| self.open_one(*owner, first, known));
        opened.into_iter().collect()
    }

    /// The shares of this owner's seed that were revealed, by rank of their holders.
    fn held(&self, owner: usize) -> impl Iterator<Item = HeldShare<'_>> {
        let neighbours = self.common.graph.neighbours(owner).enumerate();
        neighbours.filter_map(move |(position, holder)| {
            match self.revealed.get(&holder)?.get(&owner)? {
                Revealed::Nothing => None,
                Revealed::SelfMask(share) | Revealed::MaskSeed(share) => Some(HeldShare {
                    holder,
                    coordinate: graph::coordinate(position),
                    share,
                }),
            }
        })
    }

    /// The first t of them.
    fn first_shares(&self, owner: usize) -> Result<Vec<HeldShare<'_>>, Abort> {
        let needed = self.common.threshold();
        let first: Vec<HeldShare<'_>> = self.held(owner).take(needed).collect();
        if first.len() < needed {
            return Err(Abort::TooFewShares {
                owner: self.common.id(owner),
                have: first.len(),
                needed,
            });
        }
        Ok(first)
    }

    /// Combines the first t shares of one owner's seed and checks the result against its advert.
    /// If it is not what was committed to, all shares are decoded.
    fn open_one(
        &self,
        owner: usize,
        first: &[HeldShare<'_>],
        known: &BTreeMap<Vec<u16>, Coefficients>,
    ) -> Result<Opened, Abort> {
        let common = self.common;
        let advert = common
            .roster
            .adverts
            .get(owner)
            .expect("sharers are in the roster");
        // V-37. A wrong share would otherwise take a wrong mask off and spoil the sum silently.
        let committed = |seed: &Seed| self.secret(owner, advert, seed);
        let seed = known
            .get(&coordinates(first))
            .expect("coefficients of all sets were computed")
            .reconstruct(first.iter().map(|held| held.share));
        if let Some(secret) = committed(&seed) {
            return Ok(Opened {
                owner,
                secret,
                wrong_shares: Vec::new(),
            });
        }

        // V-38. A liar could frame an honest dealer or holder: a pair is named, or the dealer with
        // all holders, and nobody is excluded on it.
        let undecided = Abort::WrongShares {
            dealer: advert.id,
            holders: common.ids(first.iter().map(|held| held.holder)),
        };
        let all: Vec<HeldShare<'_>> = self.held(owner).collect();
        let shares: Vec<&Share> = all.iter().map(|held| held.share).collect();
        let Corrected { seed, wrong } =
            decoding::correct(&coordinates(&all), &shares, first.len(), |seed| {
                committed(seed).is_some()
            })
            .ok_or_else(|| undecided.clone())?;
        let secret = committed(&seed).ok_or(undecided)?;
        let holders = wrong.into_iter().filter_map(|place| all.get(place));
        let pairs = holders.map(|held| WrongShare {
            dealer: advert.id,
            holder: common.id(held.holder),
        });
        Ok(Opened {
            owner,
            secret,
            wrong_shares: pairs.collect(),
        })
    }

    /// What this seed gives, if it is the one that its owner has committed to.
    fn secret(&self, owner: usize, advert: &Advert, seed: &Seed) -> Option<Secret> {
        let session = self.common.session.id();
        if self.survivors.contains(owner) {
            let commitment = primitives::self_mask_commitment(session, advert.id, seed);
            return (commitment == advert.self_mask_commitment).then(|| {
                let key = primitives::self_mask(&self.common.round, advert.id, seed);
                let sign = mask::opposite(Sign::Plus);
                Secret::SelfMask(Mask { key, sign })
            });
        }
        let pair = KeyPair::mask(seed, session, advert.id);
        (*pair.public() == advert.mask_key).then_some(Secret::Pair(pair))
    }

    /// What takes the masks between these survivors and their lost neighbours off.
    fn pairwise_masks(&self, survivors: &[usize], lost: &BTreeMap<usize, KeyPair>) -> Vec<Mask> {
        let common = self.common;
        let opened = survivors.iter().filter_map(|survivor| {
            let neighbours = common.graph.neighbours(*survivor);
            let owners = neighbours.filter_map(|rank| Some((common.id(rank), lost.get(&rank)?)));
            let advert = common.roster.adverts.get(*survivor)?;
            Some((advert.mask_end(), owners.collect()))
        });
        let opened: Vec<OpenedPairs<'_>> = opened.collect();
        let keys = primitives::pairwise_masks_with(&common.round, &opened);
        let masks = opened
            .iter()
            .zip(keys)
            .flat_map(|((survivor, owners), keys)| {
                keys.into_iter().zip(owners).map(|(key, (id, _))| Mask {
                    key,
                    sign: mask::opposite(mask::sign(survivor.id, *id)),
                })
            });
        masks.collect()
    }
}

fn coordinates(held: &[HeldShare<'_>]) -> Vec<u16> {
    held.iter().map(|held| held.coordinate).collect()
}
