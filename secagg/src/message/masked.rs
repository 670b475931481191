//! MaskedInput: the masked vectors, and whose count.

use alloc::vec::Vec;
use core::fmt;

use super::{HEADER_LEN, header, kind, max_cohort, open};
use crate::{
    codec::{DecodeError, put_len},
    session::Session,
    set::Set,
};

/// MaskedInput, client to server: the masked vector, bit-packed.
///
/// It keeps the bytes as they travel, so that a vector of many megabytes is never copied.
#[derive(Clone, PartialEq, Eq)]
pub struct MaskedInput {
    bytes: Vec<u8>,
}

impl MaskedInput {
    /// An empty message, with room for the packed vector that follows.
    pub(crate) fn begin(session: &Session) -> Vec<u8> {
        header(session, kind::MASKED_INPUT, session.layout().packed_len())
    }

    pub(crate) const fn from_parts(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    pub(crate) fn packed(&self) -> &[u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    /// The message's bytes, without a copy.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }

    /// The message's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes received bytes as the message, without a copy.
    ///
    /// # Errors
    ///
    /// When the bytes are not a masked vector of this session's layout.
    pub fn from_vec(bytes: Vec<u8>, session: &Session) -> Result<Self, DecodeError> {
        let mut reader = open(&bytes, session, kind::MASKED_INPUT)?;
        for segment in session.layout().segments() {
            let packed = reader.bytes("masked segment", segment.packed_len())?;
            // V-25. Bits behind the end would be a channel beside the vector.
            let padding = segment.padding_bits();
            if packed
                .last()
                .is_some_and(|byte| u16::from(*byte) >> (8 - padding) != 0)
            {
                return Err(DecodeError::NonCanonical {
                    what: "masked segment",
                });
            }
        }
        reader.finish()?;
        Ok(Self { bytes })
    }

    /// Bytes of the encoding.
    #[must_use]
    pub fn encoded_len(session: &Session) -> usize {
        HEADER_LEN + session.layout().packed_len()
    }
}

impl fmt::Debug for MaskedInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskedInput")
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// MaskedInput, server to client: the clients whose masked vectors count (U3), fixed from here on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivors {
    /// Over the roster.
    pub(crate) set: Set,
}

impl Survivors {
    /// How many clients are in the sum.
    #[must_use]
    pub fn count(&self) -> usize {
        self.set.count()
    }

    /// The message's bytes.
    #[must_use]
    pub fn encode(&self, session: &Session) -> Vec<u8> {
        let mut out = header(session, kind::SURVIVORS, 4 + self.set.range().div_ceil(8));
        put_len(&mut out, self.set.range());
        self.set.encode(&mut out);
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// When the bytes are not a survivor set of this session.
    pub fn decode(bytes: &[u8], session: &Session) -> Result<Self, DecodeError> {
        let mut reader = open(bytes, session, kind::SURVIVORS)?;
        let cohort = session.parameters().cohort();
        let range = reader.count("cohort", *cohort.start(), *cohort.end())?;
        let set = Set::decode(&mut reader, "survivors", range as usize)?;
        reader.finish()?;
        Ok(Self { set })
    }

    /// The most bytes that the encoding can have.
    #[must_use]
    pub fn max_encoded_len(session: &Session) -> usize {
        HEADER_LEN + 4 + max_cohort(session).div_ceil(8)
    }
}
