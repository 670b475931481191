//! An authority in a folder of its own, apart from the coordinator.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use secagg_wire::authority::AuthorityPin;

use crate::{
    binaries::{self, Build},
    process::succeed,
};

/// Vouches for nodes.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    pin: AuthorityPin,
}

impl Authority {
    /// Makes one with `authority`.
    ///
    /// # Errors
    /// When the command fails.
    pub fn new(root: &Path) -> Result<Self> {
        let folder = root.join("authority");
        let binary = binaries::coordinator(Build::Hooks)?;
        let printed = succeed(Command::new(binary).arg("authority").arg(&folder))?;
        let pin = printed.lines().next().context("nothing was printed")?;
        Ok(Self {
            folder,
            pin: pin.parse()?,
        })
    }

    /// What coordinator and nodes pin.
    #[must_use]
    pub fn pin(&self) -> AuthorityPin {
        self.pin
    }

    /// Has a request signed, and returns the credential's file.
    ///
    /// # Errors
    /// When it is refused.
    pub fn vouch(&self, request: &Path) -> Result<PathBuf> {
        succeed(
            Command::new(binaries::coordinator(Build::Hooks)?)
                .args(["enrol", "--authority"])
                .arg(&self.folder)
                .arg(request),
        )?;
        Ok(request.with_extension("credential.json"))
    }
}
