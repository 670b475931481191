//! ShareKeys: the sealed shares of each client's two seeds.

use alloc::vec::Vec;
use core::fmt;

use super::{HEADER_LEN, header, kind, max_cohort, open};
use crate::{
    codec::{DecodeError, put_len},
    primitives::TAG_LEN,
    session::Session,
    set::Set,
};

/// Bytes of one sealed box: a share of the mask seed, a share of the self-mask seed, the seal.
pub(crate) const BOX_LEN: usize = 32 + 32 + TAG_LEN;

/// ShareKeys, client to server: one sealed box for each neighbour, in ascending order of ids.
#[derive(Clone, PartialEq, Eq)]
pub struct ShareKeys {
    pub(crate) boxes: Vec<[u8; BOX_LEN]>,
}

impl ShareKeys {
    /// The message's bytes.
    #[must_use]
    pub fn encode(&self, session: &Session) -> Vec<u8> {
        let mut out = header(session, kind::SHARE_KEYS, 4 + self.boxes.len() * BOX_LEN);
        put_len(&mut out, self.boxes.len());
        out.extend_from_slice(self.boxes.as_flattened());
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// When the bytes are not boxes of this session.
    pub fn decode(bytes: &[u8], session: &Session) -> Result<Self, DecodeError> {
        let mut reader = open(bytes, session, kind::SHARE_KEYS)?;
        let max = *session.parameters().cohort().end() - 1;
        let count = reader.count("number of boxes", 0, max)?;
        let bytes = reader.bytes("boxes", count as usize * BOX_LEN)?;
        reader.finish()?;
        Ok(Self {
            boxes: bytes.as_chunks::<BOX_LEN>().0.to_vec(),
        })
    }

    /// The most bytes that the encoding can have.
    #[must_use]
    pub fn max_encoded_len(session: &Session) -> usize {
        HEADER_LEN + 4 + (max_cohort(session) - 1) * BOX_LEN
    }
}

impl fmt::Debug for ShareKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShareKeys")
            .field("boxes", &self.boxes.len())
            .finish()
    }
}

/// ShareKeys, server to client: which of its neighbours shared their keys (U2), and the box from
/// each of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Over the receiver's neighbours, in ascending order of ids.
    pub(crate) sharers: Set,
    pub(crate) boxes: Vec<[u8; BOX_LEN]>,
}

impl Delivery {
    /// The message's bytes.
    #[must_use]
    pub fn encode(&self, session: &Session) -> Vec<u8> {
        let range = self.sharers.range();
        let body = 4 + range.div_ceil(8) + self.boxes.len() * BOX_LEN;
        let mut out = header(session, kind::DELIVERY, body);
        put_len(&mut out, range);
        self.sharers.encode(&mut out);
        out.extend_from_slice(self.boxes.as_flattened());
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// When the bytes are not a delivery of this session.
    pub fn decode(bytes: &[u8], session: &Session) -> Result<Self, DecodeError> {
        let mut reader = open(bytes, session, kind::DELIVERY)?;
        let max = *session.parameters().cohort().end() - 1;
        let range = reader.count("number of neighbours", 0, max)?;
        let sharers = Set::decode(&mut reader, "sharers", range as usize)?;
        let bytes = reader.bytes("boxes", sharers.count() * BOX_LEN)?;
        reader.finish()?;
        Ok(Self {
            sharers,
            boxes: bytes.as_chunks::<BOX_LEN>().0.to_vec(),
        })
    }

    /// The most bytes that the encoding can have.
    #[must_use]
    pub fn max_encoded_len(session: &Session) -> usize {
        let neighbours = max_cohort(session) - 1;
        HEADER_LEN + 4 + neighbours.div_ceil(8) + neighbours * BOX_LEN
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("sharers", &self.sharers)
            .finish_non_exhaustive()
    }
}
