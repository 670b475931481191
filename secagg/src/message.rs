//! The messages of each round, in both directions.
//!
//! Every message begins with the version of the encoding, its kind, and the first 16 bytes of the
//! session id, so that a message of another round or session is refused as such. Numbers are
//! little-endian. Nothing in a message says who sent it, but for the id in an advert, which the
//! server compares with the authenticated sender.

use alloc::vec::Vec;
use core::fmt;

use crate::{
    codec::{DecodeError, Reader, put_len, put_u32},
    id::ClientId,
    primitives::{self, PublicKey, TAG_LEN, label},
    secret::Share,
    session::Session,
    set::Set,
};

const VERSION: u8 = 1;
const TAG_BYTES: usize = 16;
const HEADER_LEN: usize = 2 + TAG_BYTES;

/// Bytes of one sealed box: a share of the mask seed, a share of the self-mask seed, the seal.
pub(crate) const BOX_LEN: usize = 32 + 32 + TAG_LEN;

mod kind {
    pub(super) const ADVERT: u8 = 1;
    pub(super) const ROSTER: u8 = 2;
    pub(super) const SHARE_KEYS: u8 = 3;
    pub(super) const DELIVERY: u8 = 4;
    pub(super) const MASKED_INPUT: u8 = 5;
    pub(super) const SURVIVORS: u8 = 6;
    pub(super) const UNMASK_SHARES: u8 = 7;
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
    // A message of another session is named as a replay instead of failing later and vaguely.
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

/// AdvertiseKeys, client to server: who the client is, its two public keys, and the commitment to
/// its self-mask seed. The commitment to its mask seed is the mask key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    pub(crate) id: ClientId,
    pub(crate) mask_key: PublicKey,
    pub(crate) channel_key: PublicKey,
    pub(crate) self_mask_commitment: [u8; 32],
}

impl Advert {
    const LEN: usize = ClientId::LEN + 3 * 32;

    /// The id that the advert claims; the server compares it with the authenticated sender.
    #[must_use]
    pub const fn id(&self) -> ClientId {
        self.id
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(self.mask_key.as_bytes());
        out.extend_from_slice(self.channel_key.as_bytes());
        out.extend_from_slice(&self.self_mask_commitment);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = ClientId::from_bytes(reader.array("client id")?);
        let mut key = |what| {
            PublicKey::from_bytes(reader.array(what)?).ok_or(DecodeError::InvalidPoint { what })
        };
        let mask_key = key("mask key")?;
        let channel_key = key("channel key")?;
        let self_mask_commitment = reader.array("self-mask commitment")?;
        Ok(Self {
            id,
            mask_key,
            channel_key,
            self_mask_commitment,
        })
    }

    /// The digest that stands for this advert in the roster.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut bytes = Vec::with_capacity(Self::LEN);
        self.put(&mut bytes);
        primitives::hash(label::ADVERT, &[&bytes])
    }

    /// The message's bytes.
    #[must_use]
    pub fn encode(&self, session: &Session) -> Vec<u8> {
        let mut out = header(session, kind::ADVERT, Self::LEN);
        self.put(&mut out);
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// When the bytes are not an advert of this session, or a key is no group element or the
    /// identity.
    pub fn decode(bytes: &[u8], session: &Session) -> Result<Self, DecodeError> {
        let mut reader = open(bytes, session, kind::ADVERT)?;
        let advert = Self::take(&mut reader)?;
        reader.finish()?;
        Ok(advert)
    }

    /// Bytes of the encoding.
    #[must_use]
    pub const fn max_encoded_len(_session: &Session) -> usize {
        HEADER_LEN + Self::LEN
    }
}

/// AdvertiseKeys, server to client: the threshold and the adverts of the roster, strictly
/// ascending by id, so that nobody stands in it twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    pub(crate) threshold: u32,
    pub(crate) adverts: Vec<Advert>,
}

impl Roster {
    /// The number of shares that open a secret.
    #[must_use]
    pub const fn threshold(&self) -> u32 {
        self.threshold
    }

    /// The clients in the roster, ascending.
    pub fn clients(&self) -> impl ExactSizeIterator<Item = ClientId> + '_ {
        self.adverts.iter().map(Advert::id)
    }

    /// The digest over the list of ids and advert digests.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut list = Vec::with_capacity(self.adverts.len() * (ClientId::LEN + 32));
        for advert in &self.adverts {
            list.extend_from_slice(advert.id.as_bytes());
            list.extend_from_slice(&advert.digest());
        }
        primitives::hash(label::ROSTER, &[&list])
    }

    /// The message's bytes.
    #[must_use]
    pub fn encode(&self, session: &Session) -> Vec<u8> {
        let mut out = header(session, kind::ROSTER, 8 + self.adverts.len() * Advert::LEN);
        put_u32(&mut out, self.threshold);
        put_len(&mut out, self.adverts.len());
        self.adverts.iter().for_each(|advert| advert.put(&mut out));
        out
    }

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// When the bytes are not a roster of this session, the cohort or threshold is out of range,
    /// the list is not strictly ascending, or a key is invalid.
    pub fn decode(bytes: &[u8], session: &Session) -> Result<Self, DecodeError> {
        let mut reader = open(bytes, session, kind::ROSTER)?;
        let cohort = session.parameters().cohort();
        let threshold = reader.count("threshold", 2, *cohort.end())?;
        let count = reader.count("cohort", *cohort.start(), *cohort.end())?;
        let mut adverts: Vec<Advert> = Vec::new();
        for _ in 0..count {
            let advert = Advert::take(&mut reader)?;
            if adverts.last().is_some_and(|last| last.id >= advert.id) {
                return Err(DecodeError::NotAscending { what: "roster" });
            }
            adverts.push(advert);
        }
        reader.finish()?;
        Ok(Self { threshold, adverts })
    }

    /// The most bytes that the encoding can have.
    #[must_use]
    pub fn max_encoded_len(session: &Session) -> usize {
        HEADER_LEN + 8 + max_cohort(session) * Advert::LEN
    }
}

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
    const NOTHING: u8 = 0;
    const SELF_MASK: u8 = 1;
    const MASK_SEED: u8 = 2;

    /// The message's bytes.
    #[must_use]
    pub fn encode(&self, session: &Session) -> Vec<u8> {
        let mut out = header(session, kind::UNMASK_SHARES, 4 + self.shares.len() * 33);
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
        HEADER_LEN + 4 + (max_cohort(session) - 1) * 33
    }
}
