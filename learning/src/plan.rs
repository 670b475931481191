//! What a round computes, agreed before it starts: the update's encoding, local training, and the
//! server's optimiser.
//!
//! A [`Plan`] that exists is valid: it was built by [`Plan::new`] or parsed through it, every float
//! is finite and within its bounds, and no sum over the largest cohort can overflow the ring.
//!
//! Plans serialise with serde, the same plan always to the same bytes, so that a digest over them
//! can be part of a session's context.

use secagg::{Layout, ParametersError};
use serde::{Deserialize, Serialize};

use crate::{
    evolution::Evolution,
    schedule::{self, Schedule},
};

pub(crate) mod check;
mod compression;
mod defaults;
mod parts;
mod ring;
mod tensors;
mod training;

pub use training::{Budget, Precision};

pub use self::{
    compression::{Compression, Rotated},
    parts::{Parts, PartsError},
    tensors::TensorsError,
};

/// The segment that holds the model update.
pub const UPDATE_SEGMENT: &str = "update";

/// The segment that holds the [`Counters`](crate::Counters).
pub const COUNTERS_SEGMENT: &str = "counters";

/// What the clients do in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoundKind {
    /// Evaluate the received weights on held-out text, train, and send the update.
    Train,
    /// Evaluate only: the masked vector has no update.
    EvaluateOnly,
}

/// How an update becomes ring elements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdatePlan {
    /// Length of the flat update, in parameters of the model; at least 1.
    pub parameters: u32,
    /// Largest L2 norm of a client's update; a longer one is scaled down to it. In the model's own
    /// units, 1e-9 to 1e9.
    pub clip_norm: f32,
    /// Largest magnitude of one weighted element; what lies beyond is clamped. In the model's own
    /// units, 1e-9 to 1e9. A rotation has a range of its own ([`Rotated::range`]).
    pub range: f32,
    /// Bits v of a rounded value, 2 to 24: it lies within ±(2^(v−1) − 1).
    pub value_bits: u8,
    /// Largest weight of one client; at least 1. Who has more examples counts with this many.
    pub weight_cap: u32,
    /// The largest number of clients that a round may sum; at least 3, for a sum of two reveals
    /// each to the other.
    pub max_cohort: u32,
    /// What makes the update smaller.
    #[serde(default)]
    pub compression: Compression,
    /// Which parameters are trained and sent; the others stay as they are.
    #[serde(default)]
    pub parts: Parts,
}

impl UpdatePlan {
    /// How many parameters are trained.
    #[must_use]
    pub fn trained(&self) -> u32 {
        self.parts.len(self.parameters)
    }

    /// How many coordinates of the update are sent: the share of those that are trained.
    #[must_use]
    pub fn coordinates(&self) -> u32 {
        self.compression.coordinates(self.trained())
    }
}

/// How a client trains.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingPlan {
    /// How long a client trains.
    pub budget: Budget,
    /// Examples a batch, 1 to 65,536.
    pub batch: u32,
    /// Batches a step, 1 to 1,024. A step's gradient is the mean over the tokens of all of them, as
    /// if they were one large batch (with dropout, of other masks), but only one has to fit into memory at a
    /// time.
    #[serde(default = "one")]
    pub accumulate: u32,
    /// The optimiser of the local steps; it keeps no state between rounds.
    pub optimizer: LocalOptimizer,
    /// What the optimiser's rate is multiplied by; the step of the schedule is the round.
    #[serde(default)]
    pub schedule: Schedule,
    /// Weight decay λ, 0 or more and below 1: apart from the gradient with Adam (AdamW, Loshchilov
    /// and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019), part of it with the others.
    #[serde(default)]
    pub weight_decay: f32,
    /// μ of FedProx (Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020,
    /// equation 2), 0 to 1e9: each step is pulled back to the received weights w_t by the gradient of
    /// μ/2·‖w − w_t‖². 0 for none.
    #[serde(default)]
    pub proximal: f32,
    /// Dropout (Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    /// JMLR 2014): the probability with which each element of what one layer hands to the next becomes 0
    /// in training, while the others are divided by 1 − p; 0 or more and below 1, 0 for none. Recurrent
    /// connections have none (Zaremba, Sutskever and Vinyals, "Recurrent neural network regularization",
    /// 2014), and neither has evaluation.
    #[serde(default)]
    pub dropout: f32,
    /// Largest L2 norm of a step's gradient, 1e-9 to 1e9; that of the text's loss, without weight
    /// decay and without the proximal term.
    pub gradient_clip: f32,
    /// The most examples of a client that a round uses, drawn at random and anew in each round: who has
    /// more trains on so many and weighs as much, so that neither the longest training nor the largest share
    /// of the sum is that of the client with most examples. 0 for all. Evolution strategies, which try as many
    /// examples as a step has anyway, do not look at it.
    #[serde(default)]
    pub max_examples: u32,
    /// Words, or other tokens, of an example that are used, 1 to 4,096; the rest is cut off.
    pub max_words: u32,
    /// What the network is computed in.
    #[serde(default)]
    pub precision: Precision,
}

