//! The lines of the ledger.

use std::fmt;

use secagg::{Layout, Session};
use secagg_wire::digest::{Digest, Hasher};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One step of this node in a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in seconds since 1970 by this node's clock.
    pub at: u64,
    /// The round.
    pub round: u64,
    /// The attempt.
    pub attempt: u32,
    /// The session's id.
    pub session: Hash,
    /// What was done.
    #[serde(flatten)]
    pub step: Step,
}

/// What a node does in a round and keeps a record of. Each stands on the disk before it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Takes part: the answer is yes.
    Join(Join),
    /// Uploads its masked vector.
    Upload(Upload),
    /// Reveals its shares, which open the sum.
    Reveal(Reveal),
    /// Leaves after it joined: it refuses to go on, or cannot.
    Leave {
        /// Why, as the log says it.
        reason: String,
    },
}

/// What the session is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// What stands for the model of the session: description, vocabulary and weights.
    pub model: Hash,
    /// The part of it that stays over all rounds: description and vocabulary.
    pub architecture: Hash,
    /// The plan.
    pub plan: Hash,
    /// What the coordinator is trusted with.
    pub threat_model: String,
    /// Who is whose neighbour.
    pub graph: String,
    /// The fewest clients of the session.
    pub min_cohort: u32,
    /// The most.
    pub max_cohort: u32,
    /// Elements of the masked vector.
    pub elements: u64,
}

/// Whose vectors are under the masks of this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The model of the session.
    pub model: Hash,
    /// The digest of the whole roster.
    pub roster: Hash,
    /// What every key is bound to: session, roster, cohort, degree and threshold.
    pub round_id: Hash,
    /// Clients in the roster.
    pub cohort: u32,
    /// Neighbours of each client.
    pub degree: u32,
    /// Shares that open a secret.
    pub threshold: u32,
}

/// Which sum is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reveal {
    /// How many clients are in the sum.
    pub survivors: u32,
    /// The digest of the list of them: nodes of one round can compare theirs.
    pub survivors_digest: Hash,
}

/// 32 bytes, in the ledger and on the screen as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Entry {
    /// The entry of a step in this session.
    #[must_use]
    pub fn new(at: u64, session: &Session, attempt: u32, step: Step) -> Self {
        Self {
            at,
            round: session.context().round,
            attempt,
            session: Hash(*session.id().as_bytes()),
            step,
        }
    }

    /// What the session is about, if this is where the node joined it.
    #[must_use]
    pub fn joined(&self) -> Option<&Join> {
        match &self.step {
            Step::Join(join) => Some(join),
            Step::Upload(_) | Step::Reveal(_) | Step::Leave { .. } => None,
        }
    }

    /// The one way to write this entry.
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("numbers and text are JSON")
    }

    /// Reads what [`to_text`](Self::to_text) wrote, and nothing else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let entry: Self = serde_json::from_str(text).ok()?;
        (entry.to_text() == text).then_some(entry)
    }
}

impl Join {
    /// What a session is about, for a model with this architecture.
    #[must_use]
    pub fn of(session: &Session, architecture: Hash) -> Self {
        let (context, parameters) = (session.context(), session.parameters());
        let cohort = parameters.cohort();
        Self {
            model: Hash(context.model_digest),
            architecture,
            plan: Hash(context.plan_digest),
            threat_model: parameters.threat_model().to_string(),
            graph: parameters.graph().to_string(),
            min_cohort: *cohort.start(),
            max_cohort: *cohort.end(),
            elements: elements(session.layout()),
        }
    }
}

/// Elements of all segments of a masked vector.
#[must_use]
pub fn elements(layout: &Layout) -> u64 {
    let segments = layout.segments().iter();
    segments.map(|segment| u64::from(segment.len())).sum()
}

/// The digest of what stays of a model over all rounds. A policy can name those that a node trains.
#[must_use]
pub fn architecture(description: &Digest, vocabulary: &Digest) -> Hash {
    let mut hasher = Hasher::new();
    hasher.update(b"secagg/v1/node/architecture");
    hasher.update(description.as_bytes());
    hasher.update(vocabulary.as_bytes());
    hasher.finish().into()
}

impl Hash {
    /// 32 bytes that were hashed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<Digest> for Hash {
    fn from(digest: Digest) -> Self {
        Self(*digest.as_bytes())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Digest::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(&text, &mut bytes).map_err(|_| {
            let found = de::Unexpected::Str(&text);
            de::Error::invalid_value(found, &"64 hexadecimal digits")
        })?;
        Ok(Self(bytes))
    }
}
