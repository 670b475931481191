//! Where a node's coordinator is, and who the node is there: `node.toml`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secagg::ClientId;
use secagg_wire::authority::AuthorityPin;
use secagg_wire::endpoint::Address;
use secagg_wire::identity::Fingerprint;
use secagg_wire::process::{Access, write_atomic};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::conditions::TrainWhen;

/// The settings' file in a node's directory.
pub const SETTINGS_FILE: &str = "node.toml";

/// The folder with the node's two keys in its directory.
pub const IDENTITY_FOLDER: &str = "identity";

/// What `join` found out and `run` needs. A value that exists is usable.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where the coordinator is.
    pub coordinator: Address,
    /// The certificate that must be there.
    pub pinned: Fingerprint,
    /// The federation's name.
    pub federation: String,
    /// What the node calls itself.
    pub name: String,
    /// The node's id, from its identity key.
    pub client_id: ClientId,
    /// Whose credentials this node believes, if it was given one.
    pub authority: Option<AuthorityPin>,
    /// The longest wait between two attempts to connect.
    pub reconnect_max: Duration,
    /// Whether the node says what predictions are like that are interpolated with its own text.
    pub personal: bool,
    /// When the node takes part.
    pub train_when: TrainWhen,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    coordinator: String,
    pinned: String,
    federation: String,
    name: String,
    client_id: String,
    #[serde(default)]
    authority: String,
    reconnect_max_seconds: f64,
    #[serde(default = "yes")]
    personal: bool,
    #[serde(default)]
    train_when: TrainWhen,
}

const fn yes() -> bool {
    true
}

/// Why there are no settings.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The node never joined.
    #[error(
        "{} is no node's directory yet: `secagg-node join URL TOKEN --dir {}` makes it one, with a \
         token from the coordinator's operator", path.display(), path.display()
    )]
    NotJoined {
        /// The directory.
        path: PathBuf,
    },
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not TOML, or a field is missing, unknown or of the wrong type.
    #[error("{}: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser said, with the line.
        problem: String,
    },
    /// A value is refused.
    #[error("{}: {field} is {value:?}: {problem}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        problem: String,
    },
}

impl Settings {
    /// The longest wait between two attempts to connect, unless the file says otherwise.
    pub const DEFAULT_RECONNECT_MAX: Duration = Duration::from_secs(30);

    /// Reads the settings in a node's directory.
    ///
    /// # Errors
    /// [`SettingsError::NotJoined`] when there are none; otherwise what is wrong with them.
    pub fn read(directory: &Path) -> Result<Self, SettingsError> {
        let path = directory.join(SETTINGS_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = directory.to_owned();
                return Err(SettingsError::NotJoined { path });
            }
            Err(source) => return Err(SettingsError::Io { path, source }),
        };
        let raw: Raw = toml::from_str(&text).map_err(|error| SettingsError::Syntax {
            path: path.clone(),
            problem: error.to_string(),
        })?;
        raw.check(&path)
    }

    /// Writes the settings with comments.
    ///
    /// # Errors
    /// [`SettingsError::Io`].
    pub fn write(&self, directory: &Path) -> Result<(), SettingsError> {
        let path = directory.join(SETTINGS_FILE);
        // Names come from a token's giver and from the command line: TOML's own quoting.
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let text = format!(
            "# Written by `secagg-node join`.\n\
             coordinator = {}\n\
             # SHA-256 of the certificate that the coordinator must show.\n\
             pinned = \"{}\"\n\
             federation = {}\n\
             name = {}\n\
             # From the identity key.\n\
             client_id = \"{}\"\n\
             # Who vouches for nodes: this node believes nobody else's credentials.\n\
             authority = \"{}\"\n\
             # The longest wait between two attempts to connect.\n\
             reconnect_max_seconds = {:?}\n\
             # Whether this node's figures on its held-out text are given once more, into the same sum, with\n\
             # the model's predictions interpolated with what the node's own text says. That text, and what is\n\
             # counted in it, stays here.\n\
             personal = {}\n{}",
            quoted(&self.coordinator.to_string()),
            self.pinned,
            quoted(&self.federation),
            quoted(&self.name),
            self.client_id,
            self.authority
                .map_or_else(String::new, |pin| pin.to_string()),
            self.reconnect_max.as_secs_f64(),
            self.personal,
            self.train_when.to_toml(),
        );
        write_atomic(&path, text.as_bytes(), Access::Owner)
            .map_err(|source| SettingsError::Io { path, source })
    }
}

