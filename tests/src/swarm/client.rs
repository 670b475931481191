//! One client: connects, follows the rounds, deviates where its scripts say so.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, bail};
use secagg::Member;
use secagg_wire::{
    close::CloseCode,
    digest::Digest,
    endpoint,
    identity::{Fingerprint, TlsIdentity},
    message::{CoordinatorMessage, NodeMessage, RoundResult},
    text::Name,
    tls::Alpn,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{
    Act, Moment, Shared, TIMEOUTS,
    connection::Control,
    round::{Announced, Round},
};

/// One client of a swarm.
pub(super) struct Client {
    pub(super) index: usize,
    name: Name,
    pub(super) member: Member,
    identity: TlsIdentity,
    pinned: Fingerprint,
    pub(super) shared: Arc<Shared>,
    released: Notify,
    memory: Mutex<Memory>,
}

/// What a client remembers over connections.
#[derive(Default)]
struct Memory {
    /// Which of the scripts have been acted on: each is, once.
    acted: Vec<usize>,
    /// The model of every upload that was started.
    uploads: Vec<Digest>,
}

/// How a client's thread ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The training is over.
    Finished,
    /// A script let it die.
    Died,
    /// A script let it leave.
    Left,
    /// The coordinator does not know it.
    Unknown,
    /// The swarm was stopped.
    Stopped,
}

impl End {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Died => "died",
            Self::Left => "left",
            Self::Unknown => "unknown-identity",
            Self::Stopped => "stopped",
        }
    }
}

/// What follows a step of a round.
pub(super) enum Flow {
    /// The round goes on.
    On,
    /// The client takes no further part in the round.
    Forget,
    /// The client ends.
    End(End),
}

/// The digests of what came with `Welcome`, over the bytes received.
pub(super) struct Files {
    pub(super) description: Digest,
    pub(super) vocabulary: Digest,
}

impl Client {
    pub(super) fn new(
        index: usize,
        name: Name,
        member: Member,
        identity: TlsIdentity,
        pinned: Fingerprint,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            index,
            name,
            member,
            identity,
            pinned,
            shared,
            released: Notify::new(),
            memory: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.name.as_str()
    }

    pub(super) fn release(&self) {
        self.released.notify_one();
    }

    /// Takes part until the training is over, a script ends the client or the swarm is stopped.
    pub(super) async fn run(&self) -> End {
        let mut stopped = self.shared.stopped.clone();
        tokio::select! {
            end = self.reconnect() => end,
            // The sender lives as long as the swarm, which stops us when it is dropped.
            _ = stopped.wait_for(|stopped| *stopped) => End::Stopped,
        }
    }

    /// Writes an event about this client.
    pub(super) fn event(&self, event: &str, mut fields: Value) {
        fields["name"] = json!(self.name());
        self.shared.log.event(event, fields);
    }

    /// Writes an event about this client in a round.
    pub(super) fn round_event(&self, event: &str, round: u64, attempt: u32) {
        self.event(event, json!({ "round": round, "attempt": attempt }));
    }

    /// What a script says for this moment; it says so once.
    pub(super) fn act(&self, round: u64, moment: Moment) -> Option<Act> {
        let mut memory = self.memory();
        let scripts = self.shared.options.scripts.iter().enumerate();
        let (position, script) = scripts
            .filter(|(position, _)| !memory.acted.contains(position))
            .find(|(_, script)| {
                (script.client, script.round, script.moment) == (self.index, round, moment)
            })?;
        memory.acted.push(position);
        let (moment, act) = (moment.to_string(), script.act.to_string());
        self.event(
            "acts",
            json!({ "round": round, "moment": moment, "act": act }),
        );
        Some(script.act)
    }

    /// Waits until the test lets this client go on.
    pub(super) async fn hold(&self, control: &Control, round: u64, moment: Moment) -> Result<()> {
        let fields = json!({ "round": round, "moment": moment.to_string() });
        self.event("held", fields.clone());
        tokio::select! {
            () = self.released.notified() => {}
            error = control.connection().closed() => return Err(error.into()),
        }
        self.event("goes_on", fields);
        Ok(())
    }

    /// Counts an upload before it starts.
    pub(super) fn count_upload(&self, weights: Digest) {
        self.memory().uploads.push(weights);
    }

