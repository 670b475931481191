//! Taking part in training rounds.
//!
//! | module | what it does |
//! |---|---|
//! | [`enrolment`] | joins a federation with a token |
//! | [`settings`], [`policy`] | `node.toml` and `policy.toml` in the node's directory |
//! | [`conditions`] | when the node takes part: idle, on mains power, on an unmetered network |
//! | [`node`] | a node that has joined: keys, settings, policy, ledger |
//! | [`service`] | connects, takes part, connects again |
//! | `attend`, `link` | one connection: messages and files |
//! | [`announcement`] | what is checked before the node says yes to a round |
//! | [`round`] | one round: weights, training, masking, unmasking |
//! | [`local`] | the node's own computation in a round, without network |
//! | `feedback` | what was not sent of the node's updates, from round to round |
//! | `following` | weights made of those of before, with evolution strategies |
//! | [`ledger`] | every step of every round, on the disk before it is done: the node's receipts |
//! | [`receipts`] | the ledger's lines put together, one receipt a round |
//! | [`cache`] | the coordinator's model as it is kept here |
//!
//! A node says to its coordinator: whether it takes part and why not, the protocol's messages, and
//! which files it wants. Text, figures and the update leave it only inside the masked vector.

mod active;
pub mod announcement;
mod attend;
mod backoff;
pub mod cache;
mod cancel;
pub mod conditions;
pub mod credential;
pub mod enrolment;
mod feedback;
mod following;
#[cfg_attr(not(feature = "fault-injection"), path = "participate/no_hooks.rs")]
pub mod hooks;
pub mod ledger;
pub mod link;
pub mod local;
mod model_files;
pub mod node;
mod pause_point;
pub mod policy;
mod randomness;
pub mod receipts;
pub mod round;
pub mod service;
pub mod settings;
pub mod shutdown;
