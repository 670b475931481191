//! Enrolment without the coordinator's word: who vouches for nodes, what they ask, what they get.
//!
//! An authority holds a signing key, on any machine. Nodes and coordinator pin its public half
//! ([`AuthorityPin`]); a node's request ([`CredentialRequest`]) becomes a credential
//! ([`CredentialFile`]) there. Nothing of it is secret but the authority's key.

use std::{fmt, str::FromStr};

use data_encoding::{BASE32_NOPAD, HEXLOWER_PERMISSIVE};
use secagg::{
    ClientId, Credential, CredentialError, DecodeError, Federation, IdentityKey as PublicKey,
    SigningIdentity, Trust as _, TrustedAuthority,
};
use serde::{Deserialize, Serialize};

use crate::{digest::Digest, identity::Fingerprint, text::Name};

/// What nodes and coordinator pin of an authority: its public key, and the federation.
///
/// As text: base32 without padding of `version ‖ key ‖ federation ‖ checksum`, 111 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorityPin {
    /// The authority's public key.
    pub key: PublicKey,
    /// The federation that its credentials are for.
    pub federation: Federation,
}

const PIN_VERSION: u8 = 1;
const CHECK_LEN: usize = 4;
const PIN_LEN: usize = 1 + 32 + 32 + CHECK_LEN;

fn pin_checksum(content: &[u8]) -> [u8; CHECK_LEN] {
    let digest = Digest::of(content);
    let mut check = [0; CHECK_LEN];
    for (to, from) in check.iter_mut().zip(digest.as_bytes()) {
        *to = *from;
    }
    check
}

impl AuthorityPin {
    /// Trust in this authority at a time, in seconds since 1970.
    #[must_use]
    pub fn at(&self, now: u64) -> TrustedAuthority {
        TrustedAuthority {
            key: self.key,
            federation: self.federation,
            now,
        }
    }
}

impl fmt::Display for AuthorityPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(PIN_LEN);
        bytes.push(PIN_VERSION);
        bytes.extend_from_slice(self.key.as_bytes());
        bytes.extend_from_slice(&self.federation.0);
        let check = pin_checksum(&bytes);
        bytes.extend_from_slice(&check);
        f.write_str(&BASE32_NOPAD.encode(&bytes))
    }
}

impl FromStr for AuthorityPin {
    type Err = NotAPin;

    /// Takes upper and lower case, and ignores white space.
    fn from_str(text: &str) -> Result<Self, NotAPin> {
        let letters: String = text
            .chars()
            .filter(|character| !character.is_whitespace())
            .map(|character| character.to_ascii_uppercase())
            .collect();
        let bytes = BASE32_NOPAD
            .decode(letters.as_bytes())
            .map_err(|_| NotAPin)?;
        let (content, check) = bytes
            .split_last_chunk::<CHECK_LEN>()
            .filter(|_| bytes.len() == PIN_LEN)
            .ok_or(NotAPin)?;
        if pin_checksum(content) != *check {
            return Err(NotAPin);
        }
        let [PIN_VERSION, rest @ ..] = content else {
            return Err(NotAPin);
        };
        let (key, federation) = rest.split_first_chunk::<32>().ok_or(NotAPin)?;
        let federation = federation.try_into().map_err(|_| NotAPin)?;
        Ok(Self {
            key: PublicKey::from_bytes(*key),
            federation: Federation(federation),
        })
    }
}

/// A string that pins no authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no authority's pin, or a character of it is wrong: it has 111 letters and digits, as \
     `secagg-coordinator authority` printed it"
)]
pub struct NotAPin;

/// A node's request to be vouched for, as a JSON file. The identity key signs the name, the
/// fingerprint of the node's TLS certificate (another key) and the authority that it is meant for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialRequest {
    name: String,
    client_id: String,
    identity_key: String,
    tls_fingerprint: String,
    authority: String,
    signature: String,
}

