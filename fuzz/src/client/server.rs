//! What an arbitrary server shows one client.

use std::sync::OnceLock;

use secagg::{
    Advert, ClientId, Credential, GraphKind, Policy, Roster, Session, Survivors, ThreatModel,
    Trust, client::AwaitRoster, fuzzing, server::CollectAdverts,
};

use crate::{
    choices::Choices,
    cohort::{self, people},
};

/// Bytes of an advert: id, two keys, commitment; credential and signature.
fn advert_len(session: &Session) -> usize {
    match session.parameters().threat_model() {
        ThreatModel::HonestButCurious => 112,
        _ => 112 + Credential::LEN + 64,
    }
}

/// A roster that holds the client, others, and inventions: what a server would make of such
/// adverts, then perhaps with bytes changed. `None` where no server can make one.
pub(super) fn roster(
    session: &Session,
    client: usize,
    own: &Advert,
    choices: &mut Choices<'_>,
) -> Option<Vec<u8>> {
    // The clients themselves decide whom they believe.
    let mut server = CollectAdverts::new(session.clone(), None);
    let present = choices.byte();
    for other in 0..people().len() {
        let mut advert = own.encode(session);
        if other != client {
            if present >> (other % 8) & 1 == 1 {
                continue;
            }
            advert = honest_advert(session, other);
        }
        let change = choices.byte();
        if change >= 0xd0 {
            invent(session, &mut advert, choices);
        }
        let Ok(advert) = Advert::decode(&advert, session) else {
            return None;
        };
        // A cohort that is full already, or an id that stands there: left out.
        let _ = server.receive(advert.id(), advert);
    }
    let cohort = server.tally().have;
    let degree = match choices.byte() {
        0..0x80 => cohort.saturating_sub(1) as u32,
        byte => 2 * (1 + u32::from(byte % 4)),
    };
    let threshold = match choices.byte() {
        0..0x80 => degree,
        byte => 2 + u32::from(byte % 8),
    };
    let server = server.close(degree, threshold).ok()?;
    let mut roster = server.roster_for(people()[client].id)?.encode(session);
    match choices.byte() {
        0..0xd0 => {}
        // Degree, threshold and size as numbers of their own.
        byte @ 0xd0..0xf0 => roster[18 + 4 * usize::from(byte % 3)] = choices.byte(),
        _ => choices.spoil(&mut roster),
    }
    Some(roster)
}

/// The advert of an honest client: it has the same coins in each round.
fn honest_advert(session: &Session, client: usize) -> Vec<u8> {
    /// Of each session the id, and the adverts of all.
    type Adverts = Vec<([u8; 32], Vec<Vec<u8>>)>;
    static ADVERTS: OnceLock<Adverts> = OnceLock::new();
    let all = ADVERTS.get_or_init(|| {
        let advert = |session: &Session, client: usize| {
            let member = people()[client].member.clone();
            let policy = Policy {
                threat_model: ThreatModel::HonestButCurious,
                ..Policy::default()
            };
            let mut coins = cohort::coins(client, 1);
            let started = AwaitRoster::start(session.clone(), member, policy, &mut coins);
            started.expect("within the policy").1.encode(session)
        };
        let of_session = |session: &Session| {
            let adverts = (0..people().len()).map(|client| advert(session, client));
            (*session.id().as_bytes(), adverts.collect())
        };
        cohort::sessions().iter().map(of_session).collect()
    });
    let of_session = all.iter().find(|(id, _)| id == session.id().as_bytes());
    of_session.expect("one of the sessions").1[client].clone()
}

/// Keys and commitments that are swapped or changed, an identity of the server's own, signed by
/// whoever is corrupt.
fn invent(session: &Session, advert: &mut [u8], choices: &mut Choices<'_>) {
    let signed = session.parameters().threat_model() == ThreatModel::Malicious;
    let body = &mut advert[18..];
    match choices.below(6) {
        0 => body[16..80].rotate_left(32),
        1 => body[80..112].copy_from_slice(&choices.array::<32>()),
        2 => body[..16].copy_from_slice(&choices.array::<16>()),
        3 if signed => {
            let key: [u8; 32] = choices.array();
            let id = ClientId::from_identity_key(&key);
            body[..16].copy_from_slice(id.as_bytes());
            body[112..144].copy_from_slice(&key);
        }
        4 if signed => body[112 + choices.below(136)] ^= choices.byte(),
        _ => body[choices.below(112)] ^= choices.byte(),
    }
    // Forged signatures: the credential's, the advert's, both or none.
    let forged = choices.byte();
    let len = body.len();
    if signed && forged & 1 == 0 {
        body[len - 64..].fill(0);
    }
    if signed && forged & 2 == 0 {
        body[len - 128..len - 64].fill(0);
    }
}

