//! Who a node or coordinator is: a TLS certificate for the channel, an Ed25519 key for the protocol.
//!
//! They are two keys on purpose: the channel's key can be replaced by joining again, the identity
//! key is what the secure aggregation knows a client by.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use rustls::{crypto::ring::default_provider, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use secagg::SigningIdentity;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    digest::Digest,
    process::{Access, PrivateFileError, create_private_folder, read_private, write_atomic},
};

/// SHA-256 of a certificate in DER: what a token pins and what a coordinator registers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    #[must_use]
    pub fn of_certificate(der: &[u8]) -> Self {
        Self(*Digest::of(der).as_bytes())
    }

    /// A fingerprint that was stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let bytes = HEXLOWER_PERMISSIVE
            .decode(text.as_bytes())
            .map_err(|_| NotAFingerprint)?;
        bytes.try_into().map(Self).map_err(|_| NotAFingerprint)
    }
}

/// A string that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 64 hexadecimal digits")]
pub struct NotAFingerprint;

/// A self-signed certificate with its private key: what one side of the channel is known by.
///
/// In a folder it is `tls-certificate.der` and `tls-key.der`, the latter readable by the owner only.
pub struct TlsIdentity {
    certificate: CertificateDer<'static>,
    /// PKCS #8.
    key: Zeroizing<Vec<u8>>,
    fingerprint: Fingerprint,
}

impl TlsIdentity {
    /// A new identity.
    ///
    /// # Errors
    /// When no key can be generated.
    pub fn generate() -> Result<Self, IdentityError> {
        let made = |error: rcgen::Error| IdentityError::Generate {
            reason: error.to_string(),
        };
        let key = rcgen::KeyPair::generate().map_err(made)?;
        let parameters =
            rcgen::CertificateParams::new(vec![SERVER_NAME.to_owned()]).map_err(made)?;
        let certificate = parameters.self_signed(&key).map_err(made)?;
        Ok(Self::from_parts(
            certificate.der().clone(),
            Zeroizing::new(key.serialize_der()),
        ))
    }