/// A request whose signature was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedRequest {
    /// What the node calls itself.
    pub name: Name,
    /// Its identity key.
    pub key: PublicKey,
    /// Its TLS certificate.
    pub fingerprint: Fingerprint,
    /// The authority that it asks.
    pub authority: AuthorityPin,
}

impl CredentialRequest {
    /// The request of the node with these keys.
    #[must_use]
    pub fn new(
        name: &Name,
        key: &SigningIdentity,
        fingerprint: &Fingerprint,
        authority: AuthorityPin,
    ) -> Self {
        let text = authority.to_string();
        let signature = key.sign_request(&request_parts(name.as_str(), fingerprint, &text));
        Self {
            name: name.as_str().to_owned(),
            client_id: key.client_id().to_string(),
            identity_key: key.public().to_string(),
            tls_fingerprint: fingerprint.to_string(),
            authority: text,
            signature: data_encoding::HEXLOWER.encode(&signature),
        }
    }

    /// Checks the request for this authority.
    ///
    /// # Errors
    /// The first field that is wrong, or that the signature is.
    pub fn check(&self, own: AuthorityPin) -> Result<CheckedRequest, RequestError> {
        let bad = |field| RequestError::Field { field };
        let name = Name::new(&self.name).map_err(|_| bad("name"))?;
        let key: [u8; 32] = unhex(&self.identity_key).ok_or(bad("identity_key"))?;
        let key = PublicKey::from_bytes(key);
        let fingerprint: Fingerprint = self
            .tls_fingerprint
            .parse()
            .map_err(|_| bad("tls_fingerprint"))?;
        let authority: AuthorityPin = self.authority.parse().map_err(|_| bad("authority"))?;
        if authority != own {
            return Err(RequestError::OtherAuthority);
        }
        if self.client_id != key.client_id().to_string() {
            return Err(bad("client_id"));
        }
        let signature: [u8; 64] = unhex(&self.signature).ok_or(bad("signature"))?;
        let text = authority.to_string();
        let parts = request_parts(name.as_str(), &fingerprint, &text);
        // Otherwise somebody could have another's identity key vouched for under their own name.
        if !key.verifies_request(&parts, &signature) {
            return Err(RequestError::Forged);
        }
        Ok(CheckedRequest {
            name,
            key,
            fingerprint,
            authority,
        })
    }
}

fn request_parts<'a>(
    name: &'a str,
    fingerprint: &'a Fingerprint,
    authority: &'a str,
) -> [&'a [u8]; 3] {
    [
        name.as_bytes(),
        fingerprint.as_bytes(),
        authority.as_bytes(),
    ]
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    bytes.try_into().ok()
}

/// Why a request is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A field is wrong.
    #[error("the request's {field} is not what it should be")]
    Field {
        /// The field.
        field: &'static str,
    },
    /// It asks another authority.
    #[error("the request is meant for another authority")]
    OtherAuthority,
    /// The identity key has not signed it.
    #[error("the request is not signed by its identity key")]
    Forged,
}

/// A credential as a JSON file: what an authority hands back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialFile {
    client_id: String,
    expires: u64,
    credential: String,
}

impl CredentialFile {
    /// The file of a credential.
    #[must_use]
    pub fn new(credential: &Credential) -> Self {
        Self {
            client_id: credential.client_id().to_string(),
            expires: credential.expires(),
            credential: data_encoding::HEXLOWER.encode(&credential.encode()),
        }
    }

    /// The credential, checked for this client under this authority.
    ///
    /// # Errors
    /// When it is damaged, another client's, or not to be believed at that time.
    pub fn check(
        &self,
        own: ClientId,
        authority: AuthorityPin,
        now: u64,
    ) -> Result<Credential, CredentialFileError> {
        let bytes = HEXLOWER_PERMISSIVE
            .decode(self.credential.as_bytes())
            .map_err(|_| CredentialFileError::NotHex)?;
        let credential = Credential::decode(&bytes)?;
        let found = credential.client_id();
        if found != own {
            return Err(CredentialFileError::OtherClient { own, found });
        }
        authority.at(now).verify(&credential)?;
        Ok(credential)
    }
}