/// The optimiser of the local steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum LocalOptimizer {
    /// Plain stochastic gradient descent.
    Sgd {
        /// Learning rate, 1e-9 to 1e9.
        rate: f32,
    },
    /// Adam (Kingma and Ba 2015) with its default decay rates.
    Adam {
        /// Learning rate, 1e-9 to 1e9.
        rate: f32,
    },
    /// Gradient descent with a running sum of gradients: v ← β·v + g, w ← w − rate·v (Polyak 1964,
    /// as Sutskever et al., "On the importance of initialization and momentum in deep learning",
    /// ICML 2013, section 2, with the rate outside of the sum).
    Momentum {
        /// Learning rate, 1e-9 to 1e9.
        rate: f32,
        /// Decay β of the sum, 0 or more and below 1.
        beta: f32,
    },
}

/// Which server optimiser applies the mean update, and its constants
/// (see [`ServerOptimizer`](crate::ServerOptimizer)).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ServerOptimizerConfig {
    /// Adds the mean update times `rate` (McMahan et al. 2017 with rate 1).
    FedAvg {
        /// Server learning rate η, 1e-9 to 1e9.
        rate: f32,
    },
    /// Adds a running sum of mean updates (Hsu, Qi and Brown 2019).
    FedAvgM {
        /// Server learning rate η, 1e-9 to 1e9.
        rate: f32,
        /// Momentum β, 0 or more and below 1.
        momentum: f32,
    },
    /// Adam on the server (Reddi et al. 2021, Algorithm 2).
    FedAdam {
        /// Server learning rate η, 1e-9 to 1e9.
        rate: f32,
        /// Decay β₁ of the mean update's average, 0 or more and below 1.
        beta1: f32,
        /// Decay β₂ of its square's average, 0 or more and below 1.
        beta2: f32,
        /// Adaptivity τ, 1e-9 to 1e9: the larger, the less adaptive.
        tau: f32,
    },
    /// Yogi on the server (Reddi et al. 2021, Algorithm 2).
    FedYogi {
        /// Server learning rate η, 1e-9 to 1e9.
        rate: f32,
        /// Decay β₁ of the mean update's average, 0 or more and below 1.
        beta1: f32,
        /// Decay β₂ of its square's average, 0 or more and below 1.
        beta2: f32,
        /// Adaptivity τ, 1e-9 to 1e9: the larger, the less adaptive.
        tau: f32,
    },
    /// Adagrad on the server (Reddi et al. 2021, Algorithm 2).
    FedAdagrad {
        /// Server learning rate η, 1e-9 to 1e9.
        rate: f32,
        /// Decay β₁ of the mean update's average, 0 or more and below 1; the paper's is 0.
        beta1: f32,
        /// Adaptivity τ, 1e-9 to 1e9: the larger, the less adaptive.
        tau: f32,
    },
}

/// What a round computes. A plan that exists is valid, and no sum under it can overflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawPlan", into = "RawPlan")]
pub struct Plan {
    kind: RoundKind,
    update: UpdatePlan,
    training: TrainingPlan,
    server: ServerOptimizerConfig,
    server_schedule: Schedule,
    evolution: Option<Evolution>,
    modulus_bits: u8,
    layout: Layout,
}

