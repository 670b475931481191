//! Long-term signing identities, the credentials that vouch for them, and who is trusted to.
//!
//! A server that could invent clients would surround a victim with its own, and one that could
//! swap keys would read every box. So each client signs its advert with an Ed25519 key of its own
//! (RFC 8032), an enrolment authority vouches for that key once, and clients check both. The
//! authority's key is needed nowhere while rounds run.

use alloc::{sync::Arc, vec::Vec};
use core::fmt;

use ed25519_dalek::{SIGNATURE_LENGTH, SigningKey};
use zeroize::ZeroizeOnDrop;

use crate::{
    authentic,
    codec::{DecodeError, Reader},
    id::{ClientId, hex_fmt},
    primitives::{self, label},
};

/// Bytes of an Ed25519 signature.
pub(crate) const SIGNATURE_LEN: usize = SIGNATURE_LENGTH;

/// A signature over a labelled hash.
pub(crate) type SignatureBytes = [u8; SIGNATURE_LEN];

/// A long-term Ed25519 signing key: a client's identity, or an authority.
///
/// It is neither copied nor printed, and wiped when dropped.
pub struct SigningIdentity(SigningKey);

impl ZeroizeOnDrop for SigningIdentity {}

impl fmt::Debug for SigningIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningIdentity({})", self.public())
    }
}

impl SigningIdentity {
    /// The key of a 32-byte seed (the private key of RFC 8032, section 5.1.5).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> IdentityKey {
        IdentityKey(self.0.verifying_key().to_bytes())
    }

    /// The id of the client with this identity.
    #[must_use]
    pub fn client_id(&self) -> ClientId {
        self.public().client_id()
    }

    /// As an authority: vouches for a client's identity key in one federation until a time, in
    /// seconds since 1970.
    ///
    /// # Security
    ///
    /// Whoever holds a credential counts as one client. An authority that signs keys of its own
    /// making, or of one person many times, makes the bound on corrupt credentials worthless.
    #[must_use]
    pub fn issue(&self, key: IdentityKey, federation: Federation, expires: u64) -> Credential {
        let signed = credential_hash(key, federation, expires);
        Credential {
            key,
            federation,
            expires,
            signature: self.sign_hash(&signed),
        }
    }

    /// Signs a request to be enrolled: `parts` are what the request holds.
    #[must_use]
    pub fn sign_request(&self, parts: &[&[u8]]) -> [u8; 64] {
        self.sign(label::REQUEST_SIGNATURE, parts)
    }

    pub(crate) fn sign(&self, label: &str, parts: &[&[u8]]) -> SignatureBytes {
        self.sign_hash(&primitives::hash(label, parts))
    }

    fn sign_hash(&self, hash: &[u8; 32]) -> SignatureBytes {
        authentic::sign(&self.0, hash)
    }
}

/// The public half of a [`SigningIdentity`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityKey([u8; 32]);

impl IdentityKey {
    /// A key from its 32 bytes. Whether they are a valid key shows when a signature is checked.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id of the client with this identity.
    #[must_use]
    pub fn client_id(&self) -> ClientId {
        ClientId::from_identity_key(&self.0)
    }

    /// Whether this key has signed that request; see [`SigningIdentity::sign_request`].
    #[must_use]
    pub fn verifies_request(&self, parts: &[&[u8]], signature: &[u8; 64]) -> bool {
        self.verifies(label::REQUEST_SIGNATURE, parts, signature)
    }

    pub(crate) fn verifies(
        &self,
        label: &str,
        parts: &[&[u8]],
        signature: &SignatureBytes,
    ) -> bool {
        self.verifies_hash(&primitives::hash(label, parts), signature)
    }

    fn verifies_hash(&self, hash: &[u8; 32], signature: &SignatureBytes) -> bool {
        authentic::verifies(&self.0, hash, signature)
    }
}

/// Which federation a credential is for: the same authority may serve several.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Federation(pub [u8; 32]);

hex_fmt!(IdentityKey Federation);

fn credential_hash(key: IdentityKey, federation: Federation, expires: u64) -> [u8; 32] {
    primitives::hash(
        label::CREDENTIAL,
        &[&key.0, &federation.0, &expires.to_le_bytes()],
    )
}

/// An authority's statement that an identity key belongs to a client of a federation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    key: IdentityKey,
    federation: Federation,
    expires: u64,
    signature: SignatureBytes,
}

impl Credential {
    /// Bytes of the encoding.
    pub const LEN: usize = 32 + 32 + 8 + SIGNATURE_LEN;

    /// The client's identity key.
    #[must_use]
    pub const fn identity_key(&self) -> IdentityKey {
        self.key
    }

