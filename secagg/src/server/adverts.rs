//! AdvertiseKeys.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::{Abort, CollectShares, Common, Phase, Rejection, RejectionReason, Tally};
use crate::{
    codec::to_u32,
    graph::Graph,
    id::ClientId,
    message::{Advert, Roster},
    session::{RoundId, Session},
};

/// Collects adverts until the caller fixes the roster.
#[derive(Debug)]
pub struct CollectAdverts {
    session: Session,
    adverts: BTreeMap<ClientId, Advert>,
    dropped: BTreeSet<ClientId>,
}

impl CollectAdverts {
    /// Opens a round.
    #[must_use]
    pub const fn new(session: Session) -> Self {
        Self {
            session,
            adverts: BTreeMap::new(),
            dropped: BTreeSet::new(),
        }
    }

    /// Takes the advert of the client at the other end of an authenticated channel.
    ///
    /// # Errors
    ///
    /// When the advert names somebody else, the client sent one before or was dropped, or the
    /// cohort is full.
    pub fn receive(&mut self, from: ClientId, advert: Advert) -> Result<(), Rejection> {
        let reject = |reason| {
            Err(Rejection {
                client: from,
                reason,
            })
        };
        // Otherwise one client could advertise keys in another's name.
        if advert.id() != from {
            return reject(RejectionReason::ForeignAdvert {
                claimed: advert.id(),
            });
        }
        if self.dropped.contains(&from) {
            return reject(RejectionReason::NotExpected);
        }
        if self.adverts.contains_key(&from) {
            return reject(RejectionReason::Duplicate);
        }
        let max = *self.session.parameters().cohort().end();
        if self.adverts.len() as u64 >= u64::from(max) {
            return reject(RejectionReason::CohortFull { max });
        }
        self.adverts.insert(from, advert);
        Ok(())
    }

    /// A client is gone: it will not be in the roster.
    pub fn drop_client(&mut self, client: ClientId) {
        self.adverts.remove(&client);
        self.dropped.insert(client);
    }

    /// How many clients have advertised.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally {
            have: self.adverts.len(),
            missing: Vec::new(),
            needed: *self.session.parameters().cohort().start() as usize,
        }
    }

    /// Fixes the roster, with the threshold for its actual size.
    ///
    /// # Errors
    ///
    /// When too few clients have advertised or the threshold does not suit them.
    pub fn close(self, threshold: u32) -> Result<CollectShares, Abort> {
        let Tally { have, needed, .. } = self.tally();
        if have < needed {
            return Err(Abort::TooFewClients {
                phase: Phase::AdvertiseKeys,
                have,
                needed,
            });
        }
        let adverts: Vec<Advert> = self.adverts.into_values().collect();
        let graph = Graph::new(self.session.parameters().graph(), adverts.len());
        let degree = to_u32(graph.degree());
        if !(2..=degree).contains(&threshold) {
            return Err(Abort::Threshold {
                threshold,
                min: 2,
                max: degree,
            });
        }
        let cohort = to_u32(adverts.len());
        let roster = Roster { threshold, adverts };
        let round = RoundId::new(
            self.session.id(),
            &roster.digest(),
            cohort,
            degree,
            threshold,
        );
        let lost = self
            .dropped
            .into_iter()
            .map(|id| (id, Phase::AdvertiseKeys))
            .collect();
        Ok(CollectShares::new(Common {
            session: self.session,
            roster,
            graph,
            round,
            lost,
        }))
    }
}
