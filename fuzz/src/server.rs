//! The server's state machine, fed with arbitrary operations.
//!
//! Clients are those of the crate. Some of what they send is changed on the way, which is what a
//! corrupt client can do; messages are repeated, sent by strangers and in the wrong phase, clients
//! are dropped and phases closed at any time. After each operation the server must be where a model
//! of it is that knows sets and counts alone.

mod actors;
mod close;
mod model;

use std::sync::Arc;

use secagg::{
    Advert, ConsistencyCheck, MaskedInput, Session, ShareKeys, UnmaskShares,
    server::{
        CollectAdverts, CollectMasked, CollectShares, CollectSignatures, CollectUnmask, Phase,
        Rejection, RejectionReason, Tally,
    },
};

use self::{actors::Actor, model::Model};
use crate::{
    choices::Choices,
    cohort::{self, people},
};

/// The server in one of its phases.
pub(crate) enum Server {
    Adverts(CollectAdverts),
    Shares(CollectShares),
    Masked(CollectMasked),
    Signatures(CollectSignatures),
    Unmask(CollectUnmask),
}

/// A round: the server, its clients, and what must be true of them.
pub(crate) struct Round {
    session: Session,
    server: Server,
    actors: Vec<Actor>,
    model: Model,
}

/// Carries out the operations that the bytes stand for.
///
/// # Panics
///
/// When the server is not where it must be.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let session = cohort::session(&mut choices);
    let mut round = Some(Round::new(session));
    while let Some(current) = round
        && !choices.is_empty()
    {
        round = current.step(&mut choices);
    }
}

impl Round {
    fn new(session: Session) -> Self {
        let trust = Arc::new(cohort::trust());
        Self {
            server: Server::Adverts(CollectAdverts::new(session.clone(), Some(trust))),
            actors: people().iter().map(|_| Actor::default()).collect(),
            model: Model::new(&session),
            session,
        }
    }

    /// One operation; `None` when the round is over.
    fn step(mut self, choices: &mut Choices<'_>) -> Option<Self> {
        let operation = choices.byte();
        let client = usize::from(operation / 16) % people().len();
        match operation % 16 {
            0..=7 => self.honest(client),
            8 | 9 => self.lie(client, choices),
            10 => self.replay(client, choices),
            11 => self.drop_client(client),
            12 => self.everybody(),
            // A phase is not closed by every other byte.
            _ if operation < 0x80 => return self.close(choices),
            _ => self.honest(client),
        }
        self.check();
        Some(self)
    }

    /// A client does what is due, or repeats it.
    fn honest(&mut self, client: usize) {
        if let Some(message) = actors::next(self, client) {
            self.deliver(client, &message, true);
        }
    }

    fn everybody(&mut self) {
        for client in 0..people().len() {
            self.honest(client);
        }
    }

    /// A corrupt client changes its message, or something that others have sent in this phase.
    fn lie(&mut self, client: usize, choices: &mut Choices<'_>) {
        let own = actors::next(self, client);
        let phase = self.phase();
        let message = own.or_else(|| {
            let mut sent = self.actors.iter().filter_map(|actor| actor.sent(phase));
            sent.next().map(<[u8]>::to_vec)
        });
        let Some(mut message) = message else {
            return;
        };
        actors::spoil(&self.session, phase, &mut message, choices);
        let honest = self.actors[client].sent(phase) == Some(&message);
        self.deliver(client, &message, honest);
    }

    /// A client sends what somebody has sent in some phase.
    fn replay(&mut self, client: usize, choices: &mut Choices<'_>) {
        let whose = choices.below(people().len());
        let phase = *choices.one_of(&model::PHASES);
        let Some(message) = self.actors[whose].sent(phase).map(<[u8]>::to_vec) else {
            return;
        };
        let honest = self.actors[client].sent(self.phase()) == Some(&message);
        self.deliver(client, &message, honest);
    }

    /// The server gets bytes from a client. What it must answer is known, but for lies that no
    /// model of sets sees through.
    fn deliver(&mut self, client: usize, message: &[u8], honest: bool) {
        let before = self.tally();
        let answer = match self.receive(client, message) {
            None => {
                assert!(!honest, "a client's own message decodes");
                return;
            }
            Some(answer) => answer,
        };
        if let Err(rejection) = &answer {
            assert_eq!(rejection.client, people()[client].id);
            assert_eq!(self.tally(), before, "what is rejected leaves no trace");
        }
        let reason = answer.map_err(|rejection| rejection.reason);
        match self.model.refuses(client) {
            // Whose advert it is comes before who may send one.
            Some(_) if matches!(reason, Err(RejectionReason::ForeignAdvert { .. })) => {
                assert!(!honest, "an advert of its own");
            }
            Some(expected) => assert_eq!(reason, Err(expected)),
            None if honest => assert_eq!(reason, Ok(()), "an honest client is not rejected"),
            None => {}
        }
        if reason.is_ok() {
            let own = self.actors[client].sent(self.phase());
            self.model.accept(&self.session, client, own, message);
        }
    }

    /// `None` for bytes that are no message of this phase.
    fn receive(&mut self, client: usize, bytes: &[u8]) -> Option<Result<(), Rejection>> {
        let (id, session) = (people()[client].id, &self.session);
        Some(match &mut self.server {
            Server::Adverts(phase) => phase.receive(id, Advert::decode(bytes, session).ok()?),
            Server::Shares(phase) => phase.receive(id, ShareKeys::decode(bytes, session).ok()?),
            Server::Masked(phase) => {
                let input = MaskedInput::from_vec(bytes.to_vec(), session).ok()?;
                phase.receive(id, &input)
            }
            Server::Signatures(phase) => {
                phase.receive(id, &ConsistencyCheck::decode(bytes, session).ok()?)
            }
            Server::Unmask(phase) => phase.receive(id, UnmaskShares::decode(bytes, session).ok()?),
        })
    }

    fn drop_client(&mut self, client: usize) {
        let id = people()[client].id;
        match &mut self.server {
            Server::Adverts(phase) => phase.drop_client(id),
            Server::Shares(phase) => phase.drop_client(id),
            Server::Masked(phase) => phase.drop_client(id),
            Server::Signatures(phase) => phase.drop_client(id),
            Server::Unmask(phase) => phase.drop_client(id),
        }
        self.model.drop_client(client);
    }

    fn phase(&self) -> Phase {
        self.model.phase
    }

    fn tally(&self) -> Tally {
        match &self.server {
            Server::Adverts(phase) => phase.tally(),
            Server::Shares(phase) => phase.tally(),
            Server::Masked(phase) => phase.tally(),
            Server::Signatures(phase) => phase.tally(),
            Server::Unmask(phase) => phase.tally(),
        }
    }

    /// The server counts what the model counts.
    fn check(&self) {
        let tally = self.tally();
        let model = &self.model;
        assert_eq!(tally.have, model.accepted.len());
        assert_eq!(tally.missing, model::ids(&model.missing()));
        match model.phase {
            Phase::Unmask => assert!(tally.needed > model.threshold),
            Phase::AdvertiseKeys => assert_eq!(tally.needed, 3),
            _ => assert_eq!(tally.needed, model.threshold + 1),
        }
        let clients = match &self.server {
            Server::Signatures(phase) => phase.clients(),
            Server::Unmask(phase) => phase.clients(),
            _ => return,
        };
        assert_eq!(clients, model::ids(&model.asked()));
    }
}
