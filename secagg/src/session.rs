//! What everybody agrees on before anybody joins, and the ids that bind keys to it.

use alloc::sync::Arc;

use crate::{
    id::hex_fmt,
    params::Parameters,
    primitives::{self, label},
    vector::{Layout, Segment},
};

/// What a round is about. It enters the session id, and through it every key: clients that were
/// shown different contexts cannot be summed, because their masks do not cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The round's number.
    pub round: u64,
    /// Fresh random bytes that make two sessions different even if all else is equal.
    pub nonce: [u8; 32],
    /// Digest of the model, computed by each client over the bytes that it received.
    pub model_digest: [u8; 32],
    /// Digest of the plan, computed by each client over the bytes that it received.
    pub plan_digest: [u8; 32],
}

/// One run of the protocol: parameters and context, hashed into an id.
///
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Session {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    parameters: Parameters,
    context: Context,
    id: SessionId,
}

impl Session {
    /// The session of these parameters in this context.
    #[must_use]
    pub fn new(parameters: Parameters, context: Context) -> Self {
        let id = SessionId(primitives::hash(
            label::SESSION_ID,
            &[
                &parameters.encode(),
                &context.round.to_le_bytes(),
                &context.nonce,
                &context.model_digest,
                &context.plan_digest,
            ],
        ));
        Self {
            inner: Arc::new(Inner {
                parameters,
                context,
                id,
            }),
        }
    }

    /// The hash over all of it.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.inner.id
    }

    /// The parameters.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.inner.parameters
    }

    /// The context.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.inner.context
    }

    /// The shape of the vectors that are summed.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        self.inner.parameters.layout()
    }

    /// The largest element that a client may submit in a segment: ⌊(2^b − 1) / n_max⌋, so that no
    /// sum can wrap around.
    #[must_use]
    pub fn max_input(&self, segment: &Segment) -> u64 {
        segment.max_element() / u64::from(*self.inner.parameters.cohort().end())
    }
}

/// The hash of a session's parameters and context.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionId([u8; 32]);

/// The hash of a session, its roster, cohort size, degree and threshold. From ShareKeys on every
/// key and associated data binds to it, so that clients that were shown different rosters have
/// nothing in common.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RoundId([u8; 32]);

impl RoundId {
    pub(crate) fn new(
        session: &SessionId,
        roster_digest: &[u8; 32],
        cohort: u32,
        degree: u32,
        threshold: u32,
    ) -> Self {
        Self(primitives::hash(
            label::ROUND_ID,
            &[
                &session.0,
                roster_digest,
                &cohort.to_le_bytes(),
                &degree.to_le_bytes(),
                &threshold.to_le_bytes(),
            ],
        ))
    }
}

macro_rules! id_bytes {
    ($name:ident) => {
        impl $name {
            /// The hash's bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }
    };
}

id_bytes!(SessionId);
id_bytes!(RoundId);
hex_fmt!(SessionId RoundId);
