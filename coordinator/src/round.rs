//! One attempt at one round, from the announcement to the sum.
//!
//! The task that runs it owns the state of the protocol's server: each phase's struct is a local
//! variable, handed from one phase to the next. What takes long (adding vectors, unmasking) moves
//! it to a blocking thread and back. Nodes reach it through the lobby alone.
//!
//! | phase | opened by | answered by | closes |
//! |---|---|---|---|
//! | train, advertise-keys | `Announce` | `Accept`, then the advert | `deadlines.train` |
//! | share-keys | the roster | sealed shares | `deadlines.share_keys` |
//! | masked-input | the delivery | a stream with the vector | `deadlines.masked_input` |
//! | consistency-check | the survivors | a signature | `deadlines.consistency_check` |
//! | unmask | signatures, or the survivors | shares | `deadlines.unmask` |

mod advertise;
mod collect;
pub mod deadline;
mod masked;
mod members;

use std::sync::Arc;

use secagg::{
    Advert, ClientId, ConsistencyCheck, Session, ShareKeys, Trust, UnmaskShares,
    server::{AfterMasked, Outcome},
};
use secagg_wire::{
    close::CloseCode,
    endpoint::Traffic,
    message::{CoordinatorMessage, RoundResult, RoundSummary},
    phase::Phase,
    text::{Opaque, Reason},
};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Duration, Instant},
};

use self::members::Members;
use crate::{
    config::Config,
    events::Events,
    pause::{Moment, Pauses},
    progress::Progress,
    server::{Happening, Lobby, Window},
    store::{Attempt as Number, StoreError, StoreHandle, unix_now},
};

/// What every attempt uses.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) config: Arc<Config>,
    pub(crate) store: StoreHandle,
    pub(crate) events: Events,
    pub(crate) pauses: Pauses,
    pub(crate) progress: Progress,
    pub(crate) window: watch::Sender<Option<Arc<Window>>>,
}

/// What is announced.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    pub(crate) number: Number,
    pub(crate) session: Session,
    /// As it is sent to each node.
    pub(crate) message: CoordinatorMessage,
}

/// Why an attempt brought no sum.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The round can be tried again.
    Abandoned {
        /// In which phase.
        phase: Phase,
        /// Why.
        reason: String,
    },
    /// The coordinator shall end.
    Shutdown,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// An attempt in progress.