/// Why a plan was refused: which value, and its bounds.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// A whole number is out of bounds.
    #[error("{name} is {value}; it must be from {minimum} to {maximum}")]
    Integer {
        /// The value's name, as in a plan written as TOML.
        name: &'static str,
        /// The value given.
        value: u32,
        /// The smallest value allowed.
        minimum: u32,
        /// The largest value allowed.
        maximum: u32,
    },
    /// A float must be a number within bounds.
    #[error("{name} is {value}; it must be a number from {minimum} to {maximum}")]
    Float {
        /// The value's name, as in a plan written as TOML.
        name: &'static str,
        /// The value given.
        value: f32,
        /// The smallest value allowed.
        minimum: f32,
        /// The largest value allowed.
        maximum: f32,
    },
    /// A decay must be a number that is not negative and below 1.
    #[error("{name} is {value}; it must be a number, 0 or more and below 1")]
    Decay {
        /// The value's name, as in a plan written as TOML.
        name: &'static str,
        /// The value given.
        value: f32,
    },
    /// The sum over the largest cohort could overflow the widest ring.
    #[error(
        "{name} can be {span} different values; times max_cohort {max_cohort} that is more than \
         2^{bits}"
    )]
    Overflow {
        /// What would overflow.
        name: &'static str,
        /// How many different values one client can send.
        span: u64,
        /// The plan's largest cohort.
        max_cohort: u32,
        /// The widest ring that may be used, in bits.
        bits: u8,
    },
    /// The parts that are trained reach beyond the model.
    #[error("update.parts end at {end}; the model has {parameters} parameters")]
    Parts {
        /// Where the last one ends.
        end: u32,
        /// The plan's parameters.
        parameters: u32,
    },
    /// Evolution strategies send one number a direction, which cannot be made less.
    #[error(
        "evolution does not go with update.compression: leave out rotation_range, fraction and \
         feedback, or evolution"
    )]
    CompressedEvolution,
    /// The masked vector's layout was refused.
    #[error("layout: {0}")]
    Layout(#[from] ParametersError),
}

impl Plan {
    /// Checks every value, and that no sum can overflow: for each segment,
    /// max_cohort × (values that one client can send) ≤ 2^b.
    ///
    /// # Errors
    /// A [`PlanError`] that names the value and its bounds.
    pub fn new(
        kind: RoundKind,
        update: UpdatePlan,
        training: TrainingPlan,
        server: ServerOptimizerConfig,
    ) -> Result<Self, PlanError> {
        check::update(&update)?;
        training.check()?;
        check::server(&server)?;
        let layout = ring::layout(kind, &update, update.coordinates())?;
        Ok(Self {
            kind,
            update,
            training,
            server,
            server_schedule: Schedule::Constant,
            evolution: None,
            modulus_bits: ring::update_bits(&update)?,
            layout,
        })
    }

    /// The same plan for another kind of round.
    ///
    /// # Errors
    /// [`PlanError::Layout`] where the other kind's layout is refused.
    pub fn with_kind(&self, kind: RoundKind) -> Result<Self, PlanError> {
        Self::new(kind, self.update, self.training, self.server)?
            .with_server_schedule(self.server_schedule)?
            .with_evolution(self.evolution)
    }

    /// The same plan with evolution strategies in the place of training, or without; [`Plan::new`] is
    /// without.
    ///
    /// # Errors
    /// A [`PlanError`] that names the value and its bounds; [`PlanError::CompressedEvolution`] where
    /// the update is to be made smaller as well.
    pub fn with_evolution(self, evolution: Option<Evolution>) -> Result<Self, PlanError> {
        let mut coordinates = self.update.coordinates();
        if let Some(evolution) = evolution {
            evolution.check()?;
            if self.update.compression != Compression::NONE {
                return Err(PlanError::CompressedEvolution);
            }
            coordinates = evolution.pairs;
        }
        Ok(Self {
            layout: ring::layout(self.kind, &self.update, coordinates)?,
            evolution,
            ..self
        })
    }