    /// Whether this client's policy allows another upload for these weights.
    pub(super) fn may_upload(&self, weights: Digest) -> bool {
        let memory = self.memory();
        let uploads = memory.uploads.iter().filter(|model| **model == weights);
        uploads.count() < self.shared.options.uploads_per_model as usize
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reconnect(&self) -> End {
        loop {
            match self.connected().await {
                Ok(end) => return end,
                Err(error) => self.event("reconnecting", json!({ "reason": format!("{error:#}") })),
            }
            tokio::time::sleep(BACK_OFF).await;
        }
    }

    /// One connection, from its start to its end. An error is one to reconnect after.
    async fn connected(&self) -> Result<End> {
        let (address, alpn) = (self.shared.address, Alpn::Participate);
        let link = endpoint::connect(address, &self.identity, self.pinned, alpn, &TIMEOUTS).await?;
        let mut control = Control::open(link).await?;
        let end = self.take_part(&mut control).await;
        if let Some(closed) = control.closed() {
            let (code, reason) = (closed.code.to_string(), closed.reason.as_str());
            self.event("closed", json!({ "code": code, "reason": reason }));
            if closed.code == CloseCode::UnknownIdentity {
                return Ok(End::Unknown);
            }
        }
        if let Ok(End::Left) = end {
            let reason = secagg_wire::text::Reason::fitted("the script says so");
            control.send(&NodeMessage::Leave { reason }).await?;
            control.leave().await;
        }
        end
    }

    async fn take_part(&self, control: &mut Control) -> Result<End> {
        control.send(&NodeMessage::hello("secagg-swarm")).await?;
        let files = match control.receive().await? {
            CoordinatorMessage::Welcome {
                description,
                vocabulary,
                ..
            } => Files {
                description: Digest::of(&control.fetch(&description).await?),
                vocabulary: Digest::of(&control.fetch(&vocabulary).await?),
            },
            other => bail!("{other:?} instead of a welcome"),
        };
        self.event("connected", json!({}));
        let mut current: Option<Round<'_>> = None;
        loop {
            let message = control.receive().await?;
            let flow = match message {
                CoordinatorMessage::Announce { .. } => {
                    let announced = Announced::new(message)?;
                    let round = Round::new(self, &files, announced);
                    current.insert(round).announced(control).await?
                }
                CoordinatorMessage::Finished { reason } => {
                    self.event("finished", json!({ "reason": reason.as_str() }));
                    return Ok(End::Finished);
                }
                message => match (self.note(&message), &mut current) {
                    (Some(of), Some(round)) if of == round.number() => {
                        round.step(control, message).await?
                    }
                    // Of a round that this client has forgotten or that is over.
                    _ => Flow::On,
                },
            };
            match flow {
                Flow::On => {}
                Flow::Forget => current = None,
                Flow::End(end) => return Ok(end),
            }
        }
    }

    /// Writes down a message of a round, and returns which round it belongs to.
    fn note(&self, message: &CoordinatorMessage) -> Option<(u64, u32)> {
        match message {
            CoordinatorMessage::Selected { round, attempt } => {
                self.round_event("selected", *round, *attempt);
                Some((*round, *attempt))
            }
            CoordinatorMessage::NotSelected { round, attempt } => {
                self.round_event("not_selected", *round, *attempt);
                Some((*round, *attempt))
            }
            CoordinatorMessage::Secagg { round, attempt, .. } => Some((*round, *attempt)),
            CoordinatorMessage::Rejected {
                round,
                attempt,
                phase,
                reason,
            } => {
                let (phase, reason) = (phase.as_str(), reason.as_str());
                let fields = json!({
                    "round": round, "attempt": attempt, "phase": phase, "reason": reason,
                });
                self.event("rejected", fields);
                Some((*round, *attempt))
            }
            CoordinatorMessage::RoundEnd {
                round,
                attempt,
                result,
                summary,
            } => {
                let (result, reason) = match result {
                    RoundResult::Included => ("included", ""),
                    RoundResult::NotIncluded => ("not-included", ""),
                    RoundResult::Abandoned { reason } => ("abandoned", reason.as_str()),
                };
                let fields = json!({
                    "round": round, "attempt": attempt, "result": result, "reason": reason,
                    "contributors": summary.contributors, "lost": summary.lost,
                });
                self.event("round_end", fields);
                Some((*round, *attempt))
            }
            CoordinatorMessage::Welcome { .. }
            | CoordinatorMessage::Announce { .. }
            | CoordinatorMessage::Finished { .. } => None,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Between two attempts to connect.
const BACK_OFF: Duration = Duration::from_millis(100);
