//! Server optimisers: how the mean update changes the global weights.
//!
//! Reddi et al., "Adaptive Federated Optimization" (ICLR 2021), Algorithm 2, with Δ the weighted
//! mean of the clients' updates (new minus old weights), element by element:
//!
//! ```text
//!              m ← β₁·m + (1 − β₁)·Δ                    from m = 0
//! FedAdagrad   v ← v + Δ²                               from v = τ²
//! FedAdam      v ← β₂·v + (1 − β₂)·Δ²                   from v = τ²
//! FedYogi      v ← v − (1 − β₂)·Δ²·sign(v − Δ²)         from v = τ²
//!              x ← x + η·m / (√v + τ)
//! ```
//!
//! The paper asks for an initial v of at least τ²; here it is τ². As in the paper there is no bias
//! correction. FedAvg (McMahan et al. 2017) is x ← x + η·Δ; FedAvgM (Hsu, Qi and Brown 2019) is
//! m ← β·m + Δ, x ← x + η·m, without damping.
//!
//! A [`Schedule`](crate::Schedule) may multiply η by a factor of its own in each step
//! ([`ServerOptimizer::step_with`]).

mod file;

use std::collections::BTreeMap;

pub use self::file::StateError;
use crate::plan::{Parts, PlanError, ServerOptimizerConfig, check};

/// Name of the averaged update m in an exported state.
pub const MOMENTUM: &str = "momentum";

/// Name of the averaged square v in an exported state.
pub const VARIANCE: &str = "variance";

/// A server optimiser with its state, for weights of a fixed length.
///
/// State is kept in f32; each step computes in f64 and rounds once.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerOptimizer {
    rule: Rule,
    len: usize,
}

/// Why a step or a state was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptimizerError {
    /// A constant of the optimiser is out of bounds.
    #[error(transparent)]
    Config(#[from] PlanError),
    /// A vector has another length than the weights.
    #[error("{name} has {len} elements, but the optimiser is for {expected}")]
    Length {
        /// Which vector.
        name: String,
        /// Its length.
        len: usize,
        /// The length of the weights.
        expected: usize,
    },
    /// An element is not a finite number; for the new weights: they would overflow.
    #[error("{name}[{index}] is not a finite number")]
    NotFinite {
        /// Which vector.
        name: String,
        /// Where.
        index: usize,
    },
    /// A schedule's factor is a number from 0 to 1.
    #[error("the rate's factor is {factor}; it must be a number from 0 to 1")]
    Factor {
        /// The factor given.
        factor: f64,
    },
    /// The parts to change reach beyond the weights.
    #[error("parts end at {end}, but the optimiser is for {len} weights")]
    Parts {
        /// Where the last one ends.
        end: u32,
        /// The length of the weights.
        len: usize,
    },
    /// A variance is a sum or an average of squares and never negative.
    #[error("variance[{index}] is negative")]
    NegativeVariance {
        /// Where.
        index: usize,
    },
    /// The state lacks a vector that this optimiser needs.
    #[error("the state has no vector \"{name}\"")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// The state has a vector that this optimiser does not know.
    #[error("the state has a vector \"{name}\" that this optimiser does not use")]
    Unknown {
        /// Its name.
        name: String,
    },
}

impl ServerOptimizer {
    /// An optimiser at its start, for `len` weights.
    ///
    /// # Errors
    /// [`OptimizerError::Config`] where a constant is out of bounds.
    pub fn new(config: &ServerOptimizerConfig, len: usize) -> Result<Self, OptimizerError> {
        check::server(config)?;
        let zeros = || vec![0.0; len];
        let rule = match *config {
            ServerOptimizerConfig::FedAvg { rate } => Rule::FedAvg { rate },
            ServerOptimizerConfig::FedAvgM { rate, momentum } => Rule::FedAvgM {
                rate,
                beta: momentum,
                momentum: zeros(),
            },
            ServerOptimizerConfig::FedAdagrad { rate, beta1, tau } => Rule::Adaptive {
                second_moment: SecondMoment::Adagrad,
                rate,
                beta1,
                beta2: 0.0,
                tau,
                momentum: zeros(),
                variance: vec![tau * tau; len],
            },
            ServerOptimizerConfig::FedAdam {
                rate,
                beta1,
                beta2,
                tau,
            } => Rule::Adaptive {
                second_moment: SecondMoment::Adam,
                rate,
                beta1,
                beta2,
                tau,
                momentum: zeros(),
                variance: vec![tau * tau; len],
            },
            ServerOptimizerConfig::FedYogi {
                rate,
                beta1,
                beta2,
                tau,
            } => Rule::Adaptive {
                second_moment: SecondMoment::Yogi,
                rate,
                beta1,
                beta2,
                tau,
                momentum: zeros(),
                variance: vec![tau * tau; len],
            },
        };
        Ok(Self { rule, len })
    }

