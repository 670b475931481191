//! From the sum to the new weights.

use secagg::server::Outcome;
use secagg_learning::{Counters, RoundKind, UpdateCodec};
use secagg_wire::phase::Phase;

use crate::{
    model::{Model, ModelFile},
    round::Failure,
    store::Weights,
};

/// What a sum brought.
pub(super) struct Applied {
    /// The new weights; `None` after a round of evaluation.
    pub(super) file: Option<ModelFile>,
    /// The sums of the contributors' figures.
    pub(super) counters: Counters,
}

/// Decodes the sum and lets the server's optimiser make its step. On an error neither weights nor
/// optimiser have changed.
pub(super) fn apply(
    model: &Model,
    weights: &mut Weights,
    kind: RoundKind,
    codec: &UpdateCodec,
    outcome: Outcome,
) -> Result<Applied, Failure> {
    try_apply(model, weights, kind, codec, outcome).map_err(|error| Failure::Abandoned {
        phase: Phase::Unmask,
        reason: format!("the sum cannot be used: {error}"),
    })
}

fn try_apply(
    model: &Model,
    weights: &mut Weights,
    kind: RoundKind,
    codec: &UpdateCodec,
    outcome: Outcome,
) -> Result<Applied, Box<dyn std::error::Error + Send + Sync>> {
    let contributors = u32::try_from(outcome.contributors.len())?;
    let decoded = codec.decode(&outcome.sum, contributors)?;
    drop(outcome);
    let file = match (kind, decoded.mean_delta) {
        (RoundKind::EvaluateOnly, _) => None,
        // Nobody had an example: the weights stay as they are.
        (RoundKind::Train, None) => Some(weights.file.clone()),
        (RoundKind::Train, Some(delta)) => {
            let mut flat = model.shapes.flat(&weights.file.bytes)?;
            weights.optimizer.step(&mut flat, &delta)?;
            drop(delta);
            Some(ModelFile::new(
                model.shapes.file(&flat, &weights.file.bytes)?,
            ))
        }
    };
    Ok(Applied {
        file,
        counters: decoded.counters,
    })
}
