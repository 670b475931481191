//! What the server must know, kept with sets and counts alone.

use std::collections::{BTreeMap, BTreeSet};

use secagg::{
    ClientId, Session,
    server::{Phase, RejectionReason},
};

use crate::{
    cohort::{self, people},
    sum::Sum,
};

/// The phases in order.
pub(super) const PHASES: [Phase; 5] = [
    Phase::AdvertiseKeys,
    Phase::ShareKeys,
    Phase::MaskedInput,
    Phase::ConsistencyCheck,
    Phase::Unmask,
];

/// A round as it must be. Clients are places among [`people`].
#[derive(Debug)]
pub(super) struct Model {
    pub(super) phase: Phase,
    /// From whom a message may come in this phase.
    pub(super) due: BTreeSet<usize>,
    /// Whose message of this phase was accepted.
    pub(super) accepted: BTreeSet<usize>,
    pub(super) lost: BTreeMap<usize, Phase>,
    /// Whoever sent something else than an honest client and was accepted.
    pub(super) liars: BTreeSet<usize>,
    pub(super) roster: BTreeSet<usize>,
    /// For each client in the roster its neighbours.
    pub(super) neighbours: BTreeMap<usize, BTreeSet<usize>>,
    pub(super) threshold: usize,
    /// Whether degree and threshold are what the clients' policy asks for.
    pub(super) suits: bool,
    pub(super) sharers: BTreeSet<usize>,
    pub(super) survivors: BTreeSet<usize>,
    /// The sum of the inputs that were accepted; `None` when a client uploaded a vector of which
    /// nobody knows the input.
    pub(super) sum: Option<Sum>,
    largest: usize,
}

impl Model {
    pub(super) fn new(session: &Session) -> Self {
        Self {
            phase: Phase::AdvertiseKeys,
            due: (0..people().len()).collect(),
            accepted: BTreeSet::new(),
            lost: BTreeMap::new(),
            liars: BTreeSet::new(),
            roster: BTreeSet::new(),
            neighbours: BTreeMap::new(),
            threshold: 0,
            suits: false,
            sharers: BTreeSet::new(),
            survivors: BTreeSet::new(),
            sum: Some(Sum::zero(session)),
            largest: *session.parameters().cohort().end() as usize,
        }
    }

    /// Why nothing from this client is accepted now, whatever it is.
    pub(super) fn refuses(&self, client: usize) -> Option<RejectionReason> {
        if !self.due.contains(&client) || self.lost.contains_key(&client) {
            return Some(RejectionReason::NotExpected);
        }
        if self.accepted.contains(&client) {
            return Some(RejectionReason::Duplicate);
        }
        let full = self.phase == Phase::AdvertiseKeys && self.accepted.len() == self.largest;
        let max = self.largest as u32;
        full.then_some(RejectionReason::CohortFull { max })
    }

    /// A message was accepted; `own` is the one that the client would have sent.
    pub(super) fn accept(
        &mut self,
        session: &Session,
        client: usize,
        own: Option<&[u8]>,
        actual: &[u8],
    ) {
        self.accepted.insert(client);
        if own != Some(actual) {
            self.liars.insert(client);
        }
        if self.phase != Phase::MaskedInput {
            return;
        }
        self.sum = match (self.sum.take(), own) {
            (Some(mut sum), Some(own)) => {
                // A vector that was changed on the way is one of an input that differs as much.
                sum.add(&Sum::of(&cohort::input(session, client)));
                sum.add(&Sum::of_message(session, actual));
                sum.subtract(&Sum::of_message(session, own));
                Some(sum)
            }
            _ => None,
        };
    }

    pub(super) fn drop_client(&mut self, client: usize) {
        match self.phase {
            Phase::AdvertiseKeys => {
                self.accepted.remove(&client);
                self.lost.insert(client, self.phase);
                return;
            }
            Phase::ShareKeys | Phase::ConsistencyCheck => {
                self.accepted.remove(&client);
            }
            // What was added stays; what was revealed, too.
            _ if self.accepted.contains(&client) => return,
            _ => {}
        }
        if self.roster.contains(&client) {
            self.lost.entry(client).or_insert(self.phase);
        }
    }

    pub(super) fn missing(&self) -> BTreeSet<usize> {
        if self.phase == Phase::AdvertiseKeys {
            return BTreeSet::new();
        }
        let mut missing = self.asked();
        missing.retain(|client| !self.accepted.contains(client));
        missing
    }

    /// Who was not lost of those from whom a message may come.
    pub(super) fn asked(&self) -> BTreeSet<usize> {
        let mut asked = self.due.clone();
        asked.retain(|client| !self.lost.contains_key(client));
        asked
    }

    /// How many neighbours of a client are in a set.
    pub(super) fn neighbours_in(&self, client: usize, set: &BTreeSet<usize>) -> usize {
        let neighbours = self.neighbours.get(&client);
        neighbours.map_or(0, |neighbours| neighbours.intersection(set).count())
    }

    /// The next phase begins; whoever is in the roster and not in `kept` was lost in this one.
    pub(super) fn advance(&mut self, phase: Phase, kept: BTreeSet<usize>) {
        for client in self.roster.difference(&kept) {
            self.lost.entry(*client).or_insert(self.phase);
        }
        self.phase = phase;
        self.due = kept;
        self.accepted.clear();
    }

    /// Whether one of these clients lied.
    pub(super) fn lied(&self, clients: &[ClientId]) -> bool {
        clients.iter().any(|id| self.liars.contains(&place(*id)))
    }
}

/// The ids of these clients, ascending.
pub(super) fn ids(clients: &BTreeSet<usize>) -> Vec<ClientId> {
    clients.iter().map(|client| people()[*client].id).collect()
}

/// The place of the client with this id.
fn place(id: ClientId) -> usize {
    let found = people().binary_search_by_key(&id, |person| person.id);
    found.expect("one of the people")
}