impl Raw {
    fn check(self, path: &Path) -> Result<Settings, SettingsError> {
        let refused = |field, value: &str, problem: String| SettingsError::Value {
            path: path.to_owned(),
            field,
            value: value.to_owned(),
            problem,
        };
        let coordinator = self
            .coordinator
            .parse()
            .map_err(|error| refused("coordinator", &self.coordinator, format!("{error}")))?;
        let pinned = self
            .pinned
            .parse()
            .map_err(|error| refused("pinned", &self.pinned, format!("{error}")))?;
        let authority = match self.authority.as_str() {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|error| refused("authority", text, format!("{error}")))?,
            ),
        };
        let mut id = [0; ClientId::LEN];
        hex::decode_to_slice(&self.client_id, &mut id)
            .map_err(|error| refused("client_id", &self.client_id, error.to_string()))?;
        let seconds = self.reconnect_max_seconds;
        let reconnect_max = Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|wait| *wait >= Duration::from_millis(1))
            .ok_or_else(|| {
                let problem = "it must be at least 0.001".to_owned();
                refused("reconnect_max_seconds", &seconds.to_string(), problem)
            })?;
        if let Some((field, value, problem)) = self.train_when.bad_value() {
            return Err(refused(field, &value.to_string(), problem.to_owned()));
        }
        Ok(Settings {
            coordinator,
            pinned,
            federation: self.federation,
            name: self.name,
            client_id: ClientId::from_bytes(id),
            authority,
            reconnect_max,
            personal: self.personal,
            train_when: self.train_when,
        })
    }
}

#[cfg(test)]
mod tests {
    use secagg::{Federation, IdentityKey};

    use super::*;

    fn settings() -> Settings {
        Settings {
            coordinator: "quic://127.0.0.1:4433".parse().unwrap(),
            pinned: Fingerprint::of_certificate(b"certificate"),
            federation: "messages".to_owned(),
            name: "anna's \"phone\"".to_owned(),
            client_id: ClientId::from_bytes([7; 16]),
            authority: Some(AuthorityPin {
                key: IdentityKey::from_bytes([8; 32]),
                federation: Federation([9; 32]),
            }),
            reconnect_max: Duration::from_millis(1500),
            personal: false,
            train_when: TrainWhen {
                idle: true,
                mains: false,
                busy_share: 0.75,
                ..TrainWhen::default()
            },
        }
    }

    #[test]
    fn written_settings_read_back() {
        let folder = tempfile::tempdir().unwrap();
        settings().write(folder.path()).unwrap();
        assert_eq!(Settings::read(folder.path()).unwrap(), settings());
    }

    #[test]
    fn a_folder_that_never_joined_is_told_how_to() {
        let folder = tempfile::tempdir().unwrap();
        let error = Settings::read(folder.path()).unwrap_err();
        assert!(matches!(&error, SettingsError::NotJoined { path } if path == folder.path()));
        assert!(error.to_string().contains("secagg-node join"), "{error}");
    }

    #[test]
    fn settings_of_before_have_the_default_conditions() {
        let folder = tempfile::tempdir().unwrap();
        settings().write(folder.path()).unwrap();
        let path = folder.path().join(SETTINGS_FILE);
        let text = fs::read_to_string(&path).unwrap();
        let (before, _) = text.split_once("[train_when]").unwrap();
        fs::write(&path, before.replace("personal = false\n", "")).unwrap();
        let read = Settings::read(folder.path()).unwrap();
        assert_eq!(read.train_when, TrainWhen::default());
        assert!(read.personal);
        fs::write(&path, format!("{before}[train_when]\nidel = true\n")).unwrap();
        let error = Settings::read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("idel"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_named() {
        let folder = tempfile::tempdir().unwrap();
        settings().write(folder.path()).unwrap();
        let path = folder.path().join(SETTINGS_FILE);
        let good = fs::read_to_string(&path).unwrap();
        for (bad, expected) in [
            (good.replace("quic://", "http://"), "coordinator"),
            (good.replace(&settings().pinned.to_string(), "12"), "pinned"),
            (good.replace("0707", "07"), "client_id"),
            (good.replace("1.5", "0.0"), "reconnect_max_seconds"),
            (good.replace("1.5", "nan"), "reconnect_max_seconds"),
            (good.replace("0.75", "0.0"), "train_when.busy_share"),
            (good.replace("0.75", "nan"), "train_when.busy_share"),
            (good.replace("10.0", "0.0"), "train_when.look_seconds"),
        ] {
            fs::write(&path, bad).unwrap();
            let error = Settings::read(folder.path()).unwrap_err();
            assert!(
                matches!(&error, SettingsError::Value { field, .. } if *field == expected),
                "{error}"
            );
        }
    }
}
