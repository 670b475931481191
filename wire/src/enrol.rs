//! Enrolment: a node with a token has its two keys registered.

use std::time::Duration;

use secagg::ClientId;
use serde::{Deserialize, Serialize};

use crate::{
    channel::{ChannelError, EnrolNodeChannel},
    frame::{FrameError, Message, messages},
    identity::{Fingerprint, IdentityKey, verify_signature},
    text::{Name, Reason},
    token::{Token, TokenSecret},
};

/// From an enrolling node to the coordinator, the only message. Its body is
/// `token secret ‖ identity key ‖ signature ‖ name`.
#[derive(Debug)]
pub struct EnrolRequest {
    /// The token's secret.
    pub token_secret: TokenSecret,
    /// The node's public identity key.
    pub identity_key: [u8; 32],
    /// What the node calls itself, for people.
    pub name: Name,
    signature: [u8; 64],
}

impl EnrolRequest {
    /// A request by the node with that certificate and that identity key.
    #[must_use]
    pub fn new(token: &Token, key: &IdentityKey, own: &Fingerprint, name: Name) -> Self {
        let signed = signed_bytes(token.secret(), own, &token.coordinator());
        Self {
            token_secret: TokenSecret::from_bytes(*token.secret().as_bytes()),
            identity_key: key.public(),
            name,
            signature: key.sign(&signed),
        }
    }

    /// The id that the identity key stands for.
    #[must_use]
    pub fn client_id(&self) -> ClientId {
        ClientId::from_identity_key(&self.identity_key)
    }

    /// Checks that the identity key's owner wants exactly this enrolment: with this token, from the
    /// certificate at the other end of the connection, at this coordinator.
    ///
    /// # Errors
    /// [`EnrolRefusal::BadSignature`].
    pub fn verify(
        &self,
        peer: &Fingerprint,
        coordinator: &Fingerprint,
    ) -> Result<(), EnrolRefusal> {
        // Otherwise somebody could register another's identity key under their own certificate.
        let signed = signed_bytes(&self.token_secret, peer, coordinator);
        if verify_signature(&self.identity_key, &signed, &self.signature) {
            Ok(())
        } else {
            Err(EnrolRefusal::BadSignature)
        }
    }
}

impl Message for EnrolRequest {
    fn kind(&self) -> u8 {
        0x41
    }

    fn cap(kind: u8, _secagg: usize) -> Option<usize> {
        (kind == 0x41).then_some(16 + 32 + 64 + 64)
    }

    fn encode_body(&self) -> Result<Vec<u8>, postcard::Error> {
        let name = self.name.as_str().as_bytes();
        let mut body = Vec::with_capacity(16 + 32 + 64 + name.len());
        body.extend_from_slice(self.token_secret.as_bytes());
        body.extend_from_slice(&self.identity_key);
        body.extend_from_slice(&self.signature);
        body.extend_from_slice(name);
        Ok(body)
    }

    fn decode_body(kind: u8, body: &[u8]) -> Result<Self, FrameError> {
        if kind != 0x41 {
            return Err(FrameError::UnknownKind { kind });
        }
        let malformed = |error| FrameError::Malformed { kind, error };
        let short = || malformed(postcard::Error::DeserializeUnexpectedEnd);
        let (secret, rest) = body.split_first_chunk::<16>().ok_or_else(short)?;
        let (identity_key, rest) = rest.split_first_chunk::<32>().ok_or_else(short)?;
        let (signature, name) = rest.split_first_chunk::<64>().ok_or_else(short)?;
        let name = std::str::from_utf8(name)
            .map_err(|_| malformed(postcard::Error::DeserializeBadUtf8))?;
        Ok(Self {
            token_secret: TokenSecret::from_bytes(*secret),
            identity_key: *identity_key,
            signature: *signature,
            name: Name::new(name).map_err(|_| malformed(postcard::Error::SerdeDeCustom))?,
        })
    }
}

messages! {
    /// The coordinator's answer to an enrolment, the only message.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum EnrolReply (secagg: secagg) {
        /// The node is registered.
        Enrolled = 0xc1, cap 256, {
            /// The bytes of the id that the identity key stands for: the node compares its own.
            client_id: [u8; 16],
            /// The federation's name.
            federation: Name,
        }
        /// The node is not registered.
        Refused = 0xc2, cap 512, {
            /// Why not.
            reason: EnrolRefusal,
        }
    }
}

/// Why an enrolment was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EnrolRefusal {
    /// No such token, or one that was used.
    #[error("the token is unknown or was used already: ask the operator for a new one")]
    UnknownToken,
    /// The token is too old.
    #[error("the token has expired: ask the operator for a new one")]
    ExpiredToken,
    /// The certificate or the identity key is registered already.
    #[error("this identity is enrolled already: use `secagg-node run`")]
    AlreadyEnrolled,
    /// The signature does not fit.
    #[error("the enrolment is not signed by its identity key for this connection")]
    BadSignature,
    /// Something else.
    #[error("{0}")]
    Other(Reason),
}

/// What a node learns when it is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The node's id.
    pub client_id: ClientId,
    /// The federation's name.
    pub federation: Name,
}

/// The node's side: enrols over a connection made with [`Alpn::Enrol`](crate::tls::Alpn::Enrol).
///
/// # Errors
/// [`EnrolError::Refused`] with the coordinator's reason.
pub async fn enrol(
    connection: &quinn::Connection,
    token: &Token,
    key: &IdentityKey,
    own: &Fingerprint,
    name: Name,
    timeout: Duration,
) -> Result<Enrolled, EnrolError> {
    let mut channel = EnrolNodeChannel::open(connection).await?;
    channel
        .send(&EnrolRequest::new(token, key, own, name))
        .await?;
    match channel.receive_within(timeout).await? {
        EnrolReply::Enrolled {
            client_id,
            federation,
        } => {
            // Nobody but the identity key decides a client's id, the coordinator least of all.
            let own = ClientId::from_identity_key(&key.public());
            if client_id != *own.as_bytes() {
                let given = ClientId::from_bytes(client_id);
                return Err(EnrolError::WrongClientId { own, given });
            }
            Ok(Enrolled {
                client_id: own,
                federation,
            })
        }
        EnrolReply::Refused { reason } => Err(reason.into()),
    }
}

/// Why a node is not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The coordinator refused.
    #[error("the coordinator refused the enrolment: {0}")]
    Refused(#[from] EnrolRefusal),
    /// The coordinator registered another id than the identity key's.
    #[error("the coordinator registered the id {given}, but this identity key's is {own}")]
    WrongClientId {
        /// The identity key's.
        own: ClientId,
        /// The coordinator's.
        given: ClientId,
    },
    /// The connection failed.
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

const LABEL: &[u8] = b"secagg/v1/wire/enrol";

/// What the identity key signs; every part but the label has a fixed length.
fn signed_bytes(
    secret: &TokenSecret,
    node: &Fingerprint,
    coordinator: &Fingerprint,
) -> zeroize::Zeroizing<Vec<u8>> {
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(LABEL.len() + 16 + 32 + 32));
    bytes.extend_from_slice(LABEL);
    bytes.extend_from_slice(secret.as_bytes());
    bytes.extend_from_slice(node.as_bytes());
    bytes.extend_from_slice(coordinator.as_bytes());
    bytes
}