    /// An optimiser that goes on from an exported [`state`](Self::state).
    ///
    /// # Errors
    /// [`OptimizerError`] where a constant is out of bounds, or where `state` does not hold exactly
    /// the vectors of this optimiser, each of `len` finite elements, the variance not negative.
    pub fn restore(
        config: &ServerOptimizerConfig,
        len: usize,
        mut state: BTreeMap<String, Vec<f32>>,
    ) -> Result<Self, OptimizerError> {
        let mut optimizer = Self::new(config, len)?;
        for (name, vector) in optimizer.rule.vectors_mut() {
            let saved = state.remove(name).ok_or(OptimizerError::Missing { name })?;
            check_vector(name, &saved, len)?;
            if name == VARIANCE
                && let Some(index) = saved.iter().position(|&element| element < 0.0)
            {
                return Err(OptimizerError::NegativeVariance { index });
            }
            *vector = saved;
        }
        match state.pop_first() {
            Some((name, _)) => Err(OptimizerError::Unknown { name }),
            None => Ok(optimizer),
        }
    }

    /// The state that [`restore`](Self::restore) takes: name and vector, each as long as the
    /// weights. FedAvg has none, FedAvgM has [`MOMENTUM`], the others [`MOMENTUM`] and
    /// [`VARIANCE`].
    pub fn state(&self) -> Vec<(&'static str, &[f32])> {
        match &self.rule {
            Rule::FedAvg { .. } => vec![],
            Rule::FedAvgM { momentum, .. } => vec![(MOMENTUM, momentum)],
            Rule::Adaptive {
                momentum, variance, ..
            } => vec![(MOMENTUM, momentum), (VARIANCE, variance)],
        }
    }

    /// Applies one round's mean update to `weights`, both of the optimiser's length.
    ///
    /// # Errors
    /// [`OptimizerError::Length`] or [`OptimizerError::NotFinite`], also where the new weights or
    /// the new state would not be finite; then neither weights nor state have changed.
    pub fn step(&mut self, weights: &mut [f32], mean_delta: &[f32]) -> Result<(), OptimizerError> {
        self.step_with(1.0, &Parts::ALL, weights, mean_delta)
    }

