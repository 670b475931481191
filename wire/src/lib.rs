//! What node and coordinator say to each other: frames, messages, TLS identities, enrolment tokens.
//!
//! - [`endpoint`]: QUIC with TLS 1.3 both ways; [`identity`] and [`tls`]: who is at either end.
//! - [`channel`]: the control stream that a node opens, with the messages of [`message`] (or of
//!   [`enrol`], for a node that joins with a [`token`]); [`frame`]: how they are delimited.
//! - [`close`]: why a connection was closed, readable at the other end.
//! - [`transfer`]: files down, masked vectors up, each on a stream of its own.
//! - [`plan`]: a round's plan as it travels.
//! - [`digest`]: what files, plans and models are identified by.
//! - [`events`] and [`process`]: what both binaries write about themselves and do to their files.
//!
//! Bytes from the network never decide an allocation: every kind of frame and every transfer has a
//! cap that is checked first. A sender's identity comes from its certificate alone.

pub mod channel;
pub mod close;
pub mod digest;
pub mod endpoint;
pub mod enrol;
pub mod events;
pub mod frame;
pub mod identity;
pub mod message;
pub mod phase;
pub mod plan;
pub mod process;
pub mod text;
pub mod tls;
pub mod token;
pub mod transfer;
