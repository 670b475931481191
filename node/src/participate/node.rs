//! One node: its directory, settings, policy, keys, ledger.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secagg::ClientId;
use secagg_wire::endpoint::Timeouts;
use secagg_wire::events::EventLog;
use secagg_wire::identity::{IdentityError, IdentityKey, TlsIdentity};
use thiserror::Error;

use super::cache::ModelCache;
use super::feedback::Feedback;
use super::hooks::Hooks;
use super::ledger::{Ledger, LedgerError};
use super::policy::{NodePolicy, PolicyError};
use super::settings::{IDENTITY_FOLDER, Settings, SettingsError};

/// How a node runs, beyond what its directory says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Fixes the order of messages in training, for experiments that can be repeated.
    pub seed: Option<u64>,
    /// Leave after one round.
    pub once: bool,
    /// Stay when the coordinator says that the training is over.
    pub keep_running: bool,
    /// Take part whatever the settings' conditions are.
    pub any_time: bool,
    /// Threads for training and evaluation.
    pub threads: NonZeroU16,
    /// How a lost connection is noticed.
    pub timeouts: Timeouts,
    /// Test hooks; without the feature `fault-injection` there are none.
    pub hooks: Hooks,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: None,
            once: false,
            keep_running: false,
            any_time: false,
            threads: NonZeroU16::MIN,
            timeouts: Timeouts {
                // A machine that runs many nodes at full load answers late.
                idle: Duration::from_secs(60),
                keep_alive: Some(Duration::from_secs(10)),
                handshake: Duration::from_secs(20),
            },
            hooks: Hooks::default(),
        }
    }
}

/// A node that has joined, ready to take part. While it exists, no other process can be it.
#[derive(Debug)]
pub struct Node {
    pub(super) directory: PathBuf,
    pub(super) settings: Settings,
    pub(super) policy: NodePolicy,
    pub(super) identity: TlsIdentity,
    pub(super) client_id: ClientId,
    pub(super) cache: ModelCache,
    pub(super) log: EventLog,
    pub(super) options: Options,
    ledger: Mutex<Ledger>,
    feedback: Mutex<Feedback>,
}

/// Why a directory gives no node.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The keys.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The identity key is not the one that joined.
    #[error(
        "the identity key in {} is that of {found}, but {expected} joined from this directory: put \
         the right key back, or join again with --again", path.display()
    )]
    OtherIdentity {
        /// The folder with the keys.
        path: PathBuf,
        /// The id that the key gives.
        found: ClientId,
        /// The id that joined.
        expected: ClientId,
    },
}

impl Node {
    /// Opens a node's directory.
    ///
    /// # Errors
    /// A [`NodeError`] that names the file, what is wrong with it, and what to do.
    pub fn open(directory: &Path, log: EventLog, options: Options) -> Result<Self, NodeError> {
        let settings = Settings::read(directory)?;
        let policy = NodePolicy::read(directory)?;
        let folder = directory.join(IDENTITY_FOLDER);
        let identity = TlsIdentity::load(&folder)?;
        let client_id = ClientId::from_identity_key(&IdentityKey::load(&folder)?.public());
        if client_id != settings.client_id {
            return Err(NodeError::OtherIdentity {
                path: folder,
                found: client_id,
                expected: settings.client_id,
            });
        }
        Ok(Self {
            directory: directory.to_owned(),
            settings,
            policy,
            identity,
            client_id,
            cache: ModelCache::new(directory),
            log,
            options,
            ledger: Mutex::new(Ledger::open(directory)?),
            feedback: Mutex::default(),
        })
    }

    /// Where the node's coordinator is, and who it is there.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn feedback(&self) -> MutexGuard<'_, Feedback> {
        self.feedback.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