    /// The client's id.
    #[must_use]
    pub fn client_id(&self) -> ClientId {
        self.key.client_id()
    }

    /// The federation.
    #[must_use]
    pub const fn federation(&self) -> Federation {
        self.federation
    }

    /// When it ends, in seconds since 1970.
    #[must_use]
    pub const fn expires(&self) -> u64 {
        self.expires
    }

    /// The credential's bytes: identity key, federation, expiry (64 bits), signature.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        self.put(&mut out);
        out
    }

    /// Reads the bytes. Nothing is believed yet: see [`Trust`].
    ///
    /// # Errors
    ///
    /// When they are too few or too many.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let credential = Self::take(&mut reader)?;
        reader.finish()?;
        Ok(credential)
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.0);
        out.extend_from_slice(&self.federation.0);
        out.extend_from_slice(&self.expires.to_le_bytes());
        out.extend_from_slice(&self.signature);
    }

    pub(crate) fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            key: IdentityKey(reader.array("identity key")?),
            federation: Federation(reader.array("federation")?),
            expires: u64::from_le_bytes(reader.array("expiry")?),
            signature: reader.array("credential's signature")?,
        })
    }
}

/// Decides whom a client or server believes to be a client.
pub trait Trust: Send + Sync {
    /// Whether this credential is to be believed now.
    ///
    /// # Errors
    ///
    /// Why it is not.
    fn verify(&self, credential: &Credential) -> Result<(), CredentialError>;
}

/// Trust in one authority for one federation, at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedAuthority {
    /// The authority's public key, pinned.
    pub key: IdentityKey,
    /// The federation.
    pub federation: Federation,
    /// The time, in seconds since 1970: this crate has no clock.
    pub now: u64,
}

impl Trust for TrustedAuthority {
    fn verify(&self, credential: &Credential) -> Result<(), CredentialError> {
        let Credential {
            key,
            federation,
            expires,
            ref signature,
        } = *credential;
        // V-10. A credential of another federation, or one that was withdrawn by letting it
        // expire, would let a stranger fill the places around a victim.
        if federation != self.federation {
            return Err(CredentialError::OtherFederation {
                expected: self.federation,
                found: federation,
            });
        }
        if expires <= self.now {
            let now = self.now;
            return Err(CredentialError::Expired { expires, now });
        }
        let hash = credential_hash(key, federation, expires);
        if self.key.verifies_hash(&hash, signature) {
            Ok(())
        } else {
            Err(CredentialError::Forged)
        }
    }
}

/// Why a credential is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialError {
    /// It is for another federation.
    OtherFederation {
        /// The federation of this session.
        expected: Federation,
        /// The federation that the credential names.
        found: Federation,
    },
    /// Its time is over.
    Expired {
        /// When it ended, in seconds since 1970.
        expires: u64,
        /// The time at which it was checked.
        now: u64,
    },
    /// The authority has not signed it.
    Forged,
    /// It is for another identity key.
    OtherKey {
        /// The key that was to be vouched for.
        expected: IdentityKey,
        /// The key that the credential names.
        found: IdentityKey,
    },
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherFederation { expected, found } => {
                write!(
                    f,
                    "the credential is for federation {found}, not {expected}"
                )
            }
            Self::Expired { expires, now } => write!(
                f,
                "the credential has expired at {expires}, now it is {now} (seconds since 1970)"
            ),
            Self::Forged => f.write_str("the credential is not signed by the pinned authority"),
            Self::OtherKey { expected, found } => {
                write!(f, "the credential is for the key {found}, not {expected}")
            }
        }
    }
}

impl core::error::Error for CredentialError {}

/// Who a client is in a session, and whom it believes.
#[derive(Clone)]
pub struct Member {
    id: ClientId,
    pub(crate) signed: Option<Signed>,
}

/// What a client needs where the server is not trusted.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(crate) key: Arc<SigningIdentity>,
    pub(crate) credential: Credential,
    pub(crate) trust: Arc<dyn Trust>,
}

impl Member {
    /// A client without a credential: enough where the server is trusted to follow the protocol.
    /// `id` must be that of its own identity key.
    #[must_use]
    pub const fn unsigned(id: ClientId) -> Self {
        Self { id, signed: None }
    }

    /// A client that signs, and that believes whom `trust` believes.
    ///
    /// # Errors
    ///
    /// When the credential is not for this key, or would not be believed by others.
    pub fn signed(
        key: Arc<SigningIdentity>,
        credential: Credential,
        trust: Arc<dyn Trust>,
    ) -> Result<Self, CredentialError> {
        let expected = key.public();
        if credential.key != expected {
            let found = credential.key;
            return Err(CredentialError::OtherKey { expected, found });
        }
        trust.verify(&credential)?;
        Ok(Self {
            id: key.client_id(),
            signed: Some(Signed {
                key,
                credential,
                trust,
            }),
        })
    }