/// What a client was shown, read from the bytes.
pub(super) struct Shown {
    pub(super) cohort: usize,
    pub(super) degree: usize,
    pub(super) threshold: usize,
    /// The client's own rank.
    pub(super) rank: usize,
    /// The ranks of its neighbours, ascending.
    pub(super) neighbours: Vec<usize>,
    ids: Vec<ClientId>,
    pub(super) adverts: Adverts,
}

/// The adverts of a roster.
pub(super) struct Adverts {
    bytes: Vec<u8>,
    len: usize,
    /// With the complete graph the client's own is among them.
    own: Option<Vec<u8>>,
}

impl Adverts {
    fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(self.len)
    }

    pub(super) fn contains(&self, advert: &[u8]) -> bool {
        self.own.is_none() || self.each().any(|one| one == advert)
    }
}

impl Shown {
    pub(super) fn new(session: &Session, client: usize, message: &[u8]) -> Self {
        let number = |i: usize| {
            let bytes = message[18 + 4 * i..].first_chunk().expect("three numbers");
            u32::from_le_bytes(*bytes) as usize
        };
        let (degree, threshold, cohort) = (number(0), number(1), number(2));
        let sparse = session.parameters().graph() == GraphKind::Sparse;
        let lists = &message[30..];
        let (list, adverts) = lists.split_at(if sparse { 48 * cohort } else { 0 });
        let len = advert_len(session);
        let own_id = people()[client].id;
        let id = |bytes: &[u8]| {
            ClientId::from_bytes(*bytes.first_chunk().expect("an id is 16 bytes long"))
        };
        let ids: Vec<ClientId> = match sparse {
            true => list.chunks(48).map(id).collect(),
            false => adverts.chunks(len).map(id).collect(),
        };
        let rank_of = |id: ClientId| ids.binary_search(&id).expect("in the roster");
        let neighbours = adverts.chunks(len).map(id).filter(|id| *id != own_id);
        let own = adverts.chunks(len).find(|advert| id(advert) == own_id);
        Self {
            cohort,
            degree,
            threshold,
            rank: rank_of(own_id),
            neighbours: neighbours.map(rank_of).collect(),
            adverts: Adverts {
                bytes: adverts.to_vec(),
                len,
                own: own.map(<[u8]>::to_vec),
            },
            ids,
        }
    }

    /// The roster is within the policy, and the neighbours are believed.
    pub(super) fn within(&self, session: &Session, policy: &Policy) {
        let parameters = session.parameters();
        assert!(self.cohort >= policy.min_cohort as usize && self.cohort == self.ids.len());
        assert!(parameters.cohort().contains(&(self.cohort as u32)));
        assert!(self.ids.is_sorted_by(|a, b| a < b));
        assert!(cohort::has_degree(
            parameters.graph(),
            self.cohort,
            self.degree
        ));
        assert_eq!(self.neighbours.len(), self.degree);
        let model = parameters.threat_model();
        let floor = secagg::min_threshold(
            model,
            self.cohort as u32,
            self.degree as u32,
            policy.max_corrupt,
            policy
                .security_bits
                .min(secagg::security_bits(model))
                .into(),
        );
        assert!((floor as usize..=self.degree).contains(&self.threshold));
        if model == ThreatModel::HonestButCurious {
            return;
        }
        if self.degree + 1 == self.cohort {
            let corrupt = policy.max_corrupt as usize + 1;
            assert!(2 * self.threshold >= self.degree + corrupt, "overlap");
        }
        let len = self.adverts.len;
        for advert in self.adverts.each() {
            let credential = &advert[112..112 + Credential::LEN];
            let credential = Credential::decode(credential).expect("any bytes are one");
            assert!(advert.starts_with(credential.client_id().as_bytes()));
            assert_eq!(cohort::trust().verify(&credential), Ok(()));
            // What an advert's signature covers, and the signature; the credential has its own.
            let signed = |advert: &[u8]| (advert[..112].to_vec(), advert[len - 64..].to_vec());
            let honest = (0..people().len())
                .any(|client| signed(&honest_advert(session, client)[18..]) == signed(advert));
            let forged = advert[len - 64..] == [0; 64];
            assert!(honest || forged, "signed by its client, or by a liar");
        }
    }

    /// The person at a rank, if it is not an invention.
    fn person(&self, rank: usize) -> Option<&'static cohort::Person> {
        let id = *self.ids.get(rank)?;
        let place = people().binary_search_by_key(&id, |person| person.id);
        Some(&people()[place.ok()?])
    }
}

