//! How long the messages of a round are.

use super::{
    Advert, BOX_LEN, ConsistencyCheck, Entry, HEADER_LEN, MaskedInput, roster, unmask::UnmaskShares,
};
use crate::{
    identity::SIGNATURE_LEN,
    params::{GraphKind, ThreatModel},
    session::Session,
};

/// The bytes of one client's messages in a round in which nobody is lost, by phase. Framing and
/// transport come on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// AdvertiseKeys, up: keys and commitment.
    pub advert: u64,
    /// AdvertiseKeys, down: the roster and the neighbours' adverts.
    pub roster: u64,
    /// ShareKeys, up: a box for each neighbour.
    pub share_keys: u64,
    /// ShareKeys, down: a box from each neighbour.
    pub delivery: u64,
    /// MaskedInput, up: the vector.
    pub masked_input: u64,
    /// MaskedInput, down: the survivors.
    pub survivors: u64,
    /// ConsistencyCheck, up: the signature; 0 where the server is trusted to follow the protocol.
    pub consistency_check: u64,
    /// ConsistencyCheck, down: signatures of as many neighbours as the threshold asks for; 0 where the server is trusted.
    pub signatures: u64,
    /// Unmask, up: a share for each neighbour.
    pub unmask_shares: u64,
}

impl Traffic {
    /// The traffic of one client in a session, with so many clients in the roster (n),
    /// neighbours of each (k), and shares that open a secret (t).
    ///
    /// Numbers outside of the session's range are taken as they are: no message is made.
    #[must_use]
    pub fn new(session: &Session, cohort: u32, degree: u32, threshold: u32) -> Self {
        let (n, k) = (cohort as usize, degree as usize);
        let bits = |range: usize| 4 + range.div_ceil(8);
        let complete = session.parameters().graph() == GraphKind::Complete;
        let (entries, adverts) = if complete { (0, n) } else { (n, k) };
        let roster = roster::FIXED_LEN + entries * Entry::LEN + adverts * Advert::len(session);
        let checked = session.parameters().threat_model() == ThreatModel::Malicious;
        let if_checked = |len: usize| if checked { len as u64 } else { 0 };
        Self {
            advert: Advert::max_encoded_len(session) as u64,
            roster: roster as u64,
            share_keys: (HEADER_LEN + 4 + k * BOX_LEN) as u64,
            delivery: (HEADER_LEN + bits(k) + k * BOX_LEN) as u64,
            masked_input: MaskedInput::encoded_len(session) as u64,
            survivors: (HEADER_LEN + bits(n)) as u64,
            consistency_check: if_checked(ConsistencyCheck::max_encoded_len(session)),
            signatures: if_checked(HEADER_LEN + bits(k) + threshold as usize * SIGNATURE_LEN),
            unmask_shares: (HEADER_LEN + 4 + k * UnmaskShares::SHARE_LEN) as u64,
        }
    }

    /// What the client sends.
    #[must_use]
    pub const fn up(&self) -> u64 {
        self.advert
            + self.share_keys
            + self.masked_input
            + self.consistency_check
            + self.unmask_shares
    }

    /// What the client receives.
    #[must_use]
    pub const fn down(&self) -> u64 {
        self.roster + self.delivery + self.survivors + self.signatures
    }
}