/// Why a credential's file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialFileError {
    /// The field `credential` is not hexadecimal.
    #[error("its field credential is not hexadecimal")]
    NotHex,
    /// Its bytes are no credential.
    #[error("its bytes are no credential: {0}")]
    Decode(#[from] DecodeError),
    /// It is another client's.
    #[error("it is for client {found}, this is {own}")]
    OtherClient {
        /// The client that reads it.
        own: ClientId,
        /// The client that it is for.
        found: ClientId,
    },
    /// It is not believed.
    #[error(transparent)]
    Credential(#[from] CredentialError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(authority: &SigningIdentity) -> AuthorityPin {
        AuthorityPin {
            key: authority.public(),
            federation: Federation([7; 32]),
        }
    }

    #[test]
    fn a_pin_is_read_back_and_a_wrong_character_shows() {
        let pin = pin(&SigningIdentity::from_seed(&[1; 32]));
        let text = pin.to_string();
        assert_eq!(text.len(), 111);
        assert_eq!(format!(" {} ", text.to_lowercase()).parse(), Ok(pin));
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(changed.parse::<AuthorityPin>(), Err(NotAPin), "{place}");
        }
        assert_eq!("".parse::<AuthorityPin>(), Err(NotAPin));
    }

    #[test]
    fn a_request_becomes_a_credential() {
        let authority = SigningIdentity::from_seed(&[1; 32]);
        let node = SigningIdentity::from_seed(&[2; 32]);
        let (pin, name) = (pin(&authority), Name::new("anna").unwrap());
        let tls = Fingerprint::of_certificate(b"certificate");
        let request = CredentialRequest::new(&name, &node, &tls, pin);
        let json = serde_json::to_string(&request).unwrap();
        let request: CredentialRequest = serde_json::from_str(&json).unwrap();
        let checked = request.check(pin).unwrap();
        assert_eq!((checked.key, checked.fingerprint), (node.public(), tls));

        let credential = authority.issue(checked.key, pin.federation, 100);
        let file = CredentialFile::new(&credential);
        assert_eq!(file.check(node.client_id(), pin, 99), Ok(credential));
        assert!(matches!(
            file.check(node.client_id(), pin, 100),
            Err(CredentialFileError::Credential(
                CredentialError::Expired { .. }
            ))
        ));
        assert!(matches!(
            file.check(authority.client_id(), pin, 99),
            Err(CredentialFileError::OtherClient { .. })
        ));
    }

    #[test]
    fn changed_requests_are_refused() {
        let authority = SigningIdentity::from_seed(&[1; 32]);
        let node = SigningIdentity::from_seed(&[2; 32]);
        let (pin, name) = (pin(&authority), Name::new("anna").unwrap());
        let tls = Fingerprint::of_certificate(b"certificate");
        let request = CredentialRequest::new(&name, &node, &tls, pin);
        let other = Fingerprint::of_certificate(b"other").to_string();
        let with = |change: &dyn Fn(&mut CredentialRequest)| {
            let mut changed = request.clone();
            change(&mut changed);
            changed.check(pin).unwrap_err()
        };
        let forged = RequestError::Forged;
        assert_eq!(with(&|r| r.tls_fingerprint.clone_from(&other)), forged);
        assert_eq!(with(&|r| r.name = "berta".to_owned()), forged);
        let field = |field| RequestError::Field { field };
        assert_eq!(with(&|r| r.client_id = "00".to_owned()), field("client_id"));
        assert_eq!(with(&|r| r.signature = "00".to_owned()), field("signature"));
        let stranger = AuthorityPin {
            key: node.public(),
            federation: pin.federation,
        };
        assert_eq!(request.check(stranger), Err(RequestError::OtherAuthority));
    }
}
