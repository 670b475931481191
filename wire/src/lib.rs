//! What node and coordinator say to each other: frames, messages, TLS identities, enrolment tokens.
//!
//! - [`endpoint`]: addresses, and QUIC with TLS 1.3 both ways; [`identity`] and [`tls`]: who is
//!   at either end.
//! - [`channel`]: the control stream that a node opens, with the messages of [`message`] (or of
//!   [`enrol`], for a node that joins with a [`token`]); [`frame`]: how they are delimited.
//! - [`close`]: why a connection was closed, readable at the other end.
//! - [`transfer`]: files down, masked vectors up, each on a stream of its own.
//! - [`plan`]: a round's plan as it travels.
//! - [`steps`]: what moves a node from the weights of one round to those of the next, in a few bytes.
//! - [`digest`]: what files, plans and models are identified by.
//! - [`events`] and [`process`]: what both binaries write about themselves and do to their files.
//!
//! A node's first words:
//!
//! ```no_run
//! use std::{path::Path, time::Duration};
//!
//! use secagg_wire::{
//!     channel::NodeChannel,
//!     endpoint::{Address, Timeouts, connect},
//!     identity::{Fingerprint, TlsIdentity},
//!     message::{CoordinatorMessage, NodeMessage},
//!     tls::Alpn,
//! };
//!
//! # async fn run(folder: &Path, url: &Address, pinned: Fingerprint) -> Result<(), Box<dyn std::error::Error>> {
//! let identity = TlsIdentity::load(folder)?;
//! let address = url.resolve().await?;
//! let link =
//!     connect(address, &identity, pinned, Alpn::Participate, &Timeouts::default()).await?;
//! let mut channel = NodeChannel::open(&link.connection).await?;
//! channel.send(&NodeMessage::hello("example 1.0")).await?;
//! match channel.receive_within(Duration::from_secs(10)).await {
//!     Ok(CoordinatorMessage::Welcome { federation, .. }) => println!("welcome to {federation}"),
//!     Ok(other) => println!("unexpected: {other:?}"),
//!     // For example: the other side closed the connection: unknown identity: …
//!     Err(error) => println!("{error}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Bytes from the network never decide an allocation: every kind of frame and every transfer has a
//! cap that is checked first. A sender's identity comes from its certificate alone.

mod address;
pub mod authority;
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
pub mod steps;
pub mod text;
pub mod tls;
pub mod token;
pub mod transfer;
