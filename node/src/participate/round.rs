//! One round, from the announcement to the revealed shares.
//!
//! The task of a round owns all its secrets: dropping it, whenever and for whatever reason, wipes
//! them. Heavy work runs in threads of its own, so that the connection stays alive; what such a
//! thread gives after its task was dropped is dropped too.

mod error;
mod weights;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use secagg::client::{
    AwaitDelivery, AwaitRoster, AwaitSurvivors, ClientError, ReadyToMask, Unmasking,
};
use secagg::{DecodeError, Delivery, Member, Roster, Session, Signatures, Survivors, ThreatModel};
use secagg_learning::{Encoded, Parts};
use secagg_wire::digest::{Digest, UploadDigest};
use secagg_wire::events::{EventLog, Round, SpanKind, SpanTimer};
use secagg_wire::frame::SecaggLimit;
use secagg_wire::message::NodeMessage;
use secagg_wire::phase::Phase;
use secagg_wire::text::Opaque;
use secagg_wire::transfer::Outgoing;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};

pub use self::error::RoundError;
use super::announcement::{Announced, Announcement, Assignment, FederationModel};
use super::cancel::Cancel;
use super::credential;
use super::feedback;
use super::following::Checkpoint;
use super::ledger::{Entry, Hash, Reveal, Step, Upload};
use super::link::{Disconnected, Fetcher, Outbox};
use super::local::{LocalRound, count_text};
use super::node::Node;
use super::pause_point::PausePoint;
use super::randomness::{os_rng, training_seed};
use crate::model::{Weights, set_threads};

/// What one round needs.
#[derive(Debug)]
pub(super) struct RoundTask {
    pub(super) node: Arc<Node>,
    pub(super) model: Arc<FederationModel>,
    pub(super) round: Round,
    pub(super) connection: quinn::Connection,
    pub(super) outbox: Outbox,
    pub(super) fetcher: Fetcher,
    /// The longest secagg message that the control stream takes.
    pub(super) limit: SecaggLimit,
    /// One piece of heavy work at a time, also where a dropped round's is still ending.
    pub(super) heavy: Arc<Semaphore>,
    pub(super) cancel: Cancel,
    pub(super) inbox: mpsc::Receiver<(Phase, Vec<u8>)>,
    /// Raised before the node's keys are made and leave.
    pub(super) committed: Arc<AtomicBool>,
    /// Raised when nothing more is answered in this round, before the last answer leaves.
    pub(super) revealed: Arc<AtomicBool>,
}

