//! A node and a small coordinator, over QUIC on loopback: joining, rounds, and what comes in between.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a test's helper fails the test"
)]

mod following;
mod interruptions;
mod joining;
mod receipts;
mod rounds;
mod support;