    /// The client's id.
    #[must_use]
    pub const fn id(&self) -> ClientId {
        self.id
    }

    /// Whether it has a credential, so that it can take part where the server is not trusted.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        self.signed.is_some()
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("id", &self.id)
            .field("signed", &self.signed.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEDERATION: Federation = Federation([5; 32]);

    fn issued() -> (SigningIdentity, Arc<SigningIdentity>, Credential) {
        let authority = SigningIdentity::from_seed(&[1; 32]);
        let key = Arc::new(SigningIdentity::from_seed(&[2; 32]));
        let credential = authority.issue(key.public(), FEDERATION, 1_000);
        (authority, key, credential)
    }

    fn trust(authority: &SigningIdentity, now: u64) -> TrustedAuthority {
        TrustedAuthority {
            key: authority.public(),
            federation: FEDERATION,
            now,
        }
    }

    #[test]
    fn a_credential_is_believed_until_it_ends() {
        let (authority, _, credential) = issued();
        assert_eq!(trust(&authority, 999).verify(&credential), Ok(()));
        let (expires, now) = (1_000, 1_000);
        let error = CredentialError::Expired { expires, now };
        assert_eq!(trust(&authority, now).verify(&credential), Err(error));
    }

    #[test]
    fn requests_are_signed_by_one_key_for_one_content() {
        let (authority, key, _) = issued();
        let signature = key.sign_request(&[b"name", b"key"]);
        let public = key.public();
        assert!(public.verifies_request(&[b"name", b"key"], &signature));
        assert!(!public.verifies_request(&[b"name", b"kez"], &signature));
        assert!(
            !authority
                .public()
                .verifies_request(&[b"name", b"key"], &signature)
        );
        // It is not a signature on anything else.
        let parts: [&[u8]; 2] = [b"name", b"key"];
        assert!(!public.verifies(label::ADVERT_SIGNATURE, &parts, &signature));
    }

    #[test]
    fn members_say_whether_they_have_a_credential_and_until_when_it_holds() {
        let (authority, key, credential) = issued();
        assert_eq!(credential.expires(), 1_000);
        let signed = Member::signed(key, credential, Arc::new(trust(&authority, 0))).unwrap();
        assert!(signed.is_signed());
        assert!(!Member::unsigned(signed.id()).is_signed());
    }

    #[test]
    fn every_byte_of_a_credential_is_signed() {
        let (authority, _, credential) = issued();
        let bytes = credential.encode();
        assert_eq!(bytes.len(), Credential::LEN);
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = Credential::decode(&changed).unwrap();
            assert!(
                trust(&authority, 0).verify(&changed).is_err(),
                "byte {place}"
            );
        }
    }

    #[test]
    fn another_authority_or_key_is_not_believed() {
        let (_, key, credential) = issued();
        let other = SigningIdentity::from_seed(&[3; 32]);
        let error = Err(CredentialError::Forged);
        assert_eq!(trust(&other, 0).verify(&credential), error);
        let trust = Arc::new(trust(&other, 0));
        let foreign = Member::signed(Arc::new(other), credential, trust).unwrap_err();
        let expected = SigningIdentity::from_seed(&[3; 32]).public();
        let found = key.public();
        assert_eq!(foreign, CredentialError::OtherKey { expected, found });
    }

    /// RFC 8032, section 7.1, test 1, through the labelled hash: the public key is the RFC's.
    #[test]
    fn the_public_key_is_that_of_rfc_8032() {
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec,
            0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03,
            0x1c, 0xae, 0x7f, 0x60,
        ];
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let identity = SigningIdentity::from_seed(&seed);
        assert_eq!(
            alloc::string::ToString::to_string(&identity.public()),
            public
        );
    }

    /// A key of small order would verify one signature for many messages.
    #[test]
    fn keys_of_small_order_verify_nothing() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let key = IdentityKey::from_bytes(neutral);
        assert!(!key.verifies("label", &[], &signature));
    }

    #[test]
    fn signatures_bind_label_and_parts() {
        let (_, key, _) = issued();
        let signature = key.sign("a", &[b"one", b"two"]);
        let public = key.public();
        assert!(public.verifies("a", &[b"one", b"two"], &signature));
        assert!(!public.verifies("b", &[b"one", b"two"], &signature));
        assert!(!public.verifies("a", &[b"onet", b"wo"], &signature));
    }
}
