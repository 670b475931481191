//! A build without test hooks: nothing can be paused, and no update is ever written in the clear.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;

use secagg::Vector;
use secagg_learning::Plan;
use secagg_wire::events::{EventLog, Round};

use super::pause_point::PausePoint;

/// No hooks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hooks {}

/// No command line options for hooks.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct HookArguments {}

impl HookArguments {
    /// No hooks.
    #[must_use]
    pub fn hooks(&self) -> Hooks {
        Hooks {}
    }
}

impl Hooks {
    pub(super) async fn pause(&self, _: &EventLog, _: Round, _: PausePoint) {}

    pub(super) fn pauses(&self, _: u64, _: PausePoint) -> bool {
        false
    }

    pub(super) fn machine_root(&self) -> &'static Path {
        Path::new("/")
    }

    pub(super) fn check_peer(&self, _: SocketAddr) -> Result<(), Infallible> {
        Ok(())
    }

    pub(super) fn dump_update(&self, _: u64, _: &Plan, _: &[f32], _: u64, _: &Vector) {}

    pub(super) fn dump_masked(&self, _: u64, _: &[u8]) {}
}
