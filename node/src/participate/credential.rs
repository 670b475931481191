//! The credential that an authority gave this node: `credential.json`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use secagg::{ClientId, Credential, CredentialError, Member};
use secagg_wire::authority::{AuthorityPin, CredentialFile, CredentialFileError};
use secagg_wire::identity::{IdentityError, IdentityKey};
use secagg_wire::process::{Access, write_atomic};
use thiserror::Error;

use super::settings::{IDENTITY_FOLDER, Settings};

/// The credential's file in a node's directory.
pub const CREDENTIAL_FILE: &str = "credential.json";

/// Why there is no usable credential.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NodeCredentialError {
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no credential's file.
    #[error("this is no credential's file: {0}")]
    Syntax(#[from] serde_json::Error),
    /// It is not to be believed, or not this node's.
    #[error(transparent)]
    Unusable(#[from] CredentialFileError),
    /// It is not for this node's identity key.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The identity key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Seconds since 1970. A clock before that gives 0: no credential has expired then, and none of
/// another federation or authority is believed any more for it.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Checks a credential's file and keeps it.
///
/// # Errors
/// When it is damaged, another node's, or not to be believed.
pub fn install(
    directory: &Path,
    text: &str,
    own: ClientId,
    authority: AuthorityPin,
) -> Result<Credential, NodeCredentialError> {
    let file: CredentialFile = serde_json::from_str(text)?;
    let credential = file.check(own, authority, now())?;
    let path = directory.join(CREDENTIAL_FILE);
    write_atomic(&path, text.as_bytes(), Access::Owner)
        .map_err(|source| NodeCredentialError::Io { path, source })?;
    Ok(credential)
}

/// Who this node is in a session that begins now: with its credential, if it has one.
///
/// # Errors
/// When the credential is there but cannot be used.
pub fn member(directory: &Path, settings: &Settings) -> Result<Member, NodeCredentialError> {
    let path = directory.join(CREDENTIAL_FILE);
    let Some(authority) = settings.authority else {
        return Ok(Member::unsigned(settings.client_id));
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Member::unsigned(settings.client_id));
        }
        Err(source) => return Err(NodeCredentialError::Io { path, source }),
    };
    let file: CredentialFile = serde_json::from_str(&text)?;
    let now = now();
    let credential = file.check(settings.client_id, authority, now)?;
    let key = IdentityKey::load(&directory.join(IDENTITY_FOLDER))?.signing();
    let trust = Arc::new(authority.at(now));
    Ok(Member::signed(Arc::new(key), credential, trust)?)
}
