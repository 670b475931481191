//! Closing a phase: when it moves on, when it aborts and why, and what a finished round says.

use std::collections::BTreeSet;

use secagg::{
    ClientId, GraphKind, ThreatModel,
    server::{Abort, AfterMasked, CollectShares, Outcome, Phase},
};

use super::{
    Round, Server,
    actors::POLICY,
    model::{Model, ids},
};
use crate::{
    choices::Choices,
    cohort::{self, people},
    sum::Sum,
};

impl Round {
    /// Closes the phase; `None` when that ends the round.
    pub(super) fn close(self, choices: &mut Choices<'_>) -> Option<Self> {
        let needed = self.tally().needed;
        let Self {
            session,
            server,
            actors,
            mut model,
        } = self;
        let have = model.accepted.len();
        let phase = model.phase;
        let server = match server {
            Server::Adverts(server) => {
                let (degree, threshold) = degree_and_threshold(&session, have, choices);
                let expected = roster_abort(&session, have, degree, threshold);
                let server = expect(server.close(degree, threshold), expected)?;
                model.fix_roster(&session, &server, degree, threshold);
                Server::Shares(server)
            }
            Server::Shares(server) => {
                let sharers = model.pruned();
                let have = if have < needed { have } else { sharers.len() };
                let server = expect(server.close(), too_few(phase, have, needed))?;
                model.sharers.clone_from(&sharers);
                model.advance(Phase::MaskedInput, sharers);
                Server::Masked(server)
            }
            Server::Masked(server) => {
                let after = expect(server.close(), too_few(phase, have, needed))?;
                model.survivors.clone_from(&model.accepted);
                let survivors = model.survivors.clone();
                match after {
                    AfterMasked::Check(server) => {
                        assert_eq!(session.parameters().threat_model(), ThreatModel::Malicious);
                        model.advance(Phase::ConsistencyCheck, survivors);
                        Server::Signatures(server)
                    }
                    AfterMasked::Unmask(server) => {
                        model.advance(Phase::Unmask, survivors);
                        Server::Unmask(server)
                    }
                }
            }
            Server::Signatures(server) => {
                let mut asked = model.accepted.clone();
                asked.retain(|c| model.neighbours_in(*c, &model.accepted) >= model.threshold);
                let have = if have < needed { have } else { asked.len() };
                let server = expect(server.close(), too_few(phase, have, needed))?;
                model.advance(Phase::Unmask, asked);
                Server::Unmask(server)
            }
            Server::Unmask(server) => {
                match server.close() {
                    Ok(outcome) => {
                        assert!(have >= needed, "with fewer than needed it aborts");
                        model.finished(&outcome);
                    }
                    Err(abort) => model.aborted(&abort),
                }
                return None;
            }
        };
        Some(Self {
            session,
            server,
            actors,
            model,
        })
    }
}

/// The phase closes unless it must abort, and then for the reason that it must.
fn expect<S>(closed: Result<S, Abort>, expected: Option<Abort>) -> Option<S> {
    match (closed, expected) {
        (Ok(next), None) => Some(next),
        (Err(abort), Some(expected)) => {
            assert_eq!(abort, expected);
            None
        }
        (Err(abort), None) => panic!("it must not abort: {abort}"),
        (Ok(_), Some(expected)) => panic!("it must abort: {expected}"),
    }
}

fn too_few(phase: Phase, have: usize, needed: usize) -> Option<Abort> {
    (have < needed).then_some(Abort::TooFewClients {
        phase,
        have,
        needed,
    })
}

/// What suits the roster, in most cases; or anything.
fn degree_and_threshold(
    session: &secagg::Session,
    cohort: usize,
    choices: &mut Choices<'_>,
) -> (u32, u32) {
    let degree = match choices.byte() {
        0..0x80 => cohort.saturating_sub(1) as u32,
        byte @ 0x80..0xf0 => 2 * (1 + u32::from(byte % 3)),
        _ => u32::from_le_bytes(choices.array()),
    };
    let least = least_threshold(session, cohort, degree);
    let threshold = match choices.byte() {
        0..0x80 => least.unwrap_or(2),
        byte @ 0x80..0xf0 => 2 + u32::from(byte % 8),
        _ => u32::from_le_bytes(choices.array()),
    };
    (degree, threshold)
}

/// The smallest threshold that the clients' policy accepts.
fn least_threshold(session: &secagg::Session, cohort: usize, degree: u32) -> Option<u32> {
    let parameters = session.parameters();
    cohort::has_degree(parameters.graph(), cohort, degree as usize).then(|| {
        let (model, bits) = (parameters.threat_model(), POLICY.security_bits);
        secagg::min_threshold(
            model,
            cohort as u32,
            degree,
            POLICY.max_corrupt,
            bits.into(),
        )
    })
}

