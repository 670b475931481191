//! Attacks carried out: a server or clients deviate, and the exact error names what or whom.
//!
//! Each test says what the attacker would have learnt and which numbered check stops it; the table
//! in SECURITY.md lists attack, check and test side by side.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap fails the test"
)]

#[path = "../common/mod.rs"]
mod common;

mod downgrade;
mod equivocation;
mod forger;
mod identities;
mod neighbourhood;
mod overlap;
mod replay;
mod roster;
mod sealed;
mod server_side;
mod shares;
mod survivors;
mod views;
mod withholding;
mod world;
