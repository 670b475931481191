//! Both ends in one process, over real QUIC on loopback.
#![expect(
    clippy::unwrap_used,
    reason = "a test's helper fails the test by panicking"
)]

mod common;
mod connections;
mod transfers;
