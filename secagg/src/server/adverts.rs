//! AdvertiseKeys.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};
use core::fmt;

use super::{Abort, CollectShares, Common, Phase, Rejection, RejectionReason, Tally};
use crate::{
    codec::to_u32,
    graph::{self, Graph},
    id::ClientId,
    identity::Trust,
    message::{Advert, Entry, Roster},
    params::ThreatModel,
    session::{RoundId, Session},
};

/// Collects adverts until the caller fixes the roster.
pub struct CollectAdverts {
    session: Session,
    trust: Option<Arc<dyn Trust>>,
    adverts: BTreeMap<ClientId, Advert>,
    dropped: BTreeSet<ClientId>,
}

impl CollectAdverts {
    /// Opens a round. Where clients do not trust the server, `trust` says whose credentials they
    /// believe: one client with a credential that the others refuse would end the round for all
    /// of its neighbours. `None` leaves the check to the clients.
    #[must_use]
    pub const fn new(session: Session, trust: Option<Arc<dyn Trust>>) -> Self {
        Self {
            session,
            trust,
            adverts: BTreeMap::new(),
            dropped: BTreeSet::new(),
        }
    }

    /// Takes the advert of the client at the other end of an authenticated channel.
    ///
    /// # Errors
    ///
    /// When the advert names somebody else or is not to be believed, the client sent one before or
    /// was dropped, or the cohort is full.
    pub fn receive(&mut self, from: ClientId, advert: Advert) -> Result<(), Rejection> {
        let reject = |reason| {
            Err(Rejection {
                client: from,
                reason,
            })
        };
        // V-30. Otherwise one client could advertise keys in another's name.
        if advert.id() != from {
            return reject(RejectionReason::ForeignAdvert {
                claimed: advert.id(),
            });
        }
        // V-32. A second advert would let a client show others other keys.
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
        // V-31. Otherwise one client could end the round for all of its neighbours.
        if let (ThreatModel::Malicious, Some(trust)) =
            (self.session.parameters().threat_model(), &self.trust)
            && let Err(error) = advert.verify(self.session.id(), &**trust)
        {
            return reject(RejectionReason::Advert(error));
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

    /// Fixes the roster, with degree and threshold for its actual size.
    ///
    /// # Errors
    ///
    /// When too few clients have advertised, or degree or threshold do not suit them.
    pub fn close(self, degree: u32, threshold: u32) -> Result<CollectShares, Abort> {
        let Tally { have, needed, .. } = self.tally();
        if have < needed {
            return Err(Abort::TooFewClients {
                phase: Phase::AdvertiseKeys,
                have,
                needed,
            });
        }
        if !graph::has_degree(self.session.parameters().graph(), have, degree) {
            let cohort = have;
            return Err(Abort::Degree { degree, cohort });
        }
        if !(2..=degree).contains(&threshold) {
            return Err(Abort::Threshold {
                threshold,
                min: 2,
                max: degree,
            });
        }
        let adverts: Arc<[Advert]> = self.adverts.into_values().collect();
        let roster = Roster {
            degree,
            threshold,
            entries: adverts.iter().map(Entry::of).collect(),
            adverts,
        };
        let digest = roster.digest();
        let graph = Graph::new(have, degree, &digest);
        let round = RoundId::new(self.session.id(), &digest, to_u32(have), degree, threshold);
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

impl fmt::Debug for CollectAdverts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectAdverts")
            .field("adverts", &self.adverts.len())
            .finish_non_exhaustive()
    }
}
