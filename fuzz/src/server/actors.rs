//! Clients of the crate, driven by what the server has for them; and what liars make of it.

use std::{collections::BTreeMap, mem};

use secagg::{
    Delivery, Policy, Roster, Session, Signatures, Survivors, ThreatModel,
    client::{AwaitDelivery, AwaitRoster, AwaitSignatures, AwaitSurvivors, ClientError, Unmasking},
    server::Phase,
};

use super::{Round, Server};
use crate::{
    choices::Choices,
    cohort::{self, people},
};

/// The policy of all of them.
pub(super) const POLICY: Policy = Policy {
    threat_model: ThreatModel::HonestButCurious,
    sparse_graph: true,
    max_corrupt: 1,
    // What small rings can have.
    security_bits: 1,
    min_cohort: 3,
    min_survivors: 3,
    max_bits: 64,
    max_vector_bytes: 1 << 20,
};

/// A client and what it has sent.
#[derive(Debug, Default)]
pub(super) struct Actor {
    state: State,
    sent: BTreeMap<Phase, Vec<u8>>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    New,
    Roster(Box<AwaitRoster>),
    Delivery(AwaitDelivery),
    Survivors(AwaitSurvivors),
    Signatures(AwaitSignatures),
    Done,
}

impl Actor {
    /// What it has sent as an honest client in this phase.
    pub(super) fn sent(&self, phase: Phase) -> Option<&[u8]> {
        self.sent.get(&phase).map(Vec::as_slice)
    }
}

/// What a client sends in this phase: again, if it has; now, if the server has for it what it
/// waits for; `None` if it does not, or the client left.
pub(super) fn next(round: &mut Round, client: usize) -> Option<Vec<u8>> {
    let phase = round.phase();
    if let Some(sent) = round.actors[client].sent(phase) {
        return Some(sent.to_vec());
    }
    let state = mem::take(&mut round.actors[client].state);
    let (state, message) = step(round, client, state);
    let actor = &mut round.actors[client];
    actor.state = state;
    if let Some(message) = &message {
        actor.sent.insert(phase, message.clone());
    }
    message
}

/// What a client is sent is decoded from bytes, as it is in real rounds. An honest server gives
/// honest clients nothing to refuse, but for what the model says.
fn step(round: &Round, client: usize, state: State) -> (State, Option<Vec<u8>>) {
    let (session, model) = (&round.session, &round.model);
    let person = &people()[client];
    let left = (State::Done, None);
    match (state, &round.server) {
        (State::New, Server::Adverts(_)) => {
            let member = person.member.clone();
            let mut coins = cohort::coins(client, 1);
            let started = AwaitRoster::start(session.clone(), member, POLICY, &mut coins);
            let (state, advert) = started.expect("the session is within the policy");
            (State::Roster(Box::new(state)), Some(advert.encode(session)))
        }
        (State::Roster(state), Server::Shares(server)) => {
            let Some(roster) = server.roster_for(person.id) else {
                return (State::Roster(state), None);
            };
            let roster = Roster::decode(&roster.encode(session), session);
            let roster = roster.expect("a roster decodes");
            match state.receive(roster, &mut cohort::coins(client, 2)) {
                Ok((state, shares)) => (State::Delivery(state), Some(shares.encode(session))),
                Err(ClientError::AdvertChanged) if model.liars.contains(&client) => left,
                Err(error) => {
                    assert!(!model.suits, "an honest roster is refused: {error}");
                    left
                }
            }
        }
        (State::Delivery(state), Server::Masked(server)) => {
            let Some(delivery) = server.delivery_for(person.id) else {
                return (State::Delivery(state), None);
            };
            let delivery = Delivery::decode(&delivery.encode(session), session);
            let ready = state.receive(delivery.expect("a delivery decodes"));
            let ready = ready.expect("an honest delivery is not refused");
            let masked = ready.mask(&cohort::input(session, client));
            let (state, masked) = masked.expect("the input is within the session's limit");
            (State::Survivors(state), Some(masked.into_vec()))
        }
        (State::Survivors(state), Server::Signatures(_) | Server::Unmask(_))
            if model.survivors.contains(&client) =>
        {
            let survivors = match &round.server {
                Server::Signatures(server) => server.survivors(),
                Server::Unmask(server) => server.survivors(),
                _ => return (State::Survivors(state), None),
            };
            let survivors = Survivors::decode(&survivors.encode(session), session);
            let few = model.neighbours_in(client, &model.survivors) < model.threshold;
            match state.receive(survivors.expect("a set of survivors decodes")) {
                Ok(answer) => {
                    assert!(!few, "too few surviving neighbours");
                    match answer {
                        Unmasking::Reveal(shares) => (State::Done, Some(shares.encode(session))),
                        // A client that was not asked to sign in time comes too late with it.
                        Unmasking::Check(state, check) => {
                            let sent = round.phase() == Phase::ConsistencyCheck;
                            let message = sent.then(|| check.encode(session));
                            (State::Signatures(state), message)
                        }
                    }
                }
                Err(error) => {
                    assert!(few, "an honest set of survivors is refused: {error}");
                    left
                }
            }
        }
        (State::Signatures(state), Server::Unmask(server)) => {
            let Some(signatures) = server.signatures_for(person.id) else {
                return (State::Signatures(state), None);
            };
            let signatures = Signatures::decode(&signatures.encode(session), session);
            let shares = state.receive(signatures.expect("signatures decode"));
            let shares = shares.expect("honest signatures are not refused");
            (State::Done, Some(shares.encode(session)))
        }
        (state, _) => (state, None),
    }
}

