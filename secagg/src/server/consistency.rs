//! ConsistencyCheck.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::{Abort, CollectUnmask, Phase, Rejection, RejectionReason, Tally};
use crate::{
    id::ClientId,
    identity::SignatureBytes,
    message::{ConsistencyCheck, Signatures, Survivors, has_signed},
    set::Set,
};

/// Has fixed U3; collects its members' signatures on it.
#[derive(Debug)]
pub struct CollectSignatures {
    unmask: CollectUnmask,
    signed: BTreeMap<usize, SignatureBytes>,
}

impl CollectSignatures {
    pub(super) const fn new(unmask: CollectUnmask) -> Self {
        Self {
            unmask,
            signed: BTreeMap::new(),
        }
    }

    /// The survivor set, the same for everybody.
    #[must_use]
    pub fn survivors(&self) -> Survivors {
        self.unmask.survivors()
    }

    /// The clients in the survivor set, ascending: those that are asked to sign.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientId> {
        self.unmask.clients()
    }

    /// Takes a survivor's signature.
    ///
    /// # Errors
    ///
    /// When the client is no survivor or was dropped, signed before, or its signature is not one
    /// on this set.
    pub fn receive(&mut self, from: ClientId, check: &ConsistencyCheck) -> Result<(), Rejection> {
        let CollectUnmask {
            common, survivors, ..
        } = &self.unmask;
        let due = |rank| survivors.contains(rank);
        let rank = common.expect(from, due, &self.signed)?;
        let advert = common.roster.adverts.get(rank);
        let identity = advert
            .and_then(|advert| advert.proof.as_ref())
            .map(|proof| proof.credential.identity_key());
        // V-35. One signature that does not verify would be missing at each of its neighbours.
        let valid =
            identity.is_some_and(|key| has_signed(key, &common.round, survivors, &check.signature));
        if !valid {
            let reason = RejectionReason::WrongSignature;
            return Err(Rejection {
                client: from,
                reason,
            });
        }
        self.signed.insert(rank, check.signature);
        Ok(())
    }

    /// A client is gone. Its vector stays in the sum; its shares are missing.
    pub fn drop_client(&mut self, client: ClientId) {
        let common = &mut self.unmask.common;
        if let Some(rank) = common.rank(client) {
            self.signed.remove(&rank);
            common.lost.entry(client).or_insert(Phase::ConsistencyCheck);
        }
    }

    /// How many survivors have signed.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let CollectUnmask {
            common, survivors, ..
        } = &self.unmask;
        let missing = survivors
            .iter()
            .filter(|rank| !self.signed.contains_key(rank));
        Tally {
            have: self.signed.len(),
            missing: common.awaited(missing),
            needed: common.threshold() + 1,
        }
    }

    /// Fixes who is asked for shares: those that have signed, and of whose neighbours at least t
    /// have signed, because the others will not answer.
    ///
    /// # Errors
    ///
    /// When too few are left.
    pub fn close(self) -> Result<CollectUnmask, Abort> {
        let Self { mut unmask, signed } = self;
        let common = &mut unmask.common;
        let (threshold, needed) = (common.threshold(), common.threshold() + 1);
        let too_few = |have| {
            Err(Abort::TooFewClients {
                phase: Phase::ConsistencyCheck,
                have,
                needed,
            })
        };
        if signed.len() < needed {
            return too_few(signed.len());
        }
        let enough = |rank: &usize| {
            let neighbours = common.graph.neighbours(*rank);
            neighbours
                .filter(|other| signed.contains_key(other))
                .count()
                >= threshold
        };
        let asked: BTreeSet<usize> = signed.keys().copied().filter(enough).collect();
        if asked.len() < needed {
            return too_few(asked.len());
        }
        for rank in unmask.survivors.iter().filter(|rank| !asked.contains(rank)) {
            let id = common.id(rank);
            common.lost.entry(id).or_insert(Phase::ConsistencyCheck);
        }
        unmask.signed = signed;
        Ok(unmask)
    }
}

impl CollectUnmask {
    /// The signatures that this client needs before it reveals: those of its first t neighbours
    /// that have signed. `None` for a client that is not asked.
    #[must_use]
    pub fn signatures_for(&self, client: ClientId) -> Option<Signatures> {
        let common = &self.common;
        let own = common
            .rank(client)
            .filter(|rank| self.signed.contains_key(rank) && !common.lost.contains_key(&client))?;
        let mut signers = Set::empty(common.graph.degree());
        let mut signatures = Vec::with_capacity(common.threshold());
        let neighbours = common.graph.neighbours(own).enumerate();
        let signed = neighbours
            .filter_map(|(position, rank)| Some((position, self.signed.get(&rank)?)))
            .take(common.threshold());
        for (position, signature) in signed {
            signers.insert(position);
            signatures.push(*signature);
        }
        Some(Signatures {
            signers,
            signatures,
        })
    }
}
