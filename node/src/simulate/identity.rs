//! The digest that says whether two runs are of the same experiment.

use std::io;
use std::path::Path;

use secagg_learning::{Plan, Pruning, WeightsDown};
use secagg_wire::digest::Hasher;
use serde::Serialize;

use super::SimulateError;
use super::experiment::{Experiment, Source, Split, Synthetic};
use super::work::Clients;

/// Everything of an experiment that changes a round's results, but for model and data.
#[derive(Serialize)]
struct Identity<'a> {
    seed: u32,
    evaluate_every: u32,
    patience: Option<u32>,
    min_delta: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    weights_down: Option<WeightsDown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pruning: Option<Pruning>,
    /// Only with evolution strategies.
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_steps: Option<usize>,
    split: Option<Split>,
    synthetic: Option<Synthetic>,
    clients: u32,
    dropout: f64,
    secure_aggregation: bool,
    threat_model: String,
    sparse: bool,
    corrupt_fraction: f64,
    dropout_fraction: f64,
    plan: &'a Plan,
}

/// SHA-256 over all that changes a round's results. `rounds.rounds`, `rounds.save_every` and
/// `rounds.keep_last` are not in it: a run can be made longer.
pub(super) fn digest(
    experiment: &Experiment,
    plan: &Plan,
    clients: &Clients,
    initial: &[f32],
) -> Result<String, SimulateError> {
    let cohort = &experiment.cohort;
    let rounds = &experiment.rounds;
    let (split, synthetic) = match &experiment.source {
        Source::Text(text) => (Some(text.split), None),
        Source::Synthetic(synthetic) => (None, Some(*synthetic)),
    };
    let identity = Identity {
        seed: experiment.seed,
        evaluate_every: rounds.evaluate_every,
        patience: rounds.stopping.patience,
        min_delta: rounds.stopping.min_delta,
        weights_down: Some(rounds.weights_down).filter(|down| *down != WeightsDown::F32),
        pruning: rounds.pruning,
        keep_steps: match plan.evolution() {
            Some(_) => Some(experiment.keep_steps()?),
            None => None,
        },
        split,
        synthetic,
        clients: cohort.clients,
        dropout: cohort.dropout,
        secure_aggregation: cohort.secure_aggregation,
        threat_model: cohort.threat_model.to_string(),
        sparse: cohort.graph == secagg::GraphKind::Sparse,
        corrupt_fraction: cohort.corrupt_fraction,
        dropout_fraction: cohort.dropout_fraction,
        plan,
    };
    let identity = serde_json::to_vec(&identity).map_err(|error| {
        SimulateError::file(Path::new("the experiment"), io::Error::other(error))
    })?;
    let mut hasher = Hasher::new();
    hasher.update(b"secagg-node/v1/simulate");
    hasher.update(&(identity.len() as u64).to_le_bytes());
    hasher.update(&identity);
    clients.digest(&mut hasher);
    for weight in initial {
        hasher.update(&weight.to_le_bytes());
    }
    Ok(hasher.finish().to_string())
}
