//! AdvertiseKeys, server to client.

use alloc::{sync::Arc, vec::Vec};

use super::{Advert, HEADER_LEN, header, kind, max_cohort, open};
use crate::{
    codec::{DecodeError, put_len, put_u32},
    id::ClientId,
    params::GraphKind,
    primitives::{self, label},
    session::Session,
};

/// What stands for a client in the roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: ClientId,
    /// The digest of its advert.
    pub(crate) digest: [u8; 32],
}

/// The header, degree, threshold and the number of clients.
pub(super) const FIXED_LEN: usize = HEADER_LEN + 12;

impl Entry {
    pub(super) const LEN: usize = ClientId::LEN + 32;

    pub(crate) fn of(advert: &Advert) -> Self {
        Self {
            id: advert.id,
            digest: advert.digest(),
        }
    }
}

/// AdvertiseKeys, server to client: degree and threshold, the whole roster as ids and digests of
/// adverts, strictly ascending by id, and the adverts of the receiver's neighbours.
///
/// With the complete graph the message holds all adverts, from which ids and digests follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    pub(crate) degree: u32,
    pub(crate) threshold: u32,
    pub(crate) entries: Arc<[Entry]>,
    /// Ascending by id; with the complete graph those of all clients.
    pub(crate) adverts: Arc<[Advert]>,
}

impl Roster {
    /// The number of neighbours of each client.
    #[must_use]
    pub const fn degree(&self) -> u32 {
        self.degree
    }

    /// The number of shares that open a secret.
    #[must_use]
    pub const fn threshold(&self) -> u32 {
        self.threshold
    }

    /// The clients in the roster, ascending.
    pub fn clients(&self) -> impl ExactSizeIterator<Item = ClientId> + '_ {
        self.entries.iter().map(|entry| entry.id)
    }

    /// The digest over the list of ids and advert digests, the same for all receivers of one round.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut list = Vec::with_capacity(self.entries.len() * Entry::LEN);
        self.put_entries(&mut list);
        primitives::hash(label::ROSTER, &[&list])
    }

    /// The advert of this client, if it is here.
    pub(crate) fn advert(&self, id: ClientId) -> Option<&Advert> {
        let place = self.adverts.binary_search_by_key(&id, Advert::id).ok()?;
        self.adverts.get(place)
    }

    fn put_entries(&self, out: &mut Vec<u8>) {
        for entry in self.entries.iter() {
            out.extend_from_slice(entry.id.as_bytes());
            out.extend_from_slice(&entry.digest);
        }
    }

    /// The message's bytes.
    #[must_use]
    pub fn encode(&self, session: &Session) -> Vec<u8> {
        let adverts = self.adverts.len() * Advert::len(session);
        let mut out = self.head(session, adverts);
        self.adverts.iter().for_each(|advert| advert.put(&mut out));
        out
    }

    /// The bytes before the adverts, which all receivers get, with room for so many more.
    fn head(&self, session: &Session, more: usize) -> Vec<u8> {
        let sparse = session.parameters().graph() == GraphKind::Sparse;
        let listed = if sparse { self.entries.len() } else { 0 };
        let mut out = header(session, kind::ROSTER, 12 + listed * Entry::LEN + more);
        put_u32(&mut out, self.degree);
        put_u32(&mut out, self.threshold);
        put_len(&mut out, self.entries.len());
        if sparse {
            self.put_entries(&mut out);
        }
        out
    }

    /// Of the message to each client, the bytes that all of them get.
    pub(crate) fn common_bytes(&self, session: &Session) -> Arc<[u8]> {
        match session.parameters().graph() {
            GraphKind::Complete => self.encode(session).into(),
            GraphKind::Sparse => self.head(session, 0).into(),
        }
    }

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// When the bytes are not a roster of this session, the cohort, degree or threshold is out of
    /// range, a list is not strictly ascending, or a key is invalid.
    pub fn decode(bytes: &[u8], session: &Session) -> Result<Self, DecodeError> {
        let mut reader = open(bytes, session, kind::ROSTER)?;
        let cohort = session.parameters().cohort();
        let degree = reader.count("degree", 2, *cohort.end() - 1)?;
        let threshold = reader.count("threshold", 2, *cohort.end())?;
        let count = reader.count("cohort", *cohort.start(), *cohort.end())?;
        let sparse = session.parameters().graph() == GraphKind::Sparse;
        let mut entries: Vec<Entry> = Vec::new();
        if sparse {
            for _ in 0..count {
                let entry = Entry {
                    id: ClientId::from_bytes(reader.array("client id")?),
                    digest: reader.array("digest of an advert")?,
                };
                // V-07. A client that stood there twice would count as two.
                if entries.last().is_some_and(|last| last.id >= entry.id) {
                    return Err(DecodeError::NotAscending { what: "roster" });
                }
                entries.push(entry);
            }
        }
        let mut adverts: Vec<Advert> = Vec::new();
        for _ in 0..if sparse { degree } else { count } {
            let advert = Advert::take(&mut reader, session)?;
            // V-07, for the adverts.
            if adverts.last().is_some_and(|last| last.id >= advert.id) {
                return Err(DecodeError::NotAscending { what: "roster" });
            }
            adverts.push(advert);
        }
        reader.finish()?;
        if !sparse {
            entries = adverts.iter().map(Entry::of).collect();
        }
        Ok(Self {
            degree,
            threshold,
            entries: entries.into(),
            adverts: adverts.into(),
        })
    }

    /// The most bytes that the encoding can have.
    #[must_use]
    pub fn max_encoded_len(session: &Session) -> usize {
        let each = Entry::LEN + Advert::len(session);
        FIXED_LEN + max_cohort(session) * each
    }
}
