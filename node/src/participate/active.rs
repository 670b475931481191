//! The round that a node is in: its task, and what the connection knows about it.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use secagg_wire::endpoint::Traffic;
use secagg_wire::events::{Round, SpanTimer};
use secagg_wire::message::{RoundResult, RoundSummary};
use secagg_wire::phase::Phase;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::announcement::Announcement;
use super::cancel::Cancel;
use super::node::Node;
use super::round::{RoundError, RoundTask, refuse_after_reveal};

/// Messages of one round that wait to be handled; more is no honest coordinator's.
const INBOX: usize = 4;

/// What the task of a round lets its connection know.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags {
    /// Raised before the keys are made and leave: from then on others would have to make up for it.
    pub(super) committed: Arc<AtomicBool>,
    /// Raised by the node's last answer, until the user was told that another one was asked for.
    pub(super) revealed: Arc<AtomicBool>,
}

/// A round. Dropping it ends its task and wipes the round's secrets.
#[derive(Debug)]
pub(super) struct ActiveRound {
    node: Arc<Node>,
    connection: quinn::Connection,
    round: Round,
    task: JoinHandle<Result<SpanTimer, RoundError>>,
    task_ended: bool,
    /// The node has left the round before its end.
    left: bool,
    /// From the last answer on.
    waiting: Option<SpanTimer>,
    inbox: mpsc::Sender<(Phase, Vec<u8>)>,
    flags: Flags,
    cancel: Cancel,
    before: Traffic,
}

impl ActiveRound {
    pub(super) fn start(
        node: &Arc<Node>,
        connection: &quinn::Connection,
        announcement: Announcement,
        task: impl FnOnce(Round, Cancel, mpsc::Receiver<(Phase, Vec<u8>)>, Flags) -> RoundTask,
    ) -> Self {
        let round = Round {
            round: announcement.round,
            attempt: announcement.attempt,
        };
        let fields = json!({ "round": round.round, "attempt": round.attempt });
        node.log.event("announced", fields);
        tracing::info!("round {}, attempt {}", round.round, round.attempt);
        let cancel = Cancel::default();
        let (inbox, messages) = mpsc::channel(INBOX);
        let before = Traffic::of(connection);
        let flags = Flags::default();
        let task = task(round, cancel.clone(), messages, flags.clone());
        Self {
            node: Arc::clone(node),
            connection: connection.clone(),
            round,
            task: tokio::spawn(task.run(announcement)),
            task_ended: false,
            left: false,
            waiting: None,
            inbox,
            flags,
            cancel,
            before,
        }
    }

    /// Returns when the task of the round has ended by itself; never where there is none. Can be
    /// called again after it was dropped.
    pub(super) async fn task_ended(active: &mut Option<Self>) {
        let Some(active) = active.as_mut().filter(|active| !active.task_ended) else {
            return pending().await;
        };
        let result = (&mut active.task).await;
        active.task_ended = true;
        match result {
            Ok(Ok(waiting)) => active.waiting = Some(waiting),
            // The task has told the user and the coordinator.
            Ok(Err(_)) => active.left = true,
            Err(error) => {
                active.left = true;
                tracing::error!("internal error: the round's task: {error}");
            }
        }
    }

    pub(super) fn find(active: &Option<Self>, round: u64, attempt: u32) -> Option<&Self> {
        active
            .as_ref()
            .filter(|active| active.round == Round { round, attempt })
    }

    pub(super) fn find_mut(
        active: &mut Option<Self>,
        round: u64,
        attempt: u32,
    ) -> Option<&mut Self> {
        active
            .as_mut()
            .filter(|active| active.round == Round { round, attempt })
    }

    /// Gives a message to the round.
    pub(super) fn hand_over(&self, phase: Phase, body: Vec<u8>) {
        if self.inbox.try_send((phase, body)).is_ok() {
            return;
        }
        // The first one is told: a flood must not fill the log.
        if self.flags.revealed.swap(false, Ordering::Relaxed) {
            refuse_after_reveal(&self.node.log, self.round, phase);
        } else {
            tracing::debug!("{phase} of round {} is not waited for", self.round.round);
        }
    }

    /// Which round it is.
    pub(super) fn round(&self) -> Round {
        self.round
    }

    /// Whether the node has sent its keys, and has not left the round.
    pub(super) fn is_committed(&self) -> bool {
        !self.left && self.flags.committed.load(Ordering::Relaxed)
    }

    /// Tells the user why this is the last round for now.
    pub(super) fn finish_first(&self, reason: &str) {
        let Round { round, attempt } = self.round;
        tracing::info!("round {round}: {reason}; this node finishes the round first");
        let fields = json!({ "round": round, "attempt": attempt, "reason": reason });
        self.node.log.event("finishing", fields);
    }

    /// Whether the node has not left the round.
    pub(super) fn takes_part(&self) -> bool {
        !self.left
    }

    /// Leaves the round; its end is still to come.
    pub(super) fn stop(&mut self) {
        self.cancel.cancel();
        self.task.abort();
        self.left = true;
        self.waiting = None;
    }

    /// The round is over.
    pub(super) fn end(mut self, result: &RoundResult, summary: &RoundSummary) {
        let Round { round, attempt } = self.round;
        let included = matches!(result, RoundResult::Included);
        self.node.feedback().ended(self.round, included);
        if let Some(waiting) = self.waiting.take() {
            waiting.finish(&self.node.log, self.round, "round-end");
        }
        let mut fields = json!({
            "round": round,
            "attempt": attempt,
            "contributors": summary.contributors,
            "lost": summary.lost,
        });
        let text = match result {
            RoundResult::Included => "included",
            RoundResult::NotIncluded => "not-included",
            RoundResult::Abandoned { reason } => {
                fields["reason"] = json!(reason.as_str());
                "abandoned"
            }
        };
        fields["result"] = json!(text);
        self.node.log.event("round_end", fields);
        match result {
            RoundResult::Abandoned { reason } => {
                tracing::info!("round {round}, attempt {attempt}: abandoned: {reason}");
            }
            _ => tracing::info!(
                "round {round}: {text}, with {} contributors",
                summary.contributors
            ),
        }
    }
}

impl Drop for ActiveRound {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.task.abort();
        let traffic = Traffic::of(&self.connection).since(self.before);
        self.node.log.event(
            "bytes",
            json!({
                "round": self.round.round,
                "attempt": self.round.attempt,
                "up": traffic.sent,
                "down": traffic.received,
            }),
        );
    }
}
