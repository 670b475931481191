//! Control messages: what a node and the coordinator say on the stream that the node opens.
//!
//! Large things travel on streams of their own, see [`crate::transfer`].

use serde::{Deserialize, Serialize};

use crate::{
    digest::{Digest, FileDigest},
    frame::messages,
    phase::Phase,
    text::{Name, Opaque, Reason},
};

/// The version of this protocol. Both sides close with
/// [`CloseCode::ProtocolVersion`](crate::close::CloseCode::ProtocolVersion) on another one.
pub const PROTOCOL_VERSION: u16 = 1;

/// The longest secagg parameters in an announcement, in bytes.
pub const MAX_PARAMETERS_LEN: usize = 8 << 10;

/// The longest plan in an announcement, in bytes.
pub const MAX_PLAN_LEN: usize = 8 << 10;

messages! {
    /// From a node to the coordinator.
    #[derive(Clone, Debug, PartialEq)]
    #[expect(missing_docs, reason = "round and attempt mean the same everywhere: which round")]
    pub enum NodeMessage (secagg: secagg) {
        /// The first message.
        Hello = 0x01, cap SMALL, {
            /// [`PROTOCOL_VERSION`] of the node.
            protocol: u16,
            /// Program and version, for people.
            software: Name,
        }
        /// The node takes part in the announced round.
        Accept = 0x02, cap SMALL, { round: u64, attempt: u32, }
        /// The node does not take part in the announced round.
        Decline = 0x03, cap SMALL, {
            round: u64,
            attempt: u32,
            /// Why not.
            reason: DeclineReason,
        }
        /// A secagg message: Advert, ShareKeys or UnmaskShares, told apart by the phase.
        Secagg = 0x04, cap SMALL + secagg, {
            round: u64,
            attempt: u32,
            /// The phase that this message answers in.
            phase: Phase,
            /// The secagg message's own encoding.
            body: Opaque,
        }
        /// The node leaves and will not answer further.
        Leave = 0x05, cap SMALL, {
            /// Why, for people.
            reason: Reason,
        }
        /// Asks for a file that the coordinator named; it comes on a stream of its own.
        GetFile = 0x06, cap SMALL, {
            /// The file's SHA-256.
            digest: Digest,
        }
    }
}

messages! {
    /// From the coordinator to a node.
    #[derive(Clone, Debug, PartialEq)]
    #[expect(missing_docs, reason = "round and attempt mean the same everywhere: which round")]
    pub enum CoordinatorMessage (secagg: secagg) {
        /// The answer to `Hello`.
        Welcome = 0x81, cap SMALL, {
            /// The federation's name.
            federation: Name,
            /// The model's description, `model.toml`.
            description: FileDigest,
            /// The vocabulary, one token a line.
            vocabulary: FileDigest,
            /// The initial weights.
            initial: FileDigest,
        }
        /// A round is about to start: does the node want to take part?
        Announce = 0x82, cap SMALL + MAX_PARAMETERS_LEN + MAX_PLAN_LEN, {
            round: u64,
            attempt: u32,
            /// secagg's parameters, in their own encoding.
            parameters: Opaque,
            /// Fresh for every attempt; part of the session.
            nonce: [u8; 32],
            /// The plan as [`encode_plan`](crate::plan::encode_plan) writes it. Its digest is
            /// part of the session.
            plan: Opaque,
            /// The weights to evaluate and to train from.
            weights: FileDigest,
            /// How a node can make these weights of earlier ones; `None` where it fetches them.
            following: Option<Following>,
        }
        /// The node is in this round: it trains now.
        Selected = 0x83, cap SMALL, { round: u64, attempt: u32, }
        /// The node is not in this round.
        NotSelected = 0x84, cap SMALL, { round: u64, attempt: u32, }
        /// A secagg message: Roster, Delivery or Survivors, told apart by the phase.
        Secagg = 0x85, cap SMALL + secagg, {
            round: u64,
            attempt: u32,
            /// The phase that this message opens.
            phase: Phase,
            /// The secagg message's own encoding.
            body: Opaque,
        }
        /// Something that the node sent was not accepted; it is out of this round.
        Rejected = 0x86, cap SMALL, {
            round: u64,
            attempt: u32,
            /// The phase in which it was sent.
            phase: Phase,
            /// Why, for people.
            reason: Reason,
        }
        /// The round is over.
        RoundEnd = 0x87, cap SMALL, {
            round: u64,
            attempt: u32,
            /// What became of it for this node.
            result: RoundResult,
            /// What the round brought.
            summary: RoundSummary,
        }
        /// The training is over; nothing further will be announced.
        Finished = 0x88, cap SMALL, {
            /// Why, for people.
            reason: Reason,
        }
    }
}

impl NodeMessage {
    /// `Hello` of this version.
    #[must_use]
    pub fn hello(software: &str) -> Self {
        Self::Hello {
            protocol: PROTOCOL_VERSION,
            software: Name::fitted(software),
        }
    }
}

/// What a node needs to hold the weights itself, from round to round of evolution strategies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Following {
    /// The optimiser's state that belongs to the announced weights; `None` where it has none.
    pub optimizer: Option<FileDigest>,
    /// The newest block of the [log](crate::steps), whose last step leads to the announced weights;
    /// `None` where there is no step yet.
    pub newest: Option<FileDigest>,
}

/// Why a node does not take part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeclineReason {
    /// The node has no text to train or evaluate on.
    NoText,
    /// The node has uploaded as often for this model as its policy allows.
    UploadsUsedUp,
    /// The node's policy refuses the parameters or the plan.
    Policy(Reason),
    /// The node is still busy with another round.
    Busy,
    /// Something else.
    Other(Reason),
}

impl std::fmt::Display for DeclineReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoText => f.write_str("it has no text"),
            Self::UploadsUsedUp => f.write_str("its uploads for this model are used up"),
            Self::Policy(reason) => write!(f, "its policy refuses: {reason}"),
            Self::Busy => f.write_str("it is busy with another round"),
            Self::Other(reason) => reason.fmt(f),
        }
    }
}

/// What became of a round for one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoundResult {
    /// The node's masked vector is in the sum.
    Included,
    /// The round succeeded without this node.
    NotIncluded,
    /// The round was abandoned.
    Abandoned {
        /// Why, for people.
        reason: Reason,
    },
}

/// What a round brought, for every node to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundSummary {
    /// Nodes whose masked vectors are in the sum.
    pub contributors: u32,
    /// Nodes that were lost after the roster.
    pub lost: u32,
    /// Federated evaluation of the weights that the nodes received this round.
    pub validation: Option<ValidationFigures>,
}

/// Figures over the held-out text of all contributors of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ValidationFigures {
    /// Mean loss in nats a token.
    pub loss: f64,
    /// Share of tokens predicted by the first suggestion.
    pub top1: f64,
    /// Share of tokens among the first three suggestions.
    pub top3: f64,
    /// Tokens that these figures are over.
    pub tokens: u64,
}

/// The cap of messages that carry only numbers and one short text, and what a secagg message's
/// frame adds to its body.
const SMALL: usize = 512;
