//! A round's plan as it travels in an announcement: postcard, canonical.

use secagg_learning::Plan;

use crate::message::MAX_PLAN_LEN;

/// The bytes of a plan. Their SHA-256, [`plan_digest`](crate::digest::plan_digest), enters the
/// session.
///
/// # Errors
/// [`PlanBytesError::TooLong`] when it would not fit into an announcement.
pub fn encode_plan(plan: &Plan) -> Result<Vec<u8>, PlanBytesError> {
    let bytes = postcard::to_allocvec(plan).map_err(PlanBytesError::Malformed)?;
    check_len(&bytes)?;
    Ok(bytes)
}

/// The plan in those bytes. A plan that comes out is valid: no sum under it can overflow.
///
/// # Errors
/// When the bytes are too many, are no valid plan, or are not how that plan is written.
pub fn decode_plan(bytes: &[u8]) -> Result<Plan, PlanBytesError> {
    check_len(bytes)?;
    let (plan, rest) =
        postcard::take_from_bytes::<Plan>(bytes).map_err(PlanBytesError::Malformed)?;
    if !rest.is_empty() {
        return Err(PlanBytesError::TrailingBytes { extra: rest.len() });
    }
    if postcard::to_allocvec(&plan).map_err(PlanBytesError::Malformed)? != bytes {
        return Err(PlanBytesError::NotCanonical);
    }
    Ok(plan)
}

/// Why bytes are no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanBytesError {
    /// More than an announcement carries.
    #[error("the plan has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes found.
        len: usize,
        /// The cap.
        max: usize,
    },
    /// No plan, or one that is not valid.
    #[error("the plan does not decode to a valid one: {0}")]
    Malformed(postcard::Error),
    /// A plan and something after it.
    #[error("the plan has {extra} bytes too many")]
    TrailingBytes {
        /// Bytes left over.
        extra: usize,
    },
    /// Not how that plan is written.
    #[error("the plan is not in canonical form")]
    NotCanonical,
}

fn check_len(bytes: &[u8]) -> Result<(), PlanBytesError> {
    if bytes.len() > MAX_PLAN_LEN {
        return Err(PlanBytesError::TooLong {
            len: bytes.len(),
            max: MAX_PLAN_LEN,
        });
    }
    Ok(())
}
