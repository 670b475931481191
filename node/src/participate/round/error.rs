//! Why a node leaves a round.

use std::time::Duration;

use secagg::DecodeError;
use secagg::client::ClientError;
use secagg_learning::StateError;
use secagg_wire::message::DeclineReason;
use secagg_wire::phase::Phase;
use secagg_wire::text::Reason;
use secagg_wire::transfer::TransferError;
use thiserror::Error;

use crate::model::WeightsError;
use crate::participate::announcement::Refusal;
use crate::participate::cache::CacheError;
use crate::participate::credential::NodeCredentialError;
use crate::participate::ledger::LedgerError;
use crate::participate::link::{Disconnected, FetchError};
use crate::participate::local::LocalError;
use crate::store::StoreError;
use crate::training::TrainingError;

/// Why a node leaves a round. Its secrets are gone by then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RoundError {
    /// The node does not take part.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The text could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The weights did not come.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The weights are not this model's, or not finite.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The state of the server's optimiser is not that of the plan's.
    #[error("the state of the server's optimiser, as the coordinator sent it: {0}")]
    State(#[from] StateError),
    /// The weights could not be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Evaluation, training or encoding failed.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// A message does not decode.
    #[error("the coordinator's message of phase {phase} does not decode: {error}")]
    Decode {
        /// The phase.
        phase: Phase,
        /// What is wrong.
        error: DecodeError,
    },
    /// A message of another phase than the one that is due.
    #[error(
        "a message of phase {found} came where one of {expected} was due: the coordinator leaves out \
         a phase, or asks a second time, and this node answers once in each"
    )]
    OutOfTurn {
        /// The phase due.
        expected: Phase,
        /// The phase of the message.
        found: Phase,
    },
    /// This node's credential cannot be used.
    #[error(
        "this node's credential cannot be used: {0}; have its request signed again, and install the \
         answer with `secagg-node credential`"
    )]
    Credential(#[from] NodeCredentialError),
    /// The roster came too late.
    #[error(
        "the roster did not come within {} seconds after this node's keys, as its policy asks",
        wait.as_secs()
    )]
    RosterLate {
        /// The policy's limit.
        wait: Duration,
    },
    /// The protocol's client refuses.
    #[error("the protocol's checks: {0}")]
    Client(#[from] ClientError),
    /// Too few neighbours have signed the survivors that this node has signed.
    #[error(
        "the survivors are not confirmed: {0}; the coordinator told others another set, or withholds \
         their signatures"
    )]
    Unconfirmed(ClientError),
    /// A message came after this node had revealed its shares.
    #[error(
        "a message of phase {found} came after this node had revealed its shares: it reveals once, \
         because shares for two sets of survivors would open the update of another node"
    )]
    AfterReveal {
        /// The phase of the message.
        found: Phase,
    },
    /// The upload is not allowed or could not be recorded.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The masked vector was not taken.
    #[error("the masked vector was not taken: {0}")]
    Upload(#[from] TransferError),
    /// The system has no randomness.
    #[error("the system gave no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// A thread with heavy work ended before its time.
    #[error("internal error: {problem}")]
    Worker {
        /// What the runtime says.
        problem: String,
    },
    /// The connection is gone, or the round over.
    #[error(transparent)]
    Disconnected(#[from] Disconnected),
}

impl RoundError {
    /// What the coordinator is told, if it can be.
    pub(in crate::participate) fn decline_reason(&self) -> DeclineReason {
        match self {
            Self::Refused(refusal) => refusal.decline_reason(),
            Self::Ledger(LedgerError::UploadsUsedUp { .. }) => DeclineReason::UploadsUsedUp,
            Self::Ledger(error @ LedgerError::RoundsUsedUp { .. }) => {
                DeclineReason::Policy(Reason::fitted(&error.to_string()))
            }
            // What the protocol's client refuses is this node's policy or the session's rules.
            Self::Client(error) | Self::Unconfirmed(error) => {
                DeclineReason::Policy(Reason::fitted(&error.to_string()))
            }
            // Messages without a single word are no text.
            Self::Local(LocalError::Training(TrainingError::NoText)) => DeclineReason::NoText,
            // Which of its examples is wrong is not the coordinator's business.
            Self::Local(LocalError::Examples(_)) => DeclineReason::Other(Reason::fitted(
                "what this node has is not what the model learns from",
            )),
            // How long this node's messages are is not the coordinator's business.
            Self::Local(LocalError::Training(TrainingError::Memory { .. })) => {
                DeclineReason::Policy(Reason::fitted(
                    "training by this plan takes more memory than this node allows",
                ))
            }
            Self::RosterLate { .. } | Self::Credential(_) => {
                DeclineReason::Policy(Reason::fitted(&self.to_string()))
            }
            // Nothing about the node's disk is the coordinator's business.
            Self::Store(_)
            | Self::Cache(_)
            | Self::Ledger(_)
            | Self::Local(LocalError::Store(_)) => {
                DeclineReason::Other(Reason::fitted("an error on the node's disk"))
            }
            Self::Worker { .. } => DeclineReason::Other(Reason::fitted("an internal error")),
            Self::Fetch(_)
            | Self::Weights(_)
            | Self::State(_)
            | Self::Local(_)
            | Self::Decode { .. }
            | Self::OutOfTurn { .. }
            | Self::AfterReveal { .. }
            | Self::Upload(_)
            | Self::Randomness(_)
            | Self::Disconnected(_) => DeclineReason::Other(Reason::fitted(&self.to_string())),
        }
    }
}