fn roster_abort(
    session: &secagg::Session,
    cohort: usize,
    degree: u32,
    threshold: u32,
) -> Option<Abort> {
    let graph = session.parameters().graph();
    if let Some(abort) = too_few(Phase::AdvertiseKeys, cohort, 3) {
        return Some(abort);
    }
    if !cohort::has_degree(graph, cohort, degree as usize) {
        return Some(Abort::Degree { degree, cohort });
    }
    let within = threshold >= 2 && threshold <= degree;
    (!within).then_some(Abort::Threshold {
        threshold,
        min: 2,
        max: degree,
    })
}

impl Model {
    /// The roster holds who advertised; who is whose neighbour is read from what each is sent.
    fn fix_roster(
        &mut self,
        session: &secagg::Session,
        server: &CollectShares,
        degree: u32,
        threshold: u32,
    ) {
        self.roster.clone_from(&self.accepted);
        self.threshold = threshold as usize;
        let least = least_threshold(session, self.roster.len(), degree);
        self.suits = least.is_some_and(|least| threshold >= least);
        for (client, person) in people().iter().enumerate() {
            let roster = server.roster_for(person.id);
            assert_eq!(roster.is_some(), self.roster.contains(&client));
            let Some(roster) = roster else {
                continue;
            };
            let message = roster.encode(session);
            let neighbours = neighbours(session, &self.roster, client, &message);
            assert!(neighbours.len() == degree as usize && !neighbours.contains(&client));
            self.neighbours.insert(client, neighbours);
        }
        for (client, neighbours) in &self.neighbours {
            let mutual = neighbours
                .iter()
                .all(|n| self.neighbours[n].contains(client));
            assert!(mutual, "neighbours are each other's");
        }
        let kept = self.roster.clone();
        self.advance(Phase::ShareKeys, kept);
    }

    /// Who shared its keys, without those that have too few neighbours among them.
    fn pruned(&self) -> BTreeSet<usize> {
        let mut left = self.accepted.clone();
        loop {
            let before = left.clone();
            left.retain(|client| self.neighbours_in(*client, &before) >= self.threshold);
            if left == before {
                return left;
            }
        }
    }

    /// The first client of whose seed too few shares were revealed, if nobody lied.
    fn short_of_shares(&self) -> Option<Abort> {
        let revealed = |owner: &usize| self.neighbours_in(*owner, &self.accepted);
        let mut owners = self.sharers.iter();
        let owner = owners.find(|owner| revealed(owner) < self.threshold)?;
        Some(Abort::TooFewShares {
            owner: people()[*owner].id,
            have: revealed(owner),
            needed: self.threshold,
        })
    }

    /// A round ends without a sum: too few were left, or somebody lied, and a liar is named.
    fn aborted(&self, abort: &Abort) {
        let have = self.accepted.len();
        if let Some(expected) = too_few(Phase::Unmask, have, self.threshold + 1) {
            assert_eq!(*abort, expected);
        } else if self.liars.is_empty() {
            assert_eq!(Some(abort), self.short_of_shares().as_ref());
        } else {
            match abort {
                Abort::WrongShares { dealer, holders } => {
                    assert!(self.lied(&[*dealer]) || self.lied(holders), "{abort}");
                }
                Abort::TooFewShares { .. } => {}
                other => panic!("a round cannot end so: {other}"),
            }
        }
    }

    /// A round ends with the sum of exactly those inputs that were accepted.
    fn finished(mut self, outcome: &Outcome) {
        assert_eq!(outcome.contributors, ids(&self.survivors));
        if let Some(sum) = &self.sum {
            assert_eq!(
                Sum::of(&outcome.sum),
                *sum,
                "the sum of the survivors' inputs"
            );
        }
        if self.liars.is_empty() {
            assert_eq!(self.short_of_shares(), None);
            assert_eq!(outcome.wrong_shares, []);
        }
        for pair in &outcome.wrong_shares {
            assert!(self.lied(&[pair.dealer, pair.holder]), "{pair:?}");
        }
        assert!(outcome.wrong_shares.is_sorted());
        for client in self.survivors.difference(&self.accepted) {
            self.lost.entry(*client).or_insert(Phase::Unmask);
        }
        let lost = self
            .lost
            .iter()
            .map(|(client, phase)| (people()[*client].id, *phase));
        assert_eq!(outcome.lost, lost.collect::<Vec<(ClientId, Phase)>>());
    }
}

/// The neighbours of a client: those whose adverts it is sent, besides its own.
fn neighbours(
    session: &secagg::Session,
    roster: &BTreeSet<usize>,
    client: usize,
    message: &[u8],
) -> BTreeSet<usize> {
    let others = roster.iter().copied().filter(|other| *other != client);
    if session.parameters().graph() == GraphKind::Complete {
        return others.collect();
    }
    // Header, three numbers, an id and a digest each; then adverts, which begin with an id.
    let adverts = &message[18 + 12 + 48 * roster.len()..];
    let len = match session.parameters().threat_model() {
        ThreatModel::HonestButCurious => 112,
        _ => 312,
    };
    let sent = |id: ClientId| {
        adverts
            .chunks(len)
            .any(|advert| advert.starts_with(id.as_bytes()))
    };
    others.filter(|other| sent(people()[*other].id)).collect()
}
