//! MaskedInput.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{Abort, CollectSignatures, CollectUnmask, Common, Phase, Rejection, Tally};
use crate::{
    id::ClientId,
    message::{Delivery, MaskedInput, ShareKeys},
    params::ThreatModel,
    set::Set,
    vector::Vector,
};

/// Has fixed U2; adds each masked vector when it arrives, and keeps none.
#[derive(Debug)]
pub struct CollectMasked {
    common: Common,
    /// The boxes of U2, by the sender's rank.
    shared: BTreeMap<usize, ShareKeys>,
    added: BTreeMap<usize, ()>,
    sum: Vector,
}

impl CollectMasked {
    pub(super) fn new(common: Common, shared: BTreeMap<usize, ShareKeys>) -> Self {
        let sum = Vector::zero(common.session.layout());
        Self {
            common,
            shared,
            added: BTreeMap::new(),
            sum,
        }
    }

    /// The boxes for this client, from its neighbours in U2; `None` for a client that is not in
    /// U2 itself.
    #[must_use]
    pub fn delivery_for(&self, client: ClientId) -> Option<Delivery> {
        let own = self
            .common
            .rank(client)
            .filter(|rank| self.shared.contains_key(rank))?;
        let graph = &self.common.graph;
        let mut sharers = Set::empty(graph.degree());
        let mut boxes = Vec::with_capacity(graph.degree());
        for (position, rank) in graph.neighbours(own).enumerate() {
            let sealed = self.shared.get(&rank).and_then(|shares| {
                graph
                    .position(rank, own)
                    .and_then(|position| shares.boxes.get(position))
            });
            if let Some(sealed) = sealed {
                sharers.insert(position);
                boxes.push(*sealed);
            }
        }
        Some(Delivery { sharers, boxes })
    }

    /// Adds a client's masked vector to the sum.
    ///
    /// # Errors
    ///
    /// When the client is not in U2 or was dropped, or its vector was added before.
    pub fn receive(&mut self, from: ClientId, input: &MaskedInput) -> Result<(), Rejection> {
        // V-39. A vector after its owner was declared lost: the others open its pairwise masks.
        let rank = self
            .common
            .expect(from, |rank| self.shared.contains_key(&rank), &self.added)?;
        self.sum.add_packed(input.packed());
        self.added.insert(rank, ());
        Ok(())
    }

    /// A client is gone. If its vector was added before, it stays a survivor.
    pub fn drop_client(&mut self, client: ClientId) {
        let pending = |rank: &usize| !self.added.contains_key(rank);
        if self.common.rank(client).as_ref().is_some_and(pending) {
            self.common.lost.entry(client).or_insert(Phase::MaskedInput);
        }
    }

    /// How many vectors were added.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let missing = self
            .shared
            .keys()
            .filter(|rank| !self.added.contains_key(rank));
        let missing = self.common.awaited(missing.copied());
        Tally {
            have: self.added.len(),
            missing,
            needed: self.common.threshold() + 1,
        }
    }

    /// Fixes U3: the clients whose vectors were added. Whoever falls silent later stays in it.
    ///
    /// # Errors
    ///
    /// When too few vectors were added for their seeds to be reconstructed.
    pub fn close(self) -> Result<AfterMasked, Abort> {
        let Self {
            mut common,
            shared,
            added,
            sum,
        } = self;
        let needed = common.threshold() + 1;
        let have = added.len();
        if have < needed {
            return Err(Abort::TooFewClients {
                phase: Phase::MaskedInput,
                have,
                needed,
            });
        }
        common.lose_all_but(&added, Phase::MaskedInput);
        let sharers = Set::from_positions(common.cohort(), shared.into_keys());
        let survivors = Set::from_positions(common.cohort(), added.into_keys());
        let model = common.session.parameters().threat_model();
        let unmask = CollectUnmask::new(common, sharers, survivors, sum);
        Ok(match model {
            ThreatModel::HonestButCurious => AfterMasked::Unmask(unmask),
            ThreatModel::Malicious => AfterMasked::Check(CollectSignatures::new(unmask)),
        })
    }
}

/// What follows the masked vectors.
#[derive(Debug)]
#[must_use]
pub enum AfterMasked {
    /// Clients do not trust the server: they sign the survivor set first.
    Check(CollectSignatures),
    /// They do: the shares are asked for.
    Unmask(CollectUnmask),
}
