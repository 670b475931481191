//! An authority in a folder of its own, apart from the coordinator.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use anyhow::Result;
use secagg_wire::authority::AuthorityPin;

use crate::{
    binaries::{self, Build},
    process::succeed,
};

/// Vouches for nodes.
#[derive(Clone, Debug)]
pub struct Authority {
    folder: PathBuf,
    pin: AuthorityPin,
}

impl Authority {
    /// Makes one with `authority`, in this folder.
    ///
    /// # Errors
    /// When the command fails.
    pub fn new(folder: &Path) -> Result<Self> {
        let binary = binaries::coordinator(Build::Hooks)?;
        succeed(Command::new(binary).arg("authority").arg(folder))?;
        Self::open(folder)
    }

    /// The one in this folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(folder: &Path) -> Result<Self> {
        let pin = fs::read_to_string(folder.join("authority.pin"))?;
        Ok(Self {
            folder: folder.to_owned(),
            pin: pin.parse()?,
        })
    }

    /// What coordinator and nodes pin.
    #[must_use]
    pub fn pin(&self) -> AuthorityPin {
        self.pin
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Has a request signed, and returns the credential's file.
    ///
    /// # Errors
    /// When it is refused.
    pub fn vouch(&self, request: &Path) -> Result<PathBuf> {
        // One reads what the other is writing down.
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock();
        succeed(
            Command::new(binaries::coordinator(Build::Hooks)?)
                .args(["enrol", "--authority"])
                .arg(&self.folder)
                .arg(request),
        )?;
        Ok(request.with_extension("credential.json"))
    }
}
