//! The messages of each round, in both directions.
//!
//! Every message begins with the version of the encoding, its kind, and the first 16 bytes of the
//! session id, so that a message of another round or session is refused as such. Numbers are
//! little-endian. Nothing in a message says who sent it, but for the id in an advert, which the
//! server compares with the authenticated sender.

mod advert;
mod consistency;
mod masked;
mod roster;
mod shares;
mod traffic;
mod unmask;

use alloc::vec::Vec;

pub use self::{
    advert::{Advert, AdvertError},
    consistency::{ConsistencyCheck, Signatures},
    masked::{MaskedInput, Survivors},
    roster::Roster,
    shares::{Delivery, ShareKeys},
    traffic::Traffic,
    unmask::UnmaskShares,
};
pub(crate) use self::{consistency::has_signed, roster::Entry, shares::BOX_LEN, unmask::Revealed};
use crate::{
    codec::{DecodeError, Reader},
    session::Session,
};

const VERSION: u8 = 1;
const TAG_BYTES: usize = 16;
const HEADER_LEN: usize = 2 + TAG_BYTES;

mod kind {
    pub(super) const ADVERT: u8 = 1;
    pub(super) const ROSTER: u8 = 2;
    pub(super) const SHARE_KEYS: u8 = 3;
    pub(super) const DELIVERY: u8 = 4;
    pub(super) const MASKED_INPUT: u8 = 5;
    pub(super) const SURVIVORS: u8 = 6;
    pub(super) const UNMASK_SHARES: u8 = 7;
    pub(super) const CONSISTENCY_CHECK: u8 = 8;
    pub(super) const SIGNATURES: u8 = 9;
}

fn header(session: &Session, kind: u8, body: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + body);
    out.push(VERSION);
    out.push(kind);
    out.extend(session.id().as_bytes().iter().take(TAG_BYTES));
    out
}

fn open<'a>(bytes: &'a [u8], session: &Session, expected: u8) -> Result<Reader<'a>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let found = reader.u8("version")?;
    if found != VERSION {
        return Err(DecodeError::UnsupportedVersion { found });
    }
    let found = reader.u8("message kind")?;
    if found != expected {
        return Err(DecodeError::WrongKind { expected, found });
    }
    // V-24. A message of another session is named as a replay instead of failing later and vaguely.
    if !session
        .id()
        .as_bytes()
        .starts_with(&reader.array::<TAG_BYTES>("session tag")?)
    {
        return Err(DecodeError::OtherSession);
    }
    Ok(reader)
}

fn max_cohort(session: &Session) -> usize {
    *session.parameters().cohort().end() as usize
}
