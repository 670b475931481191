//! Unmask.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{Abort, Common, Outcome, Phase, Rejection, RejectionReason, Tally, recovery};
use crate::{
    id::ClientId,
    identity::SignatureBytes,
    message::{Revealed, Survivors, UnmaskShares},
    set::Set,
    vector::Vector,
};

/// Has fixed U3; collects the shares that open the sum.
#[derive(Debug)]
pub struct CollectUnmask {
    pub(super) common: Common,
    /// U2, over the roster.
    pub(super) sharers: Set,
    /// U3, over the roster.
    pub(super) survivors: Set,
    /// The holder's rank, and for each owner's rank what it revealed.
    pub(super) revealed: BTreeMap<usize, BTreeMap<usize, Revealed>>,
    /// Shares of each owner in U2 that are still needed; owners with enough are not in it.
    needed: BTreeMap<usize, usize>,
    pub(super) sum: Vector,
    /// Signatures on U3 by rank, where clients do not trust the server.
    pub(super) signed: BTreeMap<usize, SignatureBytes>,
}

impl CollectUnmask {
    pub(super) fn new(common: Common, sharers: Set, survivors: Set, sum: Vector) -> Self {
        let threshold = common.threshold();
        let needed = sharers.iter().map(|owner| (owner, threshold)).collect();
        Self {
            needed,
            common,
            sharers,
            survivors,
            revealed: BTreeMap::new(),
            sum,
            signed: BTreeMap::new(),
        }
    }

    /// The survivor set, the same for everybody.
    #[must_use]
    pub fn survivors(&self) -> Survivors {
        Survivors {
            set: self.survivors.clone(),
        }
    }

    /// The clients that are asked for shares, ascending: those in the survivor set that were not
    /// lost since.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientId> {
        self.common.awaited(self.survivors.iter())
    }

    /// Takes the shares that a survivor reveals.
    ///
    /// # Errors
    ///
    /// When the client is no survivor or was dropped, answered before, or revealed another number
    /// or kind of shares than is due.
    pub fn receive(&mut self, from: ClientId, shares: UnmaskShares) -> Result<(), Rejection> {
        let due = |rank| self.survivors.contains(rank);
        let holder = self.common.expect(from, due, &self.revealed)?;
        let reject = |reason| Rejection {
            client: from,
            reason,
        };
        let graph = &self.common.graph;
        let owners: Vec<usize> = graph
            .neighbours(holder)
            .filter(|rank| self.sharers.contains(*rank))
            .collect();
        // V-33. Every share behind a missing one would count for the wrong owner.
        let (expected, found) = (owners.len(), shares.shares.len());
        if found != expected {
            return Err(reject(RejectionReason::WrongCount { expected, found }));
        }
        let revealed: BTreeMap<usize, Revealed> = owners.into_iter().zip(shares.shares).collect();
        // V-36. Both kinds about one client would open its input to whoever reads the server.
        let wrong = revealed.iter().find(|(owner, share)| match share {
            Revealed::Nothing => false,
            Revealed::SelfMask(_) => !self.survivors.contains(**owner),
            Revealed::MaskSeed(_) => self.survivors.contains(**owner),
        });
        if let Some((owner, _)) = wrong {
            let owner = self.common.id(*owner);
            return Err(reject(RejectionReason::WrongShare { owner }));
        }
        for (owner, share) in &revealed {
            if matches!(share, Revealed::Nothing) {
                continue;
            }
            if let Some(left) = self.needed.get_mut(owner) {
                *left -= 1;
                if *left == 0 {
                    self.needed.remove(owner);
                }
            }
        }
        self.revealed.insert(holder, revealed);
        Ok(())
    }

    /// A client is gone. Its vector stays in the sum; its shares are missing.
    pub fn drop_client(&mut self, client: ClientId) {
        let pending = |rank: &usize| !self.revealed.contains_key(rank);
        if self.common.rank(client).as_ref().is_some_and(pending) {
            self.common.lost.entry(client).or_insert(Phase::Unmask);
        }
    }

    /// How many survivors have answered.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let missing = self
            .survivors
            .iter()
            .filter(|rank| !self.revealed.contains_key(rank));
        let missing = self.common.awaited(missing);
        // The seed of a survivor that answered is held by the others: t shares of it need t + 1
        // answers. In a sparse graph more may be needed; which ones is known when they are there.
        let have = self.revealed.len();
        let least = self.common.threshold() + 1;
        let needed = if self.needed.is_empty() {
            least
        } else {
            least.max(have + 1)
        };
        Tally {
            have,
            missing,
            needed,
        }
    }

    /// Reconstructs the seeds, checks each against its commitment, and takes the masks off.
    ///
    /// # Errors
    ///
    /// When too few shares were revealed, or shares do not give what their dealer committed to.
    pub fn close(self) -> Result<Outcome, Abort> {
        let (have, needed) = (self.revealed.len(), self.common.threshold() + 1);
        if have < needed {
            return Err(Abort::TooFewClients {
                phase: Phase::Unmask,
                have,
                needed,
            });
        }
        recovery::recover(self)
    }
}