impl RoundTask {
    /// Takes part, or says why not. What it gives runs until the round is over.
    pub(super) async fn run(mut self, announcement: Announcement) -> Result<SpanTimer, RoundError> {
        let announced = announcement.announced();
        let result = match self.join(announcement).await {
            Ok((assignment, member)) => {
                let session = assignment.session(&announced.weights.sha256);
                let result = self.take_part(assignment, member, &announced).await;
                if let Err(error) = &result {
                    let reason = error.to_string();
                    let left = self.record(&session, Step::Leave { reason }).await;
                    if let Err(error) = left {
                        tracing::warn!("the ledger lacks that this node left a round: {error}");
                    }
                }
                result
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &result {
            let Round { round, attempt } = self.round;
            tracing::warn!("round {round}, attempt {attempt}: this node leaves it: {error}");
            let fields = json!({ "round": round, "attempt": attempt, "reason": error.to_string() });
            self.node.log.event("declined", fields);
            let reason = error.decline_reason();
            let decline = NodeMessage::Decline {
                round,
                attempt,
                reason,
            };
            // Without a connection there is nobody to tell.
            let _ = self.outbox.send(decline).await;
        }
        result
    }

    /// Says yes, if nothing speaks against it.
    async fn join(
        &mut self,
        announcement: Announcement,
    ) -> Result<(Assignment, Member), RoundError> {
        let expected = announcement.weights;
        let (assignment, member) = self.check(announcement).await?;
        let provisional = assignment.session(&expected.sha256);
        // The longest that the coordinator can send in this round.
        for len in [
            Roster::max_encoded_len(&provisional),
            Delivery::max_encoded_len(&provisional),
            Survivors::max_encoded_len(&provisional),
            Signatures::max_encoded_len(&provisional),
        ] {
            self.limit.allow(len);
        }
        let Round { round, attempt } = self.round;
        self.outbox
            .send(NodeMessage::Accept { round, attempt })
            .await?;
        Ok((assignment, member))
    }

    async fn take_part(
        &mut self,
        assignment: Assignment,
        member: Member,
        announced: &Announced,
    ) -> Result<SpanTimer, RoundError> {
        let received = self.weights(announced, &assignment.plan).await?;
        let session = assignment.session(received.weights.digest());
        let parts = assignment.plan.update().parts;
        self.pause(PausePoint::Train).await;
        let encoded = self.compute(assignment, session.clone(), received).await?;

        let state = self.advertise_keys(&session, member).await?;
        let (state, upload) = self.share_keys(&session, state).await?;
        let state = self
            .masked_input(&session, state, (encoded, parts), upload)
            .await?;
        self.unmask(&session, state).await?;
        Ok(SpanTimer::start(SpanKind::Waiting))
    }

    /// Holds the announcement against policy, model, text and ledger, finds out who this node is in
    /// it, and records that it takes part.
    async fn check(&self, announcement: Announcement) -> Result<(Assignment, Member), RoundError> {
        let (node, model) = (Arc::clone(&self.node), Arc::clone(&self.model));
        self.heavy(move || {
            let text = count_text(&node.directory)?;
            let mut ledger = node.ledger();
            let now = credential::now();
            let assignment = announcement.check(&model, &node.policy, &ledger, text, now)?;
            let member = credential::member(&node.directory, &node.settings)?;
            // Better now than after training.
            if assignment.threat_model() != ThreatModel::HonestButCurious && !member.is_signed() {
                return Err(ClientError::NoCredential.into());
            }
            let session = assignment.session(&announcement.weights.sha256);
            let joins = assignment.joins(&session, announcement.attempt, now);
            ledger.record(&joins, node.policy.limits())?;
            Ok((assignment, member))
        })
        .await?
    }

    /// Checks and keeps the weights, evaluates, trains, encodes.
    async fn compute(
        &self,
        assignment: Assignment,
        session: Session,
        received: Checkpoint,
    ) -> Result<Encoded, RoundError> {
        let (node, model) = (Arc::clone(&self.node), Arc::clone(&self.model));
        let (round, cancel) = (self.round, self.cancel.clone());
        let seed = training_seed(node.options.seed, &node.client_id, round.round)?;
        self.heavy(move || {
            set_threads(node.options.threads);
            let weights =
                Weights::from_safetensors(received.weights.bytes(), &model.files.description)?;
            received.keep(&node.cache)?;
            drop(received);
            let wanted = assignment.plan.update().compression.feedback;
            let digest = session.context().model_digest;
            let of = feedback::Of {
                architecture: model.architecture(),
                parts: assignment.plan.update().parts,
            };
            let residual = node.feedback().start(of, digest, wanted);
            let local = LocalRound {
                directory: &node.directory,
                model: &model.files,
                plan: &assignment.plan,
                session: &session,
                weights: &weights,
                residual: residual.as_deref(),
                seed,
                memory: node.policy.training_memory(),
                personal: node.settings.personal,
                round,
                log: &node.log,
                hooks: &node.options.hooks,
                cancel: &cancel,
            };
            Ok(local.compute()?)
        })
        .await?
    }

    async fn advertise_keys(
        &self,
        session: &Session,
        member: Member,
    ) -> Result<AwaitRoster, RoundError> {
        self.pause(PausePoint::AdvertiseKeys).await;
        self.committed.store(true, Ordering::Relaxed);
        let policy = self.node.policy.floors();
        let own = session.clone();
        let (state, advert) = self
            .cryptography("keygen", move || {
                AwaitRoster::start(own, member, policy, &mut os_rng())
            })
            .await??;
        self.answer(Phase::AdvertiseKeys, advert.encode(session))
            .await?;
        Ok(state)
    }

    async fn share_keys(
        &mut self,
        session: &Session,
        state: AwaitRoster,
    ) -> Result<(AwaitDelivery, Upload), RoundError> {
        // V-42. Who has time between the last advert and the roster can redraw the graph often.
        let wait = self.node.policy.roster_wait();
        let roster = self.next(Phase::ShareKeys, session, Roster::decode);
        let roster = tokio::time::timeout(wait, roster)
            .await
            .map_err(|_| RoundError::RosterLate { wait })??;
        self.pause(PausePoint::ShareKeys).await;
        let model = session.context().model_digest;
        let (state, shares, upload) = self
            .cryptography("shares", move || {
                let (roster_digest, cohort) = (roster.digest(), roster.clients().len());
                let (degree, threshold) = (roster.degree(), roster.threshold());
                let (state, shares) = state.receive(roster, &mut os_rng())?;
                let upload = Upload {
                    model: Hash::from_bytes(model),
                    roster: Hash::from_bytes(roster_digest),
                    round_id: Hash::from_bytes(*state.round_id().as_bytes()),
                    cohort: u32::try_from(cohort).unwrap_or(u32::MAX),
                    degree,
                    threshold,
                };
                Ok::<_, ClientError>((state, shares, upload))
            })
            .await??;
        self.answer(Phase::ShareKeys, shares.encode(session))
            .await?;
        Ok((state, upload))
    }

    async fn masked_input(
        &mut self,
        session: &Session,
        state: AwaitDelivery,
        (encoded, parts): (Encoded, Parts),
        upload: Upload,
    ) -> Result<AwaitSurvivors, RoundError> {
        let delivery = self
            .next(Phase::MaskedInput, session, Delivery::decode)
            .await?;
        self.pause(PausePoint::MaskedInput).await;
        let Encoded { input, residual } = encoded;
        let ready: ReadyToMask = self
            .cryptography("open", move || state.receive(delivery))
            .await??;
        let (state, masked) = self
            .cryptography("masking", move || ready.mask(&input))
            .await??;
        let bytes = Bytes::from(masked.into_vec());

        // On the disk before the first byte leaves: a coordinator that claims that the round failed
        // must not get more sums of this model than the policy allows, whatever crashes here.
        self.record(session, Step::Upload(upload)).await?;
        let (node, round, copy) = (Arc::clone(&self.node), self.round, bytes.clone());
        self.heavy(move || node.options.hooks.dump_masked(round.round, &copy))
            .await?;
        self.upload(bytes).await?;
        if let Some(residual) = residual {
            let of = feedback::Of {
                architecture: self.model.architecture(),
                parts,
            };
            let digest = session.context().model_digest;
            let mut feedback = self.node.feedback();
            feedback.uploaded(self.round, of, digest, residual);
        }
        Ok(state)
    }

    async fn upload(&self, bytes: Bytes) -> Result<(), RoundError> {
        let Round { round, attempt } = self.round;
        let span = SpanTimer::start(SpanKind::Network);
        let mut outgoing =
            Outgoing::masked(&self.connection, round, attempt, bytes.clone()).await?;
        if self.node.options.hooks.pauses(round, PausePoint::Upload) {
            outgoing.send_until(bytes.len() / 2, |_| ()).await?;
            self.pause(PausePoint::Upload).await;
        }
        outgoing.finish(|_| ()).await?;
        span.finish(&self.node.log, self.round, "upload");
        if self.node.log.is_on() {
            let len = bytes.len();
            let digest = self.heavy(move || UploadDigest::of(&bytes)).await?;
            self.node.log.event(
                "uploaded",
                json!({ "round": round, "attempt": attempt, "bytes": len, "blake3": digest.to_string() }),
            );
        }
        Ok(())
    }

    async fn unmask(&mut self, session: &Session, state: AwaitSurvivors) -> Result<(), RoundError> {
        let checked = session.parameters().threat_model() != ThreatModel::HonestButCurious;
        let phase = if checked {
            Phase::ConsistencyCheck
        } else {
            Phase::Unmask
        };
        let survivors = self.next(phase, session, Survivors::decode).await?;
        let reveal = Reveal {
            survivors: u32::try_from(survivors.count()).unwrap_or(u32::MAX),
            survivors_digest: Digest::of(&survivors.encode(session)).into(),
        };
        if !checked {
            self.pause(PausePoint::Unmask).await;
        }
        let unmasking = self
            .cryptography("survivors", move || state.receive(survivors))
            .await??;
        let shares = match unmasking {
            Unmasking::Reveal(shares) => shares,
            Unmasking::Check(state, check) => {
                self.answer(phase, check.encode(session)).await?;
                let signatures = self
                    .next(Phase::Unmask, session, Signatures::decode)
                    .await?;
                self.pause(PausePoint::Unmask).await;
                self.cryptography("signatures", move || state.receive(signatures))
                    .await?
                    .map_err(RoundError::Unconfirmed)?
            }
        };
        // The node's receipt: what it helped to open, before it does.
        self.record(session, Step::Reveal(reveal)).await?;
        // Before the answer leaves: whatever the coordinator asks after it has read it is refused,
        // and the user told.
        self.revealed.store(true, Ordering::Relaxed);
        self.inbox.close();
        if let Ok((phase, _)) = self.inbox.try_recv() {
            refuse_after_reveal(&self.node.log, self.round, phase);
        }
        self.answer(Phase::Unmask, shares.encode(session)).await
    }

    /// Puts a step into the ledger; when this returns, it is on the disk.
    async fn record(&self, session: &Session, step: Step) -> Result<(), RoundError> {
        let entry = Entry::new(credential::now(), session, self.round.attempt, step);
        let node = Arc::clone(&self.node);
        self.heavy(move || node.ledger().record(&entry, node.policy.limits()))
            .await??;
        Ok(())
    }

    /// The coordinator's message that opens a phase.
    async fn next<T: Send + 'static>(
        &mut self,
        expected: Phase,
        session: &Session,
        decode: fn(&[u8], &Session) -> Result<T, DecodeError>,
    ) -> Result<T, RoundError> {
        let span = SpanTimer::start(SpanKind::Waiting);
        let (found, body) = self.inbox.recv().await.ok_or(Disconnected)?;
        span.finish(&self.node.log, self.round, expected.as_str());
        if found != expected {
            return Err(RoundError::OutOfTurn { expected, found });
        }
        let session = session.clone();
        let message = self
            .cryptography("decode", move || decode(&body, &session))
            .await?;
        message.map_err(|error| RoundError::Decode {
            phase: expected,
            error,
        })
    }

    async fn answer(&self, phase: Phase, body: Vec<u8>) -> Result<(), RoundError> {
        let Round { round, attempt } = self.round;
        let body = Opaque::from(body);
        let message = NodeMessage::Secagg {
            round,
            attempt,
            phase,
            body,
        };
        Ok(self.outbox.send(message).await?)
    }

    async fn pause(&self, at: PausePoint) {
        self.node
            .options
            .hooks
            .pause(&self.node.log, self.round, at)
            .await;
    }

    /// Heavy work of the protocol, measured.
    async fn cryptography<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RoundError> {
        let (log, round) = (self.node.log.clone(), self.round);
        self.heavy(move || log.measure(round, SpanKind::Cryptography, name, work))
            .await
    }

    /// Work in a thread of its own: on this one the connection must be kept alive.
    async fn heavy<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RoundError> {
        let permit = Arc::clone(&self.heavy).acquire_owned().await;
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        })
        .await
        .map_err(|error| RoundError::Worker {
            problem: error.to_string(),
        })
    }
}

/// Tells the user that the coordinator asked for more than this node reveals.
pub(super) fn refuse_after_reveal(log: &EventLog, round: Round, found: Phase) {
    let Round { round, attempt } = round;
    let reason = RoundError::AfterReveal { found }.to_string();
    tracing::warn!("round {round}, attempt {attempt}: refused: {reason}");
    let fields = json!({ "round": round, "attempt": attempt, "reason": reason });
    log.event("refused", fields);
}
