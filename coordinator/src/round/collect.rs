//! The phases that nodes answer with one control message: ShareKeys, ConsistencyCheck, Unmask.

use secagg::{
    ClientId, ConsistencyCheck, DecodeError, Session, ShareKeys, ThreatModel, UnmaskShares,
    server::{
        CollectMasked, CollectShares, CollectSignatures, CollectUnmask, Outcome, Rejection,
        RejectionReason, Tally,
    },
};
use secagg_wire::{close::CloseCode, message::NodeMessage, phase::Phase};

use super::{
    Attempt, Failure,
    deadline::{Deadline, Decision},
};
use crate::server::Happening;

impl Attempt<'_> {
    pub(super) async fn share_keys(
        &mut self,
        mut state: CollectShares,
    ) -> Result<CollectMasked, Failure> {
        self.open(Phase::ShareKeys).await;
        for client in self.members.untold() {
            match state.roster_bytes_for(client) {
                Some((common, own)) => self.send_secagg(client, [&common[..], &own].concat()),
                None => self.exclude(client),
            }
        }
        let rule = self.environment.config.deadlines.share_keys;
        self.collect(&mut state, rule).await?;
        state.close().map_err(|abort| self.abandoned(abort))
    }

    pub(super) async fn consistency_check(
        &mut self,
        mut state: CollectSignatures,
    ) -> Result<CollectUnmask, Failure> {
        self.open(Phase::ConsistencyCheck).await;
        let survivors = state.survivors().encode(self.session());
        let clients = state.clients();
        self.exclude_others(&clients);
        self.ask(&mut state, &clients, |_, _| Some(survivors.clone()));
        let rule = self.environment.config.deadlines.consistency_check;
        self.collect(&mut state, rule).await?;
        state.close().map_err(|abort| self.abandoned(abort))
    }

    pub(super) async fn unmask(&mut self, mut state: CollectUnmask) -> Result<Outcome, Failure> {
        self.open(Phase::Unmask).await;
        let clients = state.clients();
        let session = self.session().clone();
        if session.parameters().threat_model() == ThreatModel::HonestButCurious {
            let survivors = state.survivors().encode(&session);
            self.exclude_others(&clients);
            self.ask(&mut state, &clients, |_, _| Some(survivors.clone()));
        } else {
            // Survivors that did not sign are not asked, but stay in the sum.
            self.ask(&mut state, &clients, |state, client| {
                Some(state.signatures_for(client)?.encode(&session))
            });
        }
        let rule = self.environment.config.deadlines.unmask;
        self.collect(&mut state, rule).await?;
        // Expanding masks takes as long as all uploads' additions together.
        let outcome = tokio::task::spawn_blocking(move || state.close()).await;
        match outcome {
            Ok(outcome) => outcome.map_err(|abort| self.abandoned(abort)),
            Err(_) => Err(self.abandoned("internal error: unmasking panicked")),
        }
    }

    /// The round goes on with these clients alone.
    fn exclude_others(&mut self, clients: &[ClientId]) {
        for client in self.members.untold() {
            if clients.binary_search(&client).is_err() {
                self.exclude(client);
            }
        }
    }

    /// Sends each of these clients the message that opens the phase.
    fn ask<S: Collecting>(
        &mut self,
        state: &mut S,
        clients: &[ClientId],
        body: impl Fn(&S, ClientId) -> Option<Vec<u8>>,
    ) {
        for client in clients {
            if self.members.is_untold(*client)
                && let Some(body) = body(state, *client)
            {
                self.send_secagg(*client, body);
            }
        }
        // Who is gone by now cannot answer, though its vector stays in the sum.
        for client in clients {
            if self.lobby.link(*client).is_none() {
                self.members
                    .lose(*client, self.phase, "its connection was lost");
                state.drop_client(*client);
            }
        }
    }

    /// Takes messages until the phase closes.
    async fn collect<S: Collecting>(
        &mut self,
        state: &mut S,
        rule: Deadline,
    ) -> Result<(), Failure> {
        loop {
            let tally = state.tally();
            let (have, missing) = (tally.have, tally.missing.len());
            self.environment.progress.count(have, have + missing);
            let elapsed = self.opened.elapsed();
            let at = match rule.decide(elapsed, have, missing, tally.needed) {
                Decision::WaitUntil(at) => at,
                Decision::Close => {
                    for client in tally.missing {
                        self.members
                            .lose(client, self.phase, "it did not answer in time");
                    }
                    self.closed(have);
                    return Ok(());
                }
            };
            match self.next(at).await? {
                Happening::Gone { client, reason } => {
                    self.members.lose(client, self.phase, &reason);
                    state.drop_client(client);
                }
                Happening::Message {
                    client,
                    message:
                        NodeMessage::Secagg {
                            round,
                            attempt,
                            phase,
                            body,
                        },
                } if self.is_now(round, attempt) => {
                    if phase == self.phase {
                        self.take(state, client, &body);
                    } else if phase > self.phase {
                        state.drop_client(client);
                        let reason = format!("a message of {phase} during {}", self.phase);
                        self.expel(client, CloseCode::UnexpectedMessage, &reason);
                    }
                }
                // It leaves the round and stays connected: nobody waits for it.
                Happening::Message {
                    client,
                    message:
                        NodeMessage::Decline {
                            round,
                            attempt,
                            reason,
                        },
                } if self.is_now(round, attempt) => {
                    self.members
                        .lose(client, self.phase, &format!("it left the round: {reason}"));
                    state.drop_client(client);
                }
                // Of an earlier phase or attempt, and too late; or nothing that concerns the round.
                _ => {}
            }
        }
    }

    fn take<S: Collecting>(&mut self, state: &mut S, client: ClientId, body: &[u8]) {
        let message = match S::decode(body, self.session()) {
            Ok(message) => message,
            Err(error) => {
                state.drop_client(client);
                let reason = format!("its message of {} does not decode: {error}", self.phase);
                return self.expel(client, CloseCode::MalformedFrame, &reason);
            }
        };
        match state.receive(client, message) {
            Ok(()) => {}
            // The first one counts; who is not expected was told before.
            Err(rejection)
                if matches!(
                    rejection.reason,
                    RejectionReason::Duplicate | RejectionReason::NotExpected
                ) => {}
            Err(rejection) => {
                state.drop_client(client);
                self.reject(client, &rejection.to_string());
            }
        }
    }
}

/// A phase of the protocol's server that takes one control message from each client.
trait Collecting {
    type Message;

    fn decode(body: &[u8], session: &Session) -> Result<Self::Message, DecodeError>;
    fn receive(&mut self, from: ClientId, message: Self::Message) -> Result<(), Rejection>;
    fn drop_client(&mut self, client: ClientId);
    fn tally(&self) -> Tally;
}

macro_rules! collecting {
    ($State:ident, $Message:ident, $receive:expr) => {
        impl Collecting for $State {
            type Message = $Message;

            fn decode(body: &[u8], session: &Session) -> Result<$Message, DecodeError> {
                $Message::decode(body, session)
            }

            fn receive(&mut self, from: ClientId, message: $Message) -> Result<(), Rejection> {
                $receive(self, from, message)
            }

            fn drop_client(&mut self, client: ClientId) {
                Self::drop_client(self, client);
            }

            fn tally(&self) -> Tally {
                Self::tally(self)
            }
        }
    };
}

collecting!(CollectShares, ShareKeys, Self::receive);
collecting!(
    CollectSignatures,
    ConsistencyCheck,
    |state: &mut Self, from, check| state.receive(from, &check)
);
collecting!(CollectUnmask, UnmaskShares, Self::receive);
