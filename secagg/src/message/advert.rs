//! AdvertiseKeys, client to server.

use alloc::vec::Vec;

use super::{HEADER_LEN, header, kind, open};
use crate::{
    codec::{DecodeError, Reader},
    id::ClientId,
    identity::{Credential, CredentialError, SIGNATURE_LEN, SignatureBytes, Signed, Trust},
    params::ThreatModel,
    primitives::{self, End, PublicKey, label},
    session::{Session, SessionId},
};

/// AdvertiseKeys, client to server: who the client is, its two public keys, and the commitment to
/// its self-mask seed. The commitment to its mask seed is the mask key itself.
///
/// Where the server is not trusted, the client's credential and its signature over all of it and
/// the session id follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    pub(crate) id: ClientId,
    pub(crate) mask_key: PublicKey,
    pub(crate) channel_key: PublicKey,
    pub(crate) self_mask_commitment: [u8; 32],
    pub(crate) proof: Option<Proof>,
}

/// That an advert comes from its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) credential: Credential,
    pub(crate) signature: SignatureBytes,
}

/// Why an advert is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdvertError {
    /// It carries no credential.
    Unsigned,
    /// Its credential belongs to another client.
    OtherClient {
        /// The client that the credential is for.
        credential: ClientId,
    },
    /// Its credential is not believed.
    Credential(CredentialError),
    /// It is not signed by the identity key of its credential, for this session.
    Forged,
}

impl core::fmt::Display for AdvertError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unsigned => f.write_str("the advert carries no credential"),
            Self::OtherClient { credential } => {
                write!(
                    f,
                    "the advert carries the credential of client {credential}"
                )
            }
            Self::Credential(error) => write!(f, "{error}"),
            Self::Forged => f.write_str(
                "the advert is not signed by its client's identity key for this session: the \
                 server changed it, or showed that client another model, plan or parameters",
            ),
        }
    }
}

impl core::error::Error for AdvertError {}

impl Advert {
    const UNSIGNED_LEN: usize = ClientId::LEN + 3 * 32;

    /// Bytes of an advert without the message's header.
    pub(crate) fn len(session: &Session) -> usize {
        Self::UNSIGNED_LEN
            + match session.parameters().threat_model() {
                ThreatModel::HonestButCurious => 0,
                ThreatModel::Malicious => Credential::LEN + SIGNATURE_LEN,
            }
    }

    /// The id that the advert claims; the server compares it with the authenticated sender.
    #[must_use]
    pub const fn id(&self) -> ClientId {
        self.id
    }

    /// Signs the advert for this session.
    pub(crate) fn sign(&mut self, session: &SessionId, signed: &Signed) {
        let mut bytes = Vec::with_capacity(Self::UNSIGNED_LEN);
        self.put_unsigned(&mut bytes);
        let parts: [&[u8]; 2] = [session.as_bytes(), &bytes];
        self.proof = Some(Proof {
            credential: signed.credential.clone(),
            signature: signed.key.sign(label::ADVERT_SIGNATURE, &parts),
        });
    }

    /// Whether the advert comes from a client that is believed to be one, for this session.
    pub(crate) fn verify(&self, session: &SessionId, trust: &dyn Trust) -> Result<(), AdvertError> {
        let Some(Proof {
            credential,
            signature,
        }) = &self.proof
        else {
            return Err(AdvertError::Unsigned);
        };
        // V-09. Otherwise one credential could fill many places of a roster.
        if credential.client_id() != self.id {
            let credential = credential.client_id();
            return Err(AdvertError::OtherClient { credential });
        }
        trust.verify(credential).map_err(AdvertError::Credential)?;
        // V-11. Otherwise the server could swap or invent keys, or replay those of an old session.
        let mut bytes = Vec::with_capacity(Self::UNSIGNED_LEN);
        self.put_unsigned(&mut bytes);
        let parts: [&[u8]; 2] = [session.as_bytes(), &bytes];
        if credential
            .identity_key()
            .verifies(label::ADVERT_SIGNATURE, &parts, signature)
        {
            Ok(())
        } else {
            Err(AdvertError::Forged)
        }
    }

    /// This client's end of the masks that it shares with others.
    pub(crate) const fn mask_end(&self) -> End<'_> {
        End {
            id: self.id,
            key: &self.mask_key,
        }
    }

    /// This client's end of the boxes to and from it.
    pub(crate) const fn channel_end(&self) -> End<'_> {
        End {
            id: self.id,
            key: &self.channel_key,
        }
    }

    fn put_unsigned(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(self.mask_key.as_bytes());
        out.extend_from_slice(self.channel_key.as_bytes());
        out.extend_from_slice(&self.self_mask_commitment);
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        self.put_unsigned(out);
        if let Some(proof) = &self.proof {
            proof.credential.put(out);
            out.extend_from_slice(&proof.signature);
        }
    }

    pub(crate) fn take(reader: &mut Reader<'_>, session: &Session) -> Result<Self, DecodeError> {
        let id = ClientId::from_bytes(reader.array("client id")?);
        // V-12. With the identity as a key every agreement would give the same, public secret.
        let mut key = |what| {
            PublicKey::from_bytes(reader.array(what)?).ok_or(DecodeError::InvalidPoint { what })
        };
        let mask_key = key("mask key")?;
        let channel_key = key("channel key")?;
        let self_mask_commitment = reader.array("self-mask commitment")?;
        let proof = match session.parameters().threat_model() {
            ThreatModel::HonestButCurious => None,
            ThreatModel::Malicious => Some(Proof {
                credential: Credential::take(reader)?,
                signature: reader.array("advert's signature")?,
            }),
        };
        Ok(Self {
            id,
            mask_key,
            channel_key,
            self_mask_commitment,
            proof,
        })
    }

    /// The digest that stands for this advert in the roster: over all of its bytes.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut bytes = Vec::with_capacity(Self::UNSIGNED_LEN + Credential::LEN + SIGNATURE_LEN);
        self.put(&mut bytes);
        primitives::hash(label::ADVERT, &[&bytes])
    }

    /// The message's bytes.
    #[must_use]
    pub fn encode(&self, session: &Session) -> Vec<u8> {
        let mut out = header(session, kind::ADVERT, Self::len(session));
        self.put(&mut out);
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// When the bytes are not an advert of this session, or a key is no group element or the
    /// identity. Whether the signature is valid is not checked here.
    pub fn decode(bytes: &[u8], session: &Session) -> Result<Self, DecodeError> {
        let mut reader = open(bytes, session, kind::ADVERT)?;
        let advert = Self::take(&mut reader, session)?;
        reader.finish()?;
        Ok(advert)
    }

    /// Bytes of the encoding.
    #[must_use]
    pub fn max_encoded_len(session: &Session) -> usize {
        HEADER_LEN + Self::len(session)
    }
}