pub(crate) struct Attempt<'a> {
    lobby: &'a mut Lobby,
    environment: &'a Environment,
    announcement: Announcement,
    members: Members,
    phase: Phase,
    started: Instant,
    /// When the current phase opened.
    opened: Instant,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(
        lobby: &'a mut Lobby,
        environment: &'a Environment,
        announcement: Announcement,
    ) -> Self {
        let now = Instant::now();
        Self {
            lobby,
            environment,
            announcement,
            members: Members::default(),
            phase: Phase::Train,
            started: now,
            opened: now,
        }
    }

    /// Runs all phases with these nodes, and with those of `substitutes` when some decline.
    pub(crate) async fn run(
        &mut self,
        chosen: Vec<ClientId>,
        substitutes: Vec<ClientId>,
    ) -> Result<Outcome, Failure> {
        let shares = self.advertise(chosen, substitutes).await?;
        let masked = self.share_keys(shares).await?;
        let unmask = match self.masked_input(masked).await? {
            AfterMasked::Check(signatures) => self.consistency_check(signatures).await?,
            AfterMasked::Unmask(unmask) => unmask,
        };
        self.unmask(unmask).await
    }

    /// Tells everybody that the round succeeded.
    pub(crate) fn complete(&mut self, contributors: &[ClientId], summary: RoundSummary) {
        for client in self.members.untold() {
            let result = match contributors.contains(&client) {
                true => RoundResult::Included,
                false => RoundResult::NotIncluded,
            };
            self.end_for(client, result, summary);
        }
    }

    /// Tells everybody that the round came to nothing.
    pub(crate) fn abandon(&mut self, reason: &str) {
        self.environment.window.send_replace(None);
        for client in self.members.untold() {
            let reason = Reason::fitted(reason);
            let result = RoundResult::Abandoned { reason };
            self.end_for(client, result, RoundSummary::default());
        }
    }

    /// Time since the announcement.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Bytes to and from the nodes that were announced to.
    pub(crate) fn traffic(&self) -> Traffic {
        self.members.traffic()
    }

    /// Nodes that were announced to.
    pub(crate) fn announced(&self) -> usize {
        self.members.len()
    }

    /// Nodes that declined for as long as these weights are trained on.
    pub(crate) fn declined(&self) -> Vec<ClientId> {
        self.members.declined()
    }

    fn session(&self) -> &Session {
        &self.announcement.session
    }

    /// Whose credentials count, as of when the round will be over at the latest: were one to
    /// expire in its middle, its neighbours would leave.
    fn trust(&self) -> Option<Arc<dyn Trust>> {
        let pin = self.environment.config.authority?;
        let deadlines = &self.environment.config.deadlines;
        let longest = deadlines.train.max + deadlines.share_keys.max;
        let now = u64::try_from(unix_now()).unwrap_or(0);
        let trust = pin.at(now.saturating_add(longest.as_secs()));
        self.lobby.lies.trust(Arc::new(trust))
    }

    fn number(&self) -> Number {
        self.announcement.number
    }

    fn is_now(&self, round: u64, attempt: u32) -> bool {
        self.number() == Number { round, attempt }
    }

    /// The next thing that happens before `at`, counted from the opening of the phase.
    async fn next(&mut self, at: Duration) -> Result<Happening, Failure> {
        match self.lobby.next(Some(self.opened + at)).await {
            Happening::Shutdown => Err(Failure::Shutdown),
            other => Ok(other),
        }
    }

    async fn open(&mut self, phase: Phase) {
        let moment = Moment::Before(phase);
        let Environment { pauses, events, .. } = self.environment;
        pauses.reached(events, self.number().round, moment).await;
        self.phase = phase;
        self.opened = Instant::now();
        self.environment.progress.phase(phase);
    }

    /// Writes the event of a phase that closes.
    fn closed(&mut self, have: usize) {
        let Number { round, attempt } = self.number();
        self.environment.events.event(
            "phase",
            json!({
                "round": round,
                "attempt": attempt,
                "phase": self.phase.as_str(),
                "wall_ms": self.opened.elapsed().as_secs_f64() * 1e3,
                "have": have,
                "lost": self.members.take_losses(),
            }),
        );
    }

    fn abandoned(&self, reason: impl ToString) -> Failure {
        Failure::Abandoned {
            phase: self.phase,
            reason: reason.to_string(),
        }
    }

    /// What a node sent is not accepted. The protocol's state drops it as well.
    fn reject(&mut self, client: ClientId, reason: &str) {
        let Number { round, attempt } = self.number();
        let rejected = CoordinatorMessage::Rejected {
            round,
            attempt,
            phase: self.phase,
            reason: Reason::fitted(reason),
        };
        self.lobby.send(client, rejected);
        self.members.lose(client, self.phase, reason);
        self.exclude(client);
    }

    /// A node has sent what no honest one sends: its connection is closed.
    fn expel(&mut self, client: ClientId, code: CloseCode, reason: &str) {
        self.members.lose(client, self.phase, reason);
        self.lobby.expel(client, code, reason);
    }

    /// The round goes on without this node.
    fn exclude(&mut self, client: ClientId) {
        if self.members.is_untold(client) {
            self.end_for(client, RoundResult::NotIncluded, RoundSummary::default());
        }
    }

    fn end_for(&mut self, client: ClientId, result: RoundResult, summary: RoundSummary) {
        let Number { round, attempt } = self.number();
        self.members.told(client);
        let end = CoordinatorMessage::RoundEnd {
            round,
            attempt,
            result,
            summary,
        };
        self.lobby.send(client, end);
    }

    fn send_secagg(&mut self, client: ClientId, body: Vec<u8>) {
        let Number { round, attempt } = self.number();
        let message = CoordinatorMessage::Secagg {
            round,
            attempt,
            phase: self.phase,
            body: Opaque(body),
        };
        self.lobby.send(client, message);
    }

    /// The longest control message of the protocol that a node may send in this session.
    fn longest(&self) -> usize {
        let session = self.session();
        Advert::max_encoded_len(session)
            .max(ShareKeys::max_encoded_len(session))
            .max(ConsistencyCheck::max_encoded_len(session))
            .max(UnmaskShares::max_encoded_len(session))
    }
}
