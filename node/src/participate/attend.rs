//! One connection to the coordinator, from `Hello` to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use secagg_wire::channel::{ChannelError, ControlReceiver, NodeChannel};
use secagg_wire::close::CloseCode;
use secagg_wire::endpoint::Link;
use secagg_wire::events::Round;
use secagg_wire::message::{CoordinatorMessage, NodeMessage};
use secagg_wire::text::Reason;
use serde_json::json;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio::time::timeout;

use super::active::ActiveRound;
use super::announcement::{Announcement, FederationModel};
use super::conditions::Conditions;
use super::link::{Fetcher, Outbox};
use super::model_files::{ModelFilesError, WelcomedFiles, fetch_model};
use super::node::Node;
use super::round::RoundTask;
use super::shutdown::Shutdown;

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The coordinator says that the training is over.
    Finished(Reason),
    /// One round was enough.
    Once,
    /// The user wants the node to end.
    Interrupted,
    /// One of the conditions under which the node takes part does not hold any more.
    NotNow,
    /// The connection was lost. `settled`: it had worked for a while before.
    Lost { error: AttendError, settled: bool },
}

/// Why a connection did not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(super) enum AttendError {
    /// The control stream ended.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The coordinator said something that has no place there.
    #[error("the coordinator sent an unexpected message: {message}")]
    Unexpected {
        /// Which kind of message.
        message: &'static str,
    },
    /// The federation's model did not come or cannot be used.
    #[error(transparent)]
    Model(#[from] ModelFilesError),
    /// A thread with heavy work ended before its time.
    #[error("internal error: {0}")]
    Worker(#[from] JoinError),
}

/// How long the coordinator may take to answer `Hello`.
const WELCOME_WAIT: Duration = Duration::from_secs(60);

/// How long saying goodbye may take.
const GOODBYE_WAIT: Duration = Duration::from_secs(3);

/// A connection that held this long, or brought a round, was a good one.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// Talks to the coordinator until the connection, the training or the user's patience ends.
pub(super) async fn attend(
    node: &Arc<Node>,
    heavy: &Arc<Semaphore>,
    link: Link,
    conditions: &mut Conditions,
    shutdown: &mut Shutdown,
) -> Ending {
    let channel = match NodeChannel::open(&link.connection).await {
        Ok(channel) => channel,
        Err(error) => {
            return Ending::Lost {
                error: error.into(),
                settled: false,
            };
        }
    };
    let (sender, receiver) = channel.split();
    let (outbox, writer) = Outbox::new(sender);
    let mut conversation = Conversation {
        node: Arc::clone(node),
        heavy: Arc::clone(heavy),
        connection: link.connection.clone(),
        receiver,
        fetcher: Fetcher::new(link.connection.clone(), outbox.clone()),
        outbox: outbox.clone(),
        conditions: conditions.clone(),
        settled: false,
    };
    let started = Instant::now();
    let ending = tokio::select! {
        biased;
        () = shutdown.requested() => Ending::Interrupted,
        ending = conversation.hold() => ending,
    };
    let settled = conversation.settled || started.elapsed() >= SETTLED_AFTER;
    // With it goes the round that was running, and all its secrets.
    drop(conversation);
    let (code, reason) = match &ending {
        Ending::Interrupted => (CloseCode::Done, "the node's user ended it"),
        Ending::Once => (CloseCode::Done, "the node takes part in one round only"),
        // What its owner's machine is doing is nobody else's business.
        Ending::NotNow => (CloseCode::Done, "the node comes back later"),
        Ending::Finished(_) => (CloseCode::Done, ""),
        Ending::Lost { error, .. } => (error.close_code(), "the node gave up this connection"),
    };
    let goodbye = async {
        if matches!(ending, Ending::Interrupted | Ending::Once | Ending::NotNow) {
            let reason = Reason::fitted(reason);
            // Without a connection there is nobody to take leave of.
            let _ = outbox.send(NodeMessage::Leave { reason }).await;
        }
        drop(outbox);
        let _ = writer.await;
        link.close(code, reason).await;
    };
    // The other side may be gone; nobody waits for it.
    let _ = timeout(GOODBYE_WAIT, goodbye).await;
    match ending {
        Ending::Lost { error, .. } => Ending::Lost { error, settled },
        other => other,
    }
}

impl AttendError {
    fn close_code(&self) -> CloseCode {
        match self {
            Self::Channel(error) => error.close_code(),
            Self::Unexpected { .. } => CloseCode::UnexpectedMessage,
            Self::Model(_) => CloseCode::Done,
            Self::Worker(_) => CloseCode::Internal,
        }
    }
}

struct Conversation {
    node: Arc<Node>,
    heavy: Arc<Semaphore>,
    connection: quinn::Connection,
    receiver: ControlReceiver<CoordinatorMessage>,
    outbox: Outbox,
    fetcher: Fetcher,
    conditions: Conditions,
    settled: bool,
}

impl Conversation {
    async fn hold(&mut self) -> Ending {
        match self.converse().await {
            Ok(ending) => ending,
            Err(error) => Ending::Lost {
                error,
                settled: false,
            },
        }
    }

    async fn converse(&mut self) -> Result<Ending, AttendError> {
        let hello = NodeMessage::hello(concat!("secagg-node ", env!("CARGO_PKG_VERSION")));
        // Where it cannot be sent, receiving says why.
        let _ = self.outbox.send(hello).await;
        let files = match self.receiver.receive_within(WELCOME_WAIT).await? {
            CoordinatorMessage::Welcome {
                federation,
                description,
                vocabulary,
                initial,
            } => {
                tracing::info!("connected to {federation}");
                self.node
                    .log
                    .event("connected", json!({ "federation": federation.as_str() }));
                WelcomedFiles {
                    description,
                    vocabulary,
                    initial,
                }
            }
            CoordinatorMessage::Finished { reason } => return Ok(Ending::Finished(reason)),
            other => return Err(unexpected(&other)),
        };
        let model = tokio::select! {
            model = fetch_model(&self.node, &self.fetcher, files) => model?,
            _ = self.conditions.failed() => return Ok(Ending::NotNow),
        };
        self.attend_rounds(Arc::new(model)).await
    }

    async fn attend_rounds(&mut self, model: Arc<FederationModel>) -> Result<Ending, AttendError> {
        let mut active: Option<ActiveRound> = None;
        // The round that is finished before the node goes, because its keys are out.
        let mut finishing = None;
        loop {
            let message = tokio::select! {
                message = self.receiver.receive() => message?,
                () = ActiveRound::task_ended(&mut active) => continue,
                reason = self.conditions.failed(), if !is_last(&active, finishing) => {
                    match active.as_ref().filter(|active| active.is_committed()) {
                        None => return Ok(Ending::NotNow),
                        Some(active) => {
                            active.finish_first(&reason);
                            finishing = Some(active.round());
                        }
                    }
                    continue;
                }
            };
            match message {
                CoordinatorMessage::Announce {
                    round,
                    attempt,
                    parameters,
                    nonce,
                    plan,
                    weights,
                    following,
                } => {
                    self.settled = true;
                    // The coordinator runs one round at a time: an older one is over.
                    drop(active.take());
                    active = Some(self.start(
                        &model,
                        Announcement {
                            round,
                            attempt,
                            parameters: parameters.into_vec(),
                            nonce,
                            plan: plan.into_vec(),
                            weights,
                            following,
                        },
                    ));
                }
                CoordinatorMessage::Secagg {
                    round,
                    attempt,
                    phase,
                    body,
                } => match ActiveRound::find(&active, round, attempt) {
                    Some(active) => active.hand_over(phase, body.into_vec()),
                    None => tracing::debug!("{phase} of round {round} came late"),
                },
                CoordinatorMessage::Selected { round, .. } => {
                    tracing::debug!("selected for round {round}");
                }
                CoordinatorMessage::NotSelected { round, attempt } => {
                    if ActiveRound::find(&active, round, attempt).is_some() {
                        tracing::info!("round {round}: this node was not selected");
                        active = None;
                    }
                }
                CoordinatorMessage::Rejected {
                    round,
                    attempt,
                    phase,
                    reason,
                } => {
                    if let Some(active) = ActiveRound::find_mut(&mut active, round, attempt) {
                        tracing::warn!("round {round}: the coordinator rejects {phase}: {reason}");
                        active.stop();
                    }
                }
                CoordinatorMessage::RoundEnd {
                    round,
                    attempt,
                    result,
                    summary,
                } => {
                    if ActiveRound::find(&active, round, attempt).is_none() {
                        continue;
                    }
                    if let Some(active) = active.take() {
                        let took_part = active.takes_part();
                        active.end(&result, &summary);
                        if took_part && self.node.options.once {
                            return Ok(Ending::Once);
                        }
                    }
                }
                CoordinatorMessage::Finished { reason } => return Ok(Ending::Finished(reason)),
                other @ CoordinatorMessage::Welcome { .. } => return Err(unexpected(&other)),
            }
        }
    }

    fn start(&self, model: &Arc<FederationModel>, announcement: Announcement) -> ActiveRound {
        let (node, connection) = (&self.node, &self.connection);
        ActiveRound::start(
            node,
            connection,
            announcement,
            |round, cancel, inbox, flags| RoundTask {
                node: Arc::clone(node),
                model: Arc::clone(model),
                round,
                connection: connection.clone(),
                outbox: self.outbox.clone(),
                fetcher: self.fetcher.clone(),
                limit: self.receiver.limit().clone(),
                heavy: Arc::clone(&self.heavy),
                cancel,
                inbox,
                committed: flags.committed,
                revealed: flags.revealed,
            },
        )
    }
}

/// Whether the node is in the round that it finishes before it goes.
fn is_last(active: &Option<ActiveRound>, finishing: Option<Round>) -> bool {
    let committed = active.as_ref().filter(|active| active.is_committed());
    committed.is_some_and(|active| finishing == Some(active.round()))
}

fn unexpected(message: &CoordinatorMessage) -> AttendError {
    let message = match message {
        CoordinatorMessage::Welcome { .. } => "Welcome",
        CoordinatorMessage::Announce { .. } => "Announce",
        CoordinatorMessage::Selected { .. } => "Selected",
        CoordinatorMessage::NotSelected { .. } => "NotSelected",
        CoordinatorMessage::Secagg { .. } => "Secagg",
        CoordinatorMessage::Rejected { .. } => "Rejected",
        CoordinatorMessage::RoundEnd { .. } => "RoundEnd",
        CoordinatorMessage::Finished { .. } => "Finished",
    };
    AttendError::Unexpected { message }
}
