//! The bounds of a plan's values.

use super::{PlanError, ServerOptimizerConfig, UpdatePlan};

pub(crate) fn update(update: &UpdatePlan) -> Result<(), PlanError> {
    integer("update.parameters", update.parameters, 1, u32::MAX)?;
    size("update.clip_norm", update.clip_norm)?;
    size("update.range", update.range)?;
    integer("update.value_bits", u32::from(update.value_bits), 2, 24)?;
    integer("update.weight_cap", update.weight_cap, 1, u32::MAX)?;
    integer("update.max_cohort", update.max_cohort, 3, u32::MAX)?;
    let (end, parameters) = (update.parts.end(), update.parameters);
    if end > parameters {
        return Err(PlanError::Parts { end, parameters });
    }
    update.compression.check()
}

pub(crate) fn server(server: &ServerOptimizerConfig) -> Result<(), PlanError> {
    match *server {
        ServerOptimizerConfig::FedAvg { rate } => size("server.fedavg.rate", rate),
        ServerOptimizerConfig::FedAvgM { rate, momentum } => {
            size("server.fedavgm.rate", rate)?;
            decay("server.fedavgm.momentum", momentum)
        }
        ServerOptimizerConfig::FedAdagrad { rate, beta1, tau } => {
            size("server.fedadagrad.rate", rate)?;
            decay("server.fedadagrad.beta1", beta1)?;
            size("server.fedadagrad.tau", tau)
        }
        ServerOptimizerConfig::FedAdam {
            rate,
            beta1,
            beta2,
            tau,
        } => {
            size("server.fedadam.rate", rate)?;
            decay("server.fedadam.beta1", beta1)?;
            decay("server.fedadam.beta2", beta2)?;
            size("server.fedadam.tau", tau)
        }
        ServerOptimizerConfig::FedYogi {
            rate,
            beta1,
            beta2,
            tau,
        } => {
            size("server.fedyogi.rate", rate)?;
            decay("server.fedyogi.beta1", beta1)?;
            decay("server.fedyogi.beta2", beta2)?;
            size("server.fedyogi.tau", tau)
        }
    }
}

pub(crate) fn integer(
    name: &'static str,
    value: u32,
    minimum: u32,
    maximum: u32,
) -> Result<(), PlanError> {
    if (minimum..=maximum).contains(&value) {
        Ok(())
    } else {
        Err(PlanError::Integer {
            name,
            value,
            minimum,
            maximum,
        })
    }
}

pub(crate) fn size(name: &'static str, value: f32) -> Result<(), PlanError> {
    float(name, value, SMALLEST, LARGEST)
}

pub(crate) fn float(
    name: &'static str,
    value: f32,
    minimum: f32,
    maximum: f32,
) -> Result<(), PlanError> {
    // NaN is in no range. A negative zero would give an equal plan a second encoding.
    if (minimum..=maximum).contains(&value) && value.is_sign_positive() {
        Ok(())
    } else {
        Err(PlanError::Float {
            name,
            value,
            minimum,
            maximum,
        })
    }
}

pub(crate) fn decay(name: &'static str, value: f32) -> Result<(), PlanError> {
    // A negative zero would give an equal plan a second encoding.
    if (0.0..1.0).contains(&value) && value.is_sign_positive() {
        Ok(())
    } else {
        Err(PlanError::Decay { name, value })
    }
}

/// Floats with a unit stay far from f32's own limits, so that no product of a few of them, a
/// weight and a cohort becomes infinite or vanishes.
const SMALLEST: f32 = 1e-9;
pub(crate) const LARGEST: f32 = 1e9;