    /// The same with the rate times `factor`, that of a schedule at this step: a number from 0 to 1;
    /// and for those parts of the weights alone. The others do not change, nor does their state.
    ///
    /// # Errors
    /// As [`step`](Self::step), and [`OptimizerError::Factor`]; [`OptimizerError::Parts`] where the
    /// parts reach beyond the weights.
    pub fn step_with(
        &mut self,
        factor: f64,
        parts: &Parts,
        weights: &mut [f32],
        mean_delta: &[f32],
    ) -> Result<(), OptimizerError> {
        if !(0.0..=1.0).contains(&factor) {
            return Err(OptimizerError::Factor { factor });
        }
        if parts.end() as usize > self.len {
            return Err(OptimizerError::Parts {
                end: parts.end(),
                len: self.len,
            });
        }
        check_vector("weights", weights, self.len)?;
        check_vector("mean_delta", mean_delta, self.len)?;
        // A second pass writes what the first has found to be finite.
        for index in parts.stretches(self.len).flatten() {
            let next = self
                .rule
                .next(factor, index, weights[index], mean_delta[index]);
            for (name, value) in [
                ("new weights", next.weight),
                ("new momentum", next.momentum),
                ("new variance", next.variance),
            ] {
                if !value.is_finite() {
                    let name = name.to_owned();
                    return Err(OptimizerError::NotFinite { name, index });
                }
            }
        }
        for index in parts.stretches(self.len).flatten() {
            let next = self
                .rule
                .next(factor, index, weights[index], mean_delta[index]);
            weights[index] = next.weight;
            match &mut self.rule {
                Rule::FedAvg { .. } => {}
                Rule::FedAvgM { momentum, .. } => momentum[index] = next.momentum,
                Rule::Adaptive {
                    momentum, variance, ..
                } => {
                    momentum[index] = next.momentum;
                    variance[index] = next.variance;
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Rule {
    FedAvg {
        rate: f32,
    },
    FedAvgM {
        rate: f32,
        beta: f32,
        momentum: Vec<f32>,
    },
    Adaptive {
        second_moment: SecondMoment,
        rate: f32,
        beta1: f32,
        beta2: f32,
        tau: f32,
        momentum: Vec<f32>,
        variance: Vec<f32>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum SecondMoment {
    /// Has no decay: `beta2` is not used.
    Adagrad,
    Adam,
    Yogi,
}

/// One element after a step; what a rule does not keep is zero.
struct Next {
    weight: f32,
    momentum: f32,
    variance: f32,
}

impl Rule {
    fn next(&self, factor: f64, index: usize, weight: f32, delta: f32) -> Next {
        let (weight, delta) = (f64::from(weight), f64::from(delta));
        let (weight, momentum, variance) = match self {
            Self::FedAvg { rate } => (weight + factor * f64::from(*rate) * delta, 0.0, 0.0),
            Self::FedAvgM {
                rate,
                beta,
                momentum,
            } => {
                let momentum = f64::from(*beta) * f64::from(momentum[index]) + delta;
                (weight + factor * f64::from(*rate) * momentum, momentum, 0.0)
            }
            Self::Adaptive {
                second_moment,
                rate,
                beta1,
                beta2,
                tau,
                momentum,
                variance,
            } => {
                let (beta1, beta2) = (f64::from(*beta1), f64::from(*beta2));
                let square = delta * delta;
                let before = f64::from(variance[index]);
                let momentum = beta1 * f64::from(momentum[index]) + (1.0 - beta1) * delta;
                let variance = match second_moment {
                    SecondMoment::Adagrad => before + square,
                    SecondMoment::Adam => beta2 * before + (1.0 - beta2) * square,
                    SecondMoment::Yogi => before - (1.0 - beta2) * square * sign(before - square),
                };
                let rate = factor * f64::from(*rate);
                let step = rate * momentum / (variance.sqrt() + f64::from(*tau));
                (weight + step, momentum, variance)
            }
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounded to the nearest f32; what overflows becomes infinite and is refused"
        )]
        Next {
            weight: weight as f32,
            momentum: momentum as f32,
            variance: variance as f32,
        }
    }

    fn vectors_mut(&mut self) -> Vec<(&'static str, &mut Vec<f32>)> {
        match self {
            Self::FedAvg { .. } => vec![],
            Self::FedAvgM { momentum, .. } => vec![(MOMENTUM, momentum)],
            Self::Adaptive {
                momentum, variance, ..
            } => vec![(MOMENTUM, momentum), (VARIANCE, variance)],
        }
    }
}

/// −1, 0 or 1: unlike `f64::signum`, zero at zero.
fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        0.0
    }
}

fn check_vector(name: &str, vector: &[f32], expected: usize) -> Result<(), OptimizerError> {
    if vector.len() != expected {
        return Err(OptimizerError::Length {
            name: name.to_owned(),
            len: vector.len(),
            expected,
        });
    }
    match vector.iter().position(|element| !element.is_finite()) {
        Some(index) => Err(OptimizerError::NotFinite {
            name: name.to_owned(),
            index,
        }),
        None => Ok(()),
    }
}
