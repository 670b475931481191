//! Unmask: the shares that open the sum.

use alloc::vec::Vec;

use super::{HEADER_LEN, header, kind, max_cohort, open};
use crate::{
    codec::{DecodeError, put_len},
    secret::Share,
    session::Session,
};

/// What a client reveals about one neighbour: never both.
#[derive(Debug)]
pub(crate) enum Revealed {
    /// The neighbour's box did not open: there is no share to give.
    Nothing,
    /// A share of the self-mask seed of a survivor.
    SelfMask(Share),
    /// A share of the mask seed of a client that was lost after it shared its keys.
    MaskSeed(Share),
}

/// Unmask, client to server: one share for each neighbour in the client's U2, in ascending order
/// of ids.
#[derive(Debug)]
pub struct UnmaskShares {
    pub(crate) shares: Vec<Revealed>,
}

impl UnmaskShares {
    /// A kind and a share.
    pub(super) const SHARE_LEN: usize = 1 + 32;

    const NOTHING: u8 = 0;
    const SELF_MASK: u8 = 1;
    const MASK_SEED: u8 = 2;

    /// The message's bytes.
    #[must_use]
    pub fn encode(&self, session: &Session) -> Vec<u8> {
        let mut out = header(
            session,
            kind::UNMASK_SHARES,
            4 + self.shares.len() * Self::SHARE_LEN,
        );
        put_len(&mut out, self.shares.len());
        for share in &self.shares {
            match share {
                Revealed::Nothing => out.push(Self::NOTHING),
                Revealed::SelfMask(share) => {
                    out.push(Self::SELF_MASK);
                    out.extend_from_slice(share.as_bytes());
                }
                Revealed::MaskSeed(share) => {
                    out.push(Self::MASK_SEED);
                    out.extend_from_slice(share.as_bytes());
                }
            }
        }
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// When the bytes are not shares of this session.
    pub fn decode(bytes: &[u8], session: &Session) -> Result<Self, DecodeError> {
        let mut reader = open(bytes, session, kind::UNMASK_SHARES)?;
        let max = *session.parameters().cohort().end() - 1;
        let count = reader.count("number of shares", 0, max)?;
        let mut shares = Vec::new();
        for _ in 0..count {
            shares.push(match reader.u8("kind of share")? {
                Self::NOTHING => Revealed::Nothing,
                Self::SELF_MASK => Revealed::SelfMask(Share::from_bytes(reader.array("share")?)),
                Self::MASK_SEED => Revealed::MaskSeed(Share::from_bytes(reader.array("share")?)),
                other => {
                    return Err(DecodeError::OutOfRange {
                        what: "kind of share",
                        value: other.into(),
                        min: Self::NOTHING.into(),
                        max: Self::MASK_SEED.into(),
                    });
                }
            });
        }
        reader.finish()?;
        Ok(Self { shares })
    }

    /// The most bytes that the encoding can have.
    #[must_use]
    pub fn max_encoded_len(session: &Session) -> usize {
        HEADER_LEN + 4 + (max_cohort(session) - 1) * Self::SHARE_LEN
    }
}
