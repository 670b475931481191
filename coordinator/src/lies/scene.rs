//! One attempt of a lying coordinator: the messages of the protocol as its nodes get them.
//!
//! What is changed here is what the protocol's own types do not give away: bytes, at the places
//! where `specs/secagg.md` puts them. Every message begins with version, kind and the first 16
//! bytes of the session id.

use std::collections::BTreeMap;

use secagg::{Advert, ClientId, Roster, Session};
use secagg_wire::phase::Phase;

use super::Lie;
use crate::round::Announcement;

/// Bytes in front of a message's own.
const HEADER: usize = 18;

/// Where the session id stands in them.
const TAG: std::ops::Range<usize> = 2..HEADER;

/// The kind of the message that hands signatures to a client.
const SIGNATURES: u8 = 9;

/// Bytes of degree, threshold and cohort, in front of a roster's adverts.
const ROSTER: usize = 12;

/// Mask key and channel key in an advert.
const KEYS: std::ops::Range<usize> = ClientId::LEN..ClientId::LEN + 64;

/// Mask key and channel key whose secrets are 1 and 2 (RFC 9496, appendix A.1): with them the
/// coordinator would know the masks between the victim and each other node, and read what they seal
/// for it.
const OWN_KEYS: [[u8; 32]; 2] = [
    [
        0xe2, 0xf2, 0xae, 0x0a, 0x6a, 0xbc, 0x4e, 0x71, 0xa8, 0x84, 0xa9, 0x61, 0xc5, 0x00, 0x51,
        0x5f, 0x58, 0xe3, 0x0b, 0x6a, 0xa5, 0x82, 0xdd, 0x8d, 0xb6, 0xa6, 0x59, 0x45, 0xe0, 0x8d,
        0x2d, 0x76,
    ],
    [
        0x6a, 0x49, 0x32, 0x10, 0xf7, 0x49, 0x9c, 0xd1, 0x7f, 0xec, 0xb5, 0x10, 0xae, 0x0c, 0xea,
        0x23, 0xa1, 0x10, 0xe8, 0xd5, 0xb9, 0x01, 0xf8, 0xac, 0xad, 0xd3, 0x09, 0x5c, 0x73, 0xa3,
        0xb9, 0x19,
    ],
];

/// A message for a node, and the phase that it opens.
type Answer = (ClientId, Phase, Vec<u8>);

#[derive(Clone, Debug)]
pub(super) struct Scene {
    lie: Lie,
    session: Session,
    victim: ClientId,
    /// The session in which the victim believes to be, as its messages name it.
    victims_tag: Vec<u8>,
    /// Ascending, from the roster on.
    clients: Vec<ClientId>,
    /// As the protocol's server has fixed them.
    survivors: Vec<u8>,
    signatures: BTreeMap<ClientId, Vec<u8>>,
}

impl Scene {
    pub(super) fn new(lie: Lie, announcement: &Announcement, victim: ClientId) -> Self {
        Self {
            lie,
            session: announcement.session.clone(),
            victim,
            victims_tag: Vec::new(),
            clients: Vec::new(),
            survivors: Vec::new(),
            signatures: BTreeMap::new(),
        }
    }

    pub(super) const fn victim(&self) -> ClientId {
        self.victim
    }

    /// What a node gets instead of this message.
    pub(super) fn tell(&mut self, client: ClientId, phase: Phase, mut body: Vec<u8>) -> Vec<u8> {
        match phase {
            Phase::ShareKeys => {
                if let Ok(roster) = Roster::decode(&body, &self.session) {
                    self.clients = roster.clients().collect();
                }
            }
            Phase::ConsistencyCheck => self.survivors.clone_from(&body),
            _ => {}
        }
        let to_victim = client == self.victim;
        match (self.lie, phase) {
            (Lie::DifferentModels, _) if to_victim => relabel(&mut body, &self.victims_tag),
            (Lie::SwappedKey, Phase::ShareKeys) if !to_victim => self.swap_keys(&mut body),
            (Lie::WithheldBoxes, Phase::MaskedInput) if !to_victim => {
                body = self.without_box(client, &body).unwrap_or(body);
            }
            (Lie::DifferentSurvivors, Phase::ConsistencyCheck) if !self.is_told_all(client) => {
                body = self.without_victim();
            }
            _ => {}
        }
        body
    }

