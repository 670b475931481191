//! The QUIC server that runs training rounds over secure aggregation.
//!
//! - [`coordinator`]: everything put together; [`commands`]: what an operator types.
//! - [`config`], [`folder`], [`model`]: what a coordinator is made of.
//! - `server`: connections and their quotas. Every connection's tasks send what concerns a round to
//!   the one task that runs it.
//! - [`round`]: one attempt, from the announcement to the sum. It owns the protocol's state; there is
//!   no lock around it.
//! - [`training`]: the rounds one after the other, selection, the optimiser's step, the commit.
//! - [`store`]: history, registry and weights, and the order in which they are written;
//!   [`retention`]: which weights are kept.
//! - [`events`], [`progress`]: what others learn while it runs; [`pause`], [`lies`]: test hooks.

pub mod commands;
pub mod config;
pub mod coordinator;
mod download;
pub mod events;
pub mod folder;
mod following;
#[cfg_attr(not(feature = "fault-injection"), path = "no_lies.rs")]
pub mod lies;
pub mod model;
pub mod pause;
pub mod progress;
pub mod retention;
pub mod round;
mod server;
pub mod store;
pub mod training;

pub use self::{
    coordinator::{Coordinator, Options, StartError},
    events::Events,
    training::{Finished, RunError},
};
