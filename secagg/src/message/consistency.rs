//! ConsistencyCheck: that clients were told the same survivors.

use alloc::vec::Vec;

use super::{HEADER_LEN, header, kind, max_cohort, open};
use crate::{
    codec::{DecodeError, put_len},
    identity::{IdentityKey, SIGNATURE_LEN, SignatureBytes, SigningIdentity},
    primitives::label,
    session::{RoundId, Session},
    set::Set,
};

/// ConsistencyCheck, client to server: the client's one signature on the survivor set that it was
/// told, for this round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyCheck {
    pub(crate) signature: SignatureBytes,
}

impl ConsistencyCheck {
    pub(crate) fn sign(key: &SigningIdentity, round: &RoundId, survivors: &Set) -> Self {
        let parts: [&[u8]; 2] = [round.as_bytes(), survivors.as_bytes()];
        Self {
            signature: key.sign(label::SURVIVORS_SIGNATURE, &parts),
        }
    }

    /// The message's bytes.
    #[must_use]
    pub fn encode(&self, session: &Session) -> Vec<u8> {
        let mut out = header(session, kind::CONSISTENCY_CHECK, SIGNATURE_LEN);
        out.extend_from_slice(&self.signature);
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// When the bytes are not a consistency check of this session. Whether the signature is valid
    /// is not checked here.
    pub fn decode(bytes: &[u8], session: &Session) -> Result<Self, DecodeError> {
        let mut reader = open(bytes, session, kind::CONSISTENCY_CHECK)?;
        let signature = reader.array("signature")?;
        reader.finish()?;
        Ok(Self { signature })
    }

    /// Bytes of the encoding.
    #[must_use]
    pub const fn max_encoded_len(_session: &Session) -> usize {
        HEADER_LEN + SIGNATURE_LEN
    }
}

/// Whether the owner of this identity has signed this survivor set in this round.
pub(crate) fn has_signed(
    key: IdentityKey,
    round: &RoundId,
    survivors: &Set,
    signature: &SignatureBytes,
) -> bool {
    let parts: [&[u8]; 2] = [round.as_bytes(), survivors.as_bytes()];
    key.verifies(label::SURVIVORS_SIGNATURE, &parts, signature)
}

/// ConsistencyCheck, server to client: which of its neighbours have signed the survivor set, and
/// their signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signatures {
    /// Over the receiver's neighbours, in ascending order of ids.
    pub(crate) signers: Set,
    pub(crate) signatures: Vec<SignatureBytes>,
}

impl Signatures {
    /// The message's bytes.
    #[must_use]
    pub fn encode(&self, session: &Session) -> Vec<u8> {
        let range = self.signers.range();
        let body = 4 + range.div_ceil(8) + self.signatures.len() * SIGNATURE_LEN;
        let mut out = header(session, kind::SIGNATURES, body);
        put_len(&mut out, range);
        self.signers.encode(&mut out);
        out.extend_from_slice(self.signatures.as_flattened());
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// When the bytes are not signatures of this session.
    pub fn decode(bytes: &[u8], session: &Session) -> Result<Self, DecodeError> {
        let mut reader = open(bytes, session, kind::SIGNATURES)?;
        let max = *session.parameters().cohort().end() - 1;
        let range = reader.count("number of neighbours", 0, max)?;
        let signers = Set::decode(&mut reader, "signers", range as usize)?;
        let bytes = reader.bytes("signatures", signers.count() * SIGNATURE_LEN)?;
        reader.finish()?;
        Ok(Self {
            signers,
            signatures: bytes.as_chunks::<SIGNATURE_LEN>().0.to_vec(),
        })
    }

    /// The most bytes that the encoding can have.
    #[must_use]
    pub fn max_encoded_len(session: &Session) -> usize {
        let neighbours = max_cohort(session) - 1;
        HEADER_LEN + 4 + neighbours.div_ceil(8) + neighbours * SIGNATURE_LEN
    }
}
