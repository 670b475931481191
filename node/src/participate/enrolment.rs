//! Joining: keys are made, and the coordinator that gave the token registers them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secagg::ClientId;
use secagg_wire::authority::{AuthorityPin, CredentialRequest};
use secagg_wire::close::CloseCode;
use secagg_wire::endpoint::{Address, ConnectError, Timeouts, connect};
use secagg_wire::enrol::{EnrolError, EnrolRefusal, enrol};
use secagg_wire::identity::{Fingerprint, IdentityError, IdentityKey, TlsIdentity};
use secagg_wire::process::{Access, create_private_folder, write_atomic};
use secagg_wire::text::Name;
use secagg_wire::tls::Alpn;
use secagg_wire::token::Token;
use thiserror::Error;

use super::conditions::TrainWhen;
use super::policy::{NodePolicy, PolicyError};
use super::settings::{IDENTITY_FOLDER, SETTINGS_FILE, Settings, SettingsError};

/// What a user asks for.
#[derive(Debug)]
pub struct JoinRequest<'a> {
    /// The node's directory.
    pub directory: &'a Path,
    /// Where the coordinator is.
    pub coordinator: Address,
    /// The operator's token.
    pub token: &'a Token,
    /// What the node calls itself.
    pub name: Name,
    /// Whose credentials the node is to believe, and whom it asks for one.
    pub authority: Option<AuthorityPin>,
    /// Join although the directory is a node's already.
    pub again: bool,
}

/// Why a node has not joined.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The directory is a node's already.
    #[error(
        "{} has joined {federation:?} at {coordinator} as {name:?} already: `secagg-node run` takes \
         part. To join with this directory anew, give --again; for another node, another --dir",
        path.display()
    )]
    AlreadyJoined {
        /// The directory.
        path: PathBuf,
        /// The federation's name.
        federation: String,
        /// Where its coordinator is.
        coordinator: Address,
        /// What the node is called there.
        name: String,
    },
    /// The directory could not be made.
    #[error("{}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The host is unknown.
    #[error("the coordinator's host {host:?} is unknown: {source}")]
    Resolve {
        /// The host.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no connection. A certificate that is not the token's is named with both fingerprints.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The coordinator refused, or the connection broke.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// The keys.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// Makes a directory a node's: its two keys, the coordinator's address and fingerprint, a policy.
///
/// Keys that are there are used again, so that a join that failed can be repeated with another
/// token.
///
/// # Errors
/// A [`JoinError`] that says what was wrong and what to do.
pub async fn join(request: &JoinRequest<'_>, timeouts: &Timeouts) -> Result<Settings, JoinError> {
    let directory = request.directory;
    if directory.join(SETTINGS_FILE).exists() && !request.again {
        let settings = Settings::read(directory)?;
        return Err(JoinError::AlreadyJoined {
            path: directory.to_owned(),
            federation: settings.federation,
            coordinator: settings.coordinator,
            name: settings.name,
        });
    }
    create_private_folder(directory).map_err(|source| JoinError::Directory {
        path: directory.to_owned(),
        source,
    })?;
    let folder = directory.join(IDENTITY_FOLDER);
    let identity = TlsIdentity::load_or_generate(&folder)?;
    let key = IdentityKey::load_or_generate(&folder)?;

    let coordinator = &request.coordinator;
    let address = coordinator
        .resolve()
        .await
        .map_err(|source| JoinError::Resolve {
            host: coordinator.host().to_owned(),
            source,
        })?;
    let pinned = request.token.coordinator();
    let link = connect(address, &identity, pinned, Alpn::Enrol, timeouts).await?;
    let enrolled = enrol(
        &link.connection,
        request.token,
        &key,
        &identity.fingerprint(),
        request.name.clone(),
        ANSWER_WAIT,
    )
    .await;
    link.close(CloseCode::Done, "").await;
    let federation = match enrolled {
        Ok(enrolled) => enrolled.federation.into(),
        // A join that ended after the coordinator had registered these keys: this one completes it.
        // With --again: the same federation, perhaps at another address.
        Err(EnrolError::Refused(EnrolRefusal::AlreadyEnrolled)) => {
            Settings::read(directory).map_or_else(|_| UNKNOWN.to_owned(), |old| old.federation)
        }
        Err(error) => return Err(error.into()),
    };
    // Joining again changes the place of the coordinator, not what this node does and when.
    let old = Settings::read(directory).ok();
    let settings = Settings {
        coordinator: coordinator.clone(),
        pinned,
        federation,
        name: request.name.as_str().to_owned(),
        client_id: ClientId::from_identity_key(&key.public()),
        authority: request.authority,
        reconnect_max: Settings::DEFAULT_RECONNECT_MAX,
        personal: old.as_ref().is_none_or(|old| old.personal),
        train_when: old.map_or_else(TrainWhen::default, |old| old.train_when),
    };
    NodePolicy::default().write_new(directory)?;
    if let Some(pin) = request.authority {
        write_request(directory, &request.name, &key, &identity.fingerprint(), pin)?;
    }
    // Last: a directory with settings is a node that has joined.
    settings.write(directory)?;
    Ok(settings)
}

/// The request for a credential, in a node's directory.
pub const REQUEST_FILE: &str = "request.json";

fn write_request(
    directory: &Path,
    name: &Name,
    key: &IdentityKey,
    fingerprint: &Fingerprint,
    authority: AuthorityPin,
) -> Result<(), JoinError> {
    let request = CredentialRequest::new(name, &key.signing(), fingerprint, authority);
    let path = directory.join(REQUEST_FILE);
    serde_json::to_string_pretty(&request)
        .map_err(io::Error::from)
        .and_then(|text| write_atomic(&path, (text + "\n").as_bytes(), Access::Shared))
        .map_err(|source| JoinError::Directory { path, source })
}

/// The federation's name where the coordinator only said that it knows this node.
const UNKNOWN: &str = "a federation joined before";

/// How long the coordinator may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
