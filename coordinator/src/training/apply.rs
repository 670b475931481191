//! From the sum to the new weights.

use secagg::{Session, server::Outcome};
use secagg_learning::{
    Counters, Directions, Plan, Pruning, RoundKind, ServerStep, Step, UpdateCodec, WeightsDown,
    pruning::sparsity,
};
use secagg_wire::phase::Phase;

use crate::{
    download::file_down,
    model::{Model, ModelFile},
    round::Failure,
    store::Weights,
};

/// Under which plan a sum was made, in which session, and what step it is for the optimiser.
pub(super) struct Summed<'a> {
    pub(super) plan: &'a Plan,
    pub(super) session: &'a Session,
    /// Which training round it is, the first is 1.
    pub(super) step: u64,
    /// In how many bits the new weights go down.
    pub(super) down: WeightsDown,
    /// What is pruned of them.
    pub(super) pruning: Option<&'a Pruning>,
}

/// What a sum brought.
pub(super) struct Applied {
    /// The new weights; `None` after a round of evaluation.
    pub(super) file: Option<ModelFile>,
    /// The same as nodes get them.
    pub(super) down: Option<ModelFile>,
    /// The share of the new weights that is zero, where they are pruned.
    pub(super) sparsity: Option<f64>,
    /// What nodes that hold the weights can do themselves.
    pub(super) step: Option<Step>,
    /// The sums of the contributors' figures.
    pub(super) counters: Counters,
}

/// Decodes the sum and lets the server's optimiser make its step. On an error neither weights nor
/// optimiser have changed.
pub(super) fn apply(
    model: &Model,
    weights: &mut Weights,
    summed: &Summed<'_>,
    outcome: Outcome,
) -> Result<Applied, Failure> {
    try_apply(model, weights, summed, outcome).map_err(|error| Failure::Abandoned {
        phase: Phase::Unmask,
        reason: format!("the sum cannot be used: {error}"),
    })
}

fn try_apply(
    model: &Model,
    weights: &mut Weights,
    summed: &Summed<'_>,
    outcome: Outcome,
) -> Result<Applied, Box<dyn std::error::Error + Send + Sync>> {
    let contributors = u32::try_from(outcome.contributors.len())?;
    let plan = summed.plan;
    let decoded = UpdateCodec::new(plan).decode(summed.session, &outcome.sum, contributors)?;
    drop(outcome);
    let mut zeros = None;
    let shapes = || model.shapes.tensors().map(|(_, dimensions)| dimensions);
    let factor = plan.server_schedule().factor(summed.step);
    let file = match (plan.kind(), decoded.mean_delta) {
        (RoundKind::EvaluateOnly, _) => None,
        // Nobody had an example: the weights stay as they are.
        (RoundKind::Train, None) => Some(weights.file.clone()),
        (RoundKind::Train, Some(delta)) => {
            let mut flat = model.shapes.flat(&weights.file.bytes)?;
            let step = ServerStep {
                round: summed.step,
                factor,
                parts: &plan.update().parts,
                pruning: summed.pruning,
            };
            step.apply(shapes(), &mut weights.optimizer, &mut flat, delta)?;
            zeros = summed.pruning.map(|_| sparsity(shapes(), &flat));
            Some(ModelFile::new(
                model.shapes.file(&flat, &weights.file.bytes)?,
            ))
        }
    };
    let down = match &file {
        Some(file) => {
            let pruned = summed.pruning.is_some();
            Some(file_down(&model.shapes, file, summed.down, pruned)?)
        }
        None => None,
    };
    Ok(Applied {
        file,
        down,
        sparsity: zeros,
        step: decoded.falls.map(|falls| Step {
            factor,
            seed: Directions::new(summed.session).seed(),
            falls,
        }),
        counters: decoded.counters,
    })
}
