//! A harness for end-to-end tests over real QUIC and real processes.
//!
//! Coordinator and node are started as built binaries and watched through the events that they
//! write; this package never imports them.
//!
//! - [`binaries`]: where the binaries are. [`process`], [`events`]: starting them, killing them,
//!   waiting for what they say.
//! - [`coordinator`], [`node`], [`authority`]: the two binaries, and who vouches for nodes. [`model`]: a model without libtorch.
//! - [`swarm`]: clients that only speak the protocol, with scripts for what they do wrong.
//! - [`federation`]: a coordinator and a swarm, ready for a round. [`world`]: a coordinator and real
//!   nodes.
//! - [`digits`]: drawn digits, for models of images.
//! - [`raw`]: a transfer without the protocol, to compare uploads with.
//!
//! Waiting is always for an event, with one [`Deadline`] for a whole test, and a test that fails
//! shows everything that its processes have said.

pub mod authority;
pub mod binaries;
pub mod coordinator;
pub mod deadline;
pub mod digits;
pub mod events;
pub mod federation;
pub mod model;
pub mod node;
pub mod process;
pub mod raw;
pub mod swarm;
pub mod world;

pub use coordinator::Coordinator;
pub use deadline::Deadline;
pub use events::{Event, Events, validation_loss};
pub use federation::Federation;
pub use world::{World, everyday};