    /// Writes both files into a folder, which is created when it is missing.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn save(&self, folder: &Path) -> Result<(), IdentityError> {
        save(folder, TLS_KEY, &self.key, Access::Owner)?;
        save(folder, TLS_CERTIFICATE, &self.certificate, Access::Shared)
    }

    /// Reads both files from a folder.
    ///
    /// # Errors
    /// When one is missing, unreadable or readable by others, or when they do not belong together.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let path = folder.join(TLS_CERTIFICATE);
        let certificate = read_capped(&path)?;
        let key = read_private(&folder.join(TLS_KEY), MAX_KEY_FILE)?;
        let identity = Self::from_parts(certificate.into(), key);
        CertifiedKey::from_der(
            vec![identity.certificate()],
            identity.private_key(),
            &default_provider(),
        )
        .map_err(|error| IdentityError::Invalid {
            path,
            reason: error.to_string(),
        })?;
        Ok(identity)
    }

    /// Reads the identity from a folder, or makes one there when neither file exists.
    ///
    /// # Errors
    /// See [`load`](Self::load) and [`save`](Self::save).
    pub fn load_or_generate(folder: &Path) -> Result<Self, IdentityError> {
        if folder.join(TLS_CERTIFICATE).exists() || folder.join(TLS_KEY).exists() {
            return Self::load(folder);
        }
        let identity = Self::generate()?;
        identity.save(folder)?;
        Ok(identity)
    }

    /// The certificate's fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.to_vec()).into()
    }

    fn from_parts(certificate: CertificateDer<'static>, key: Zeroizing<Vec<u8>>) -> Self {
        let fingerprint = Fingerprint::of_certificate(&certificate);
        Self {
            certificate,
            key,
            fingerprint,
        }
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// A long-term Ed25519 key: what a client is known by in the secure aggregation.
///
/// In a folder it is `identity-key`, 64 hexadecimal digits, readable by the owner only.
pub struct IdentityKey(SigningKey);

impl IdentityKey {
    /// A new key from the operating system's randomness.
    ///
    /// # Errors
    /// When there is none.
    pub fn generate() -> Result<Self, IdentityError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|error| IdentityError::Generate {
            reason: error.to_string(),
        })?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Writes the key into a folder, which is created when it is missing.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn save(&self, folder: &Path) -> Result<(), IdentityError> {
        let text = Zeroizing::new(format!(
            "{}\n",
            *Zeroizing::new(HEXLOWER.encode(self.0.as_bytes()))
        ));
        save(folder, IDENTITY_KEY, text.as_bytes(), Access::Owner)
    }

    /// Reads the key from a folder.
    ///
    /// # Errors
    /// When it is missing, unreadable, readable by others, or no key.
    pub fn load(folder: &Path) -> Result<Self, IdentityError> {
        let path = folder.join(IDENTITY_KEY);
        let text = read_private(&path, MAX_KEY_FILE)?;
        let digits = text.trim_ascii();
        let mut seed = Zeroizing::new([0; 32]);
        // `decode_mut` wants to know that the lengths fit.
        if digits.len() != 64 || HEXLOWER.decode_mut(digits, seed.as_mut_slice()).is_err() {
            return Err(IdentityError::Invalid {
                path,
                reason: "an identity key is 64 hexadecimal digits".to_owned(),
            });
        }
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads the key from a folder, or makes one there when the file does not exist.
    ///
    /// # Errors
    /// See [`load`](Self::load) and [`save`](Self::save).
    pub fn load_or_generate(folder: &Path) -> Result<Self, IdentityError> {
        if folder.join(IDENTITY_KEY).exists() {
            return Self::load(folder);
        }
        let key = Self::generate()?;
        key.save(folder)?;
        Ok(key)
    }

    /// The key as the secure aggregation uses it.
    #[must_use]
    pub fn signing(&self) -> SigningIdentity {
        SigningIdentity::from_seed(self.0.as_bytes())
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// A signature over `message`.
    ///
    /// # Security
    /// Put a label of its own in front of each kind of message, so that a signature for one purpose
    /// never passes for another.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IdentityKey")
            .field(&HEXLOWER.encode(&self.public()))
            .finish()
    }
}

/// Whether `signature` over `message` is by the identity key `public`, strictly (small-order keys
/// and malleable signatures are refused).
#[must_use]
pub fn verify_signature(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(public).is_ok_and(|key| {
        key.verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    })
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No key could be made.
    #[error("cannot generate a key: {reason}")]
    Generate {
        /// Why.
        reason: String,
    },
    /// A file that holds a secret was not read.
    #[error(transparent)]
    Private(#[from] PrivateFileError),
    /// A file was not read or written.
    #[error("cannot access {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} cannot be used: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The name in every certificate. Peers are known by fingerprint, so it says nothing about them.
pub const SERVER_NAME: &str = "secagg";

const TLS_CERTIFICATE: &str = "tls-certificate.der";
const TLS_KEY: &str = "tls-key.der";
const IDENTITY_KEY: &str = "identity-key";

/// No key or certificate of these kinds is longer.
const MAX_KEY_FILE: u64 = 4 << 10;

fn save(folder: &Path, name: &str, bytes: &[u8], access: Access) -> Result<(), IdentityError> {
    let path = folder.join(name);
    create_private_folder(folder)
        .and_then(|()| write_atomic(&path, bytes, access))
        .map_err(|error| IdentityError::Io { path, error })
}

fn read_capped(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let failed = |error| IdentityError::Io {
        path: path.to_owned(),
        error,
    };
    let len = fs::metadata(path).map_err(failed)?.len();
    if len > MAX_KEY_FILE {
        return Err(IdentityError::Invalid {
            path: path.to_owned(),
            reason: format!("it has {len} bytes, a certificate has at most {MAX_KEY_FILE}"),
        });
    }
    fs::read(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_tls_identity_survives_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("identity");
        let made = TlsIdentity::load_or_generate(&folder).unwrap();
        let again = TlsIdentity::load_or_generate(&folder).unwrap();
        assert_eq!(made.fingerprint(), again.fingerprint());
        assert_eq!(*made.key, *again.key);
        let mode = fs::metadata(folder.join(TLS_KEY))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        TlsIdentity::generate()
            .unwrap()
            .save(folder.path())
            .unwrap();
        let other = TlsIdentity::generate().unwrap();
        save(folder.path(), TLS_KEY, &other.key, Access::Owner).unwrap();
        assert!(matches!(
            TlsIdentity::load(folder.path()),
            Err(IdentityError::Invalid { path, .. }) if path.ends_with(TLS_CERTIFICATE)
        ));
    }

    #[test]
    fn an_identity_key_survives_the_disk_and_signs() {
        let folder = tempfile::tempdir().unwrap();
        let made = IdentityKey::load_or_generate(folder.path()).unwrap();
        let again = IdentityKey::load_or_generate(folder.path()).unwrap();
        assert_eq!(made.public(), again.public());
        let signature = again.sign(b"message");
        assert!(verify_signature(&made.public(), b"message", &signature));
        assert!(!verify_signature(&made.public(), b"other", &signature));
        let other = IdentityKey::generate().unwrap();
        assert!(!verify_signature(&other.public(), b"message", &signature));
    }

    #[test]
    fn what_is_no_identity_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            "",
            "00",
            "zz",
            &"0".repeat(63),
            &"0".repeat(66),
            &"g".repeat(64),
        ] {
            save(folder.path(), IDENTITY_KEY, text.as_bytes(), Access::Owner).unwrap();
            assert!(
                matches!(
                    IdentityKey::load(folder.path()),
                    Err(IdentityError::Invalid { .. })
                ),
                "{text:?}"
            );
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let identity = TlsIdentity::generate().unwrap();
        let key = IdentityKey::generate().unwrap();
        let shown = format!("{identity:?} {key:?}");
        assert!(!shown.contains(&HEXLOWER.encode(key.0.as_bytes())));
        assert!(!shown.contains(&HEXLOWER.encode(&identity.key)));
    }

    #[test]
    fn fingerprints_parse_back() {
        let fingerprint = Fingerprint::of_certificate(b"certificate");
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        assert_eq!("12".parse::<Fingerprint>(), Err(NotAFingerprint));
    }
}