/// Bytes of a message's header.
const HEADER: usize = 18;

/// Makes a lie of a message: its fields, or any bytes, with seals and signatures that nobody
/// refuses, or that everybody does.
pub(super) fn spoil(
    session: &Session,
    phase: Phase,
    message: &mut Vec<u8>,
    choices: &mut Choices<'_>,
) {
    let signed = session.parameters().threat_model() == ThreatModel::Malicious;
    let forged = choices.byte();
    let body = &mut message[HEADER..];
    match phase {
        _ if forged >= 0xe0 => choices.spoil(message),
        Phase::AdvertiseKeys => {
            let (id, rest) = body.split_at_mut(16);
            match choices.below(6) {
                0 => rest[..64].rotate_left(32),
                1 => rest[64..96].copy_from_slice(&choices.array::<32>()),
                2 => rest.copy_within(0..32, 32),
                3 => id.copy_from_slice(people()[choices.below(people().len())].id.as_bytes()),
                _ => {
                    let byte = choices.below(rest.len());
                    rest[byte] ^= choices.byte();
                }
            }
            if signed && forged < 0xc0 {
                let end = rest.len();
                rest[end - 64..].fill(0);
            }
        }
        Phase::ShareKeys => {
            let (boxes, _) = body[4..].as_chunks_mut::<80>();
            for _ in 0..=choices.below(2 * boxes.len()) {
                let sealed = choices.below(boxes.len());
                match choices.below(4) {
                    0 => boxes.swap(sealed, choices.below(boxes.len())),
                    1 => boxes[sealed][choices.below(80)] ^= choices.byte(),
                    // A wrong share, in a box that opens.
                    _ => {
                        boxes[sealed][choices.below(64)] ^= choices.byte();
                        boxes[sealed][64..].fill(0);
                    }
                }
            }
        }
        Phase::ConsistencyCheck => {
            body.fill(0);
            body[choices.below(64)] = choices.byte();
        }
        Phase::Unmask => {
            let (shares, _) = body[4..].as_chunks_mut::<33>();
            for _ in 0..=choices.below(2 * shares.len()) {
                let share = choices.below(shares.len());
                match choices.below(4) {
                    0 => shares.swap(share, choices.below(shares.len())),
                    1 => shares[share][0] = choices.byte() % 4,
                    _ => shares[share][1 + choices.below(32)] ^= choices.byte(),
                }
            }
        }
        _ => choices.spoil(message),
    }
}