    /// What the coordinator takes a node to have said, if anything, and what it answers at once.
    pub(super) fn hear(
        &mut self,
        client: ClientId,
        phase: Phase,
        mut body: Vec<u8>,
    ) -> (Option<Vec<u8>>, Vec<Answer>) {
        let victims = client == self.victim;
        match (self.lie, phase) {
            (Lie::DifferentModels, _) if victims => {
                self.victims_tag = body.get(TAG).unwrap_or_default().to_vec();
                let tag = self.session.id().as_bytes();
                relabel(&mut body, tag);
            }
            (Lie::DifferentSurvivors, Phase::ConsistencyCheck) => {
                let signature = body.get(HEADER..).unwrap_or_default();
                self.signatures.insert(client, signature.to_vec());
                let signed = self.signatures.len() == self.clients.len();
                let everybody = self.clients.iter().filter(|_| signed);
                let answer = |client: &ClientId| {
                    let signatures = self.all_signatures(*client);
                    (*client, Phase::Unmask, signatures)
                };
                // The protocol's own server would not take those on the other set.
                return (None, everybody.map(answer).collect());
            }
            // Kept from the protocol's own server, which would go on with the first set.
            (Lie::SecondSurvivors, Phase::ConsistencyCheck) => {
                return (None, vec![self.second_survivors(client)]);
            }
            (Lie::BothShares, Phase::Unmask) if !victims => {
                return (Some(body), vec![self.second_survivors(client)]);
            }
            _ => {}
        }
        (Some(body), Vec::new())
    }

    /// Puts the coordinator's own keys into the victim's advert.
    fn swap_keys(&self, roster: &mut [u8]) {
        let len = Advert::max_encoded_len(&self.session) - HEADER;
        let rank = self.clients.iter().position(|id| *id == self.victim);
        let advert = rank.map_or(usize::MAX, |rank| HEADER + ROSTER + rank * len);
        let advert = roster.get_mut(advert..).unwrap_or_default();
        if let Some(keys) = advert.get_mut(KEYS) {
            keys.copy_from_slice(OWN_KEYS.as_flattened());
        }
    }

    /// A delivery without the victim's box: it seems to have shared no keys.
    fn without_box(&self, client: ClientId, delivery: &[u8]) -> Option<Vec<u8>> {
        let position = self.neighbours(client).position(|id| id == self.victim)?;
        let boxes = HEADER + 4 + self.neighbours(client).count().div_ceil(8);
        let (before, boxes) = delivery.split_at_checked(boxes)?;
        let mut changed = before.to_vec();
        let sharers = changed.get_mut(HEADER + 4..)?;
        let count = sharers.iter().map(|byte| byte.count_ones() as usize).sum();
        let each = boxes.len().checked_div(count).filter(|each| *each > 0)?;
        // Everybody has shared: a box stands where its sender does.
        *sharers.get_mut(position / 8)? &= !(1 << (position % 8));
        let kept = boxes.chunks(each).enumerate();
        let kept = kept.filter(|(place, _)| *place != position);
        changed.extend(kept.flat_map(|(_, sealed)| sealed));
        Some(changed)
    }

    fn second_survivors(&self, client: ClientId) -> Answer {
        (client, Phase::ConsistencyCheck, self.without_victim())
    }

    /// The survivors, but for the victim.
    fn without_victim(&self) -> Vec<u8> {
        let mut survivors = self.survivors.clone();
        let rank = self.clients.iter().position(|id| *id == self.victim);
        if let Some(rank) = rank
            && let Some(byte) = survivors.get_mut(HEADER + 4 + rank / 8)
        {
            *byte &= !(1 << (rank % 8));
        }
        survivors
    }

    /// Whether this node is among those that are told of all survivors: the victim, who would not
    /// sign another set, and less than half of the others.
    fn is_told_all(&self, client: ClientId) -> bool {
        let few = self.clients.len().saturating_sub(2) / 2;
        let mut first = self.neighbours(self.victim).take(few);
        client == self.victim || first.any(|id| id == client)
    }

    /// The message with the signatures of all other nodes, whatever they have signed.
    fn all_signatures(&self, client: ClientId) -> Vec<u8> {
        let mut message = self.survivors.get(..HEADER).unwrap_or_default().to_vec();
        if let Some(kind) = message.get_mut(1) {
            *kind = SIGNATURES;
        }
        let range = self.neighbours(client).count();
        message.extend(u32::try_from(range).unwrap_or(u32::MAX).to_le_bytes());
        let mut signers = vec![0_u8; range.div_ceil(8)];
        for position in 0..range {
            signers[position / 8] |= 1 << (position % 8);
        }
        message.extend(signers);
        let signatures = self
            .neighbours(client)
            .filter_map(|id| self.signatures.get(&id));
        message.extend(signatures.flatten());
        message
    }

    /// Everybody else, ascending: the graph is complete.
    fn neighbours(&self, client: ClientId) -> impl Iterator<Item = ClientId> {
        self.clients.iter().copied().filter(move |id| *id != client)
    }
}

/// Makes a message one of the session that this id, or its beginning, names.
fn relabel(message: &mut [u8], session: &[u8]) {
    if let Some(tag) = message.get_mut(TAG) {
        for (to, from) in tag.iter_mut().zip(session) {
            *to = *from;
        }
    }
}