/// Boxes for the client, and whose.
pub(super) struct Boxes {
    /// Over the neighbours.
    pub(super) sharers: Vec<bool>,
    pub(super) boxes: Vec<[u8; 80]>,
}

impl Boxes {
    /// In the clear (see `secagg`'s `fuzzing/forgeable.rs`): with a tag of zeros they open.
    pub(super) fn any(shown: &Shown, choices: &mut Choices<'_>) -> Self {
        let range = match choices.byte() {
            0..0xf8 => shown.degree,
            _ => choices.below(10),
        };
        let sharers: Vec<bool> = choices
            .set(range)
            .into_iter()
            .map(|absent| !absent)
            .collect();
        let count = sharers.iter().filter(|shares| **shares).count();
        let boxes = (0..count).map(|number| {
            let mut sealed = [0; 80];
            sealed[..32].fill(2 * number as u8 + 1);
            sealed[32..64].fill(2 * number as u8 + 2);
            match choices.byte() {
                0..0xc0 => {}
                0xc0..0xe0 => sealed[64 + choices.below(16)] = choices.byte(),
                _ => sealed[choices.below(80)] = choices.byte(),
            }
            sealed
        });
        Self {
            boxes: boxes.collect(),
            sharers,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.boxes.len()
    }

    pub(super) fn message(&self, session: &Session) -> Vec<u8> {
        let mut message = set_message(4, session, &self.sharers);
        message.extend(self.boxes.as_flattened());
        message
    }
}

/// Any survivors: most of the roster, or not the roster's size.
pub(super) fn survivors(shown: &Shown, choices: &mut Choices<'_>) -> Vec<bool> {
    let range = match choices.byte() {
        0..0xf8 => shown.cohort,
        _ => choices.below(10),
    };
    choices.set(range).into_iter().map(|lost| !lost).collect()
}

pub(super) fn survivors_message(session: &Session, survivors: &[bool]) -> Vec<u8> {
    set_message(6, session, survivors)
}

/// Signatures for the client, and whose.
pub(super) struct Signed {
    signers: Vec<bool>,
    signatures: Vec<[u8; 64]>,
    /// For each neighbour whether it counts: on the client's set, or of a liar who signs anything.
    pub(super) counts: Vec<bool>,
}

impl Signed {
    pub(super) fn any(
        session: &Session,
        roster: &Roster,
        shown: &Shown,
        set: &Survivors,
        choices: &mut Choices<'_>,
    ) -> Self {
        let range = match choices.byte() {
            0..0xf8 => shown.degree,
            _ => choices.below(10),
        };
        let signers: Vec<bool> = choices
            .set(range)
            .into_iter()
            .map(|absent| !absent)
            .collect();
        let mut counts = vec![false; range];
        let mut signatures = Vec::new();
        let own = shown.person(shown.rank);
        for position in (0..range).filter(|position| signers[*position]) {
            let rank = shown.neighbours.get(position).copied();
            let person = rank.and_then(|rank| shown.person(rank));
            let sign = |person: &cohort::Person, set: &Survivors| {
                fuzzing::sign_survivors(&person.key, session, roster, set)
            };
            let (signature, counted) = match (choices.byte(), person) {
                (0..0xa0, Some(person)) => (sign(person, set), true),
                // Another set: which one matters not.
                (0xa0..0xb8, Some(person)) => {
                    let any: Vec<bool> = choices.set(shown.cohort);
                    let message = survivors_message(session, &any);
                    match Survivors::decode(&message, session) {
                        Ok(other) => (sign(person, &other), other == *set),
                        Err(_) => ([1; 64], false),
                    }
                }
                (0xb8..0xd0, _) => (own.map_or([1; 64], |own| sign(own, set)), false),
                (0xd0..0xe8, _) => {
                    let mut signature = [0; 64];
                    signature[choices.below(64)] = choices.byte();
                    (signature, signature == [0; 64])
                }
                _ => ([0; 64], true),
            };
            counts[position] = counted;
            signatures.push(signature);
        }
        Self {
            signers,
            signatures,
            counts,
        }
    }

    pub(super) fn message(&self, session: &Session) -> Vec<u8> {
        let mut message = set_message(9, session, &self.signers);
        message.extend(self.signatures.as_flattened());
        message
    }
}

/// A message that begins with a set.
fn set_message(kind: u8, session: &Session, set: &[bool]) -> Vec<u8> {
    let mut body = (set.len() as u32).to_le_bytes().to_vec();
    let mut bits = vec![0; set.len().div_ceil(8)];
    for (position, _) in set.iter().enumerate().filter(|(_, present)| **present) {
        bits[position / 8] |= 1 << (position % 8);
    }
    body.extend(bits);
    crate::with_header(kind, session, &body)
}
