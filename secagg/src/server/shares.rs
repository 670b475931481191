//! ShareKeys.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use super::{Abort, CollectMasked, Common, Phase, Rejection, RejectionReason, Tally, prune};
use crate::{
    id::ClientId,
    message::{Advert, Roster, ShareKeys},
    params::GraphKind,
};

/// Has fixed the roster; collects the sealed shares.
#[derive(Debug)]
pub struct CollectShares {
    common: Common,
    shared: BTreeMap<usize, ShareKeys>,
    /// What the rosters of all clients begin with.
    roster_bytes: Arc<[u8]>,
}

impl CollectShares {
    pub(super) fn new(common: Common) -> Self {
        Self {
            roster_bytes: common.roster.common_bytes(&common.session),
            common,
            shared: BTreeMap::new(),
        }
    }

    /// The roster as this client gets it; `None` for a client that is not in it.
    #[must_use]
    pub fn roster_for(&self, client: ClientId) -> Option<Roster> {
        let own = self.common.rank(client)?;
        let Common { roster, graph, .. } = &self.common;
        if self.common.session.parameters().graph() == GraphKind::Complete {
            // The same for everybody, and shared.
            return Some(roster.clone());
        }
        let adverts = graph
            .neighbours(own)
            .filter_map(|rank| roster.adverts.get(rank));
        Some(Roster {
            adverts: adverts.cloned().collect(),
            ..roster.clone()
        })
    }

    /// The bytes of [`roster_for`](Self::roster_for) this client, in two parts to be sent one after
    /// the other. The first is the same for everybody, and shared: with the sparse graph it is 48
    /// bytes for each client of the cohort, which would otherwise be copied for each of them.
    #[must_use]
    pub fn roster_bytes_for(&self, client: ClientId) -> Option<(Arc<[u8]>, Vec<u8>)> {
        let own = self.common.rank(client)?;
        let Common { roster, graph, .. } = &self.common;
        let session = &self.common.session;
        let mut adverts = Vec::new();
        if session.parameters().graph() == GraphKind::Sparse {
            adverts.reserve_exact(graph.degree() * Advert::len(session));
            graph
                .neighbours(own)
                .filter_map(|rank| roster.adverts.get(rank))
                .for_each(|advert| advert.put(&mut adverts));
        }
        Some((self.roster_bytes.clone(), adverts))
    }

    /// Takes a client's sealed shares.
    ///
    /// # Errors
    ///
    /// When the client is not in the roster or was dropped, sent its shares before, or sent
    /// another number of boxes than it has neighbours.
    pub fn receive(&mut self, from: ClientId, shares: ShareKeys) -> Result<(), Rejection> {
        let rank = self.common.expect(from, |_| true, &self.shared)?;
        // V-33. Every box behind a missing one would go to the wrong neighbour.
        let (expected, found) = (self.common.graph.degree(), shares.boxes.len());
        if found != expected {
            let reason = RejectionReason::WrongCount { expected, found };
            return Err(Rejection {
                client: from,
                reason,
            });
        }
        self.shared.insert(rank, shares);
        Ok(())
    }

    /// A client is gone. Nobody masks with it then, so losing it here costs nothing later.
    pub fn drop_client(&mut self, client: ClientId) {
        if let Some(rank) = self.common.rank(client) {
            self.shared.remove(&rank);
            self.common.lost.entry(client).or_insert(Phase::ShareKeys);
        }
    }

    /// How many clients have shared their keys.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let Common { lost, roster, .. } = &self.common;
        let missing = roster
            .clients()
            .enumerate()
            .filter(|(rank, id)| !self.shared.contains_key(rank) && !lost.contains_key(id))
            .map(|(_, id)| id)
            .collect();
        Tally {
            have: self.shared.len(),
            missing,
            needed: self.common.threshold() + 1,
        }
    }

    /// Fixes U2: the clients that have shared their keys, without those that have fewer
    /// neighbours in it than the threshold.
    ///
    /// # Errors
    ///
    /// When too few clients are left.
    pub fn close(self) -> Result<CollectMasked, Abort> {
        let Self {
            mut common,
            mut shared,
            roster_bytes: _,
        } = self;
        let needed = common.threshold() + 1;
        let too_few = |have| {
            Err(Abort::TooFewClients {
                phase: Phase::ShareKeys,
                have,
                needed,
            })
        };
        if shared.len() < needed {
            return too_few(shared.len());
        }
        // V-34. Their seeds could not be opened: a few that leave early would cost everybody the sum.
        prune(&mut shared, &common.graph, common.threshold());
        if shared.len() < needed {
            return too_few(shared.len());
        }
        common.lose_all_but(&shared, Phase::ShareKeys);
        Ok(CollectMasked::new(common, shared))
    }
}