    /// The same plan with another schedule of the server's rate; [`Plan::new`] leaves it constant.
    ///
    /// # Errors
    /// A [`PlanError`] that names the schedule's value and its bounds.
    pub fn with_server_schedule(self, server_schedule: Schedule) -> Result<Self, PlanError> {
        server_schedule.check(SERVER_SCHEDULE)?;
        Ok(Self {
            server_schedule,
            ..self
        })
    }

    /// What the clients do.
    pub const fn kind(&self) -> RoundKind {
        self.kind
    }

    /// How an update becomes ring elements.
    pub const fn update(&self) -> &UpdatePlan {
        &self.update
    }

    /// How a client trains.
    pub const fn training(&self) -> &TrainingPlan {
        &self.training
    }

    /// The server's optimiser.
    pub const fn server(&self) -> &ServerOptimizerConfig {
        &self.server
    }

    /// How the rate of the server's optimiser changes; a step is a training round, the first is 1.
    pub const fn server_schedule(&self) -> &Schedule {
        &self.server_schedule
    }

    /// Evolution strategies, where they take the place of training.
    pub const fn evolution(&self) -> Option<&Evolution> {
        self.evolution.as_ref()
    }

    /// Elements of a client's update before it is made smaller: the parameters, or the directions of
    /// evolution strategies, or 0 where it only evaluates. How many coordinates it sends of the
    /// parameters, [`UpdatePlan::coordinates`] says.
    pub const fn update_len(&self) -> usize {
        match (self.kind, &self.evolution) {
            (RoundKind::Train, None) => self.update.parameters as usize,
            (RoundKind::Train, Some(evolution)) => evolution.pairs as usize,
            (RoundKind::EvaluateOnly, _) => 0,
        }
    }

    /// The largest magnitude of one weighted coordinate, in the model's own units: the range, or, with
    /// a rotation, its range times clip_norm/√(trained parameters).
    pub fn value_range(&self) -> f64 {
        let update = &self.update;
        match update.compression.rotation {
            None => f64::from(update.range),
            Some(Rotated { range }) => {
                f64::from(range) * f64::from(update.clip_norm) / f64::from(update.trained()).sqrt()
            }
        }
    }

    /// The largest magnitude of a rounded value: 2^(v−1) − 1.
    pub const fn value_max(&self) -> u32 {
        ring::value_max(self.update.value_bits)
    }

    /// Bits of the update's ring in a training round: the smallest b with
    /// max_cohort × (2·max + 1) ≤ 2^b.
    pub const fn modulus_bits(&self) -> u8 {
        self.modulus_bits
    }

    /// The layout of the masked vector: `update` (absent where clients only evaluate) with the
    /// coordinates that are sent, then `counters`, whose ring has the fewest bits from 48 to 64 that
    /// hold every counter's sum.
    pub fn layout(&self) -> Layout {
        self.layout.clone()
    }
}

/// The fields of a plan before they are checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "Plan")]
struct RawPlan {
    kind: RoundKind,
    update: UpdatePlan,
    training: TrainingPlan,
    server: ServerOptimizerConfig,
    #[serde(default)]
    server_schedule: Schedule,
    #[serde(default)]
    evolution: Option<Evolution>,
}

impl TryFrom<RawPlan> for Plan {
    type Error = PlanError;

    fn try_from(raw: RawPlan) -> Result<Self, PlanError> {
        Self::new(raw.kind, raw.update, raw.training, raw.server)?
            .with_server_schedule(raw.server_schedule)?
            .with_evolution(raw.evolution)
    }
}

impl From<Plan> for RawPlan {
    fn from(plan: Plan) -> Self {
        Self {
            kind: plan.kind,
            update: plan.update,
            training: plan.training,
            server: plan.server,
            server_schedule: plan.server_schedule,
            evolution: plan.evolution,
        }
    }
}

const SERVER_SCHEDULE: schedule::Names = schedule::Names {
    every: "server_schedule.step.every",
    factor: "server_schedule.step.factor",
    steps: "server_schedule.cosine.steps",
    floor: "server_schedule.cosine.floor",
    warm_up: "server_schedule.noam.warm_up",
};
const fn one() -> u32 {
    1
}
