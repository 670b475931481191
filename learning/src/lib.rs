//! The arithmetic of federated learning, pure: no socket, no clock, no file, no thread-local
//! randomness.
//!
//! What happens to a model update on its way to the global weights:
//!
//! ```text
//! client   delta (f32) → + residual → L2 clip → rotation → selection of coordinates
//!          → × weight/weight cap → clamp to ±range → scale → stochastic rounding → offset
//!          → ring element                                              [`UpdateCodec::encode`]
//! protocol the sum of all clients' ring elements, modulo 2^b            (crate `secagg`)
//! server   sum → mean → rotated back: weighted mean delta (f32)        [`UpdateCodec::decode`]
//!          weights, mean delta → new weights                           [`ServerOptimizer::step`]
//!          → the smallest to zero                                      [`ServerStep::apply`]
//! ```
//!
//! A client's weight (its examples, capped), its loss, its correct predictions and its token
//! counts travel in the same masked vector, as [`Counters`]: nothing about one client leaves it
//! in the clear.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cohort`] | what is assumed of a round's roster |
//! | [`plan`] | [`Plan`]: what a round computes; a plan that exists cannot overflow |
//! | [`counters`] | [`Counters`]: the figures that travel beside the update |
//! | [`codec`] | [`UpdateCodec`]: a client's update to a ring vector, a sum back to a mean |
//! | [`compression`] | smaller updates: a random rotation, and a random share of the coordinates |
//! | [`download`] | [`WeightsDown`]: the weights on their way down, in fewer bits |
//! | [`evolution`] | [`Evolution`]: rounds that send a few numbers instead of an update |
//! | [`optimizer`] | [`ServerOptimizer`]: FedAvg, FedAvgM, FedAdagrad, FedAdam, FedYogi |
//! | [`pruning`] | [`Pruning`]: weights that the server sets to zero |
//! | [`schedule`] | [`Schedule`]: how a rate changes from step to step |
//! | [`selection`] | which clients take part in a round |
//! | [`stopping`] | when training ends, and which round was best |
//! | [`weights`] | [`Shapes`]: weights as files, and as one flat vector |

pub mod codec;
pub mod cohort;
pub mod compression;
pub mod counters;
pub mod download;
pub mod evolution;
pub mod optimizer;
pub mod plan;
pub mod pruning;
mod randomness;
mod rounding;
pub mod schedule;
pub mod selection;
pub mod stopping;
pub mod weights;

pub use codec::{CodecError, DecodedSum, Encoded, Residual, UpdateCodec};
pub use counters::{Counter, Counters, CountersError, PersonalValidation, Validation};
pub use download::WeightsDown;
pub use evolution::{Directions, Evolution, Step, StepError};
pub use optimizer::{OptimizerError, ServerOptimizer, StateError};
pub use plan::{
    Budget, Compression, LocalOptimizer, Parts, PartsError, Plan, PlanError, Precision, Rotated,
    RoundKind, ServerOptimizerConfig, TensorsError, TrainingPlan, UpdatePlan,
};
pub use pruning::{Pruning, ServerStep};
pub use schedule::Schedule;
pub use selection::{Candidate, SelectionError, SelectionRule, Strategy};
pub use stopping::{RoundFigure, StopReason, StoppingRule, best_round};
pub use weights::Shapes;
