//! A world that stops at any stage, for an attacker to go on from.
//!
//! Coins are fixed: running a world again gives the same clients in the same states. So an
//! attacker can play a state twice, as corrupt clients can.

use std::collections::BTreeMap;

use secagg::{Credential, Survivors};
use secagg::{
    GraphKind, Policy, Session, ThreatModel,
    client::{AwaitDelivery, AwaitRoster, AwaitSignatures, AwaitSurvivors, ClientError, Unmasking},
    server::{AfterMasked, CollectMasked, CollectShares, CollectSignatures, CollectUnmask},
};

use crate::common::{self, Receive, id, session_of};

/// Bytes of a message before its body.
pub(crate) const HEADER: usize = 18;
/// Bytes of degree, threshold and cohort in front of a roster's entries.
pub(crate) const ROSTER: usize = HEADER + 12;
/// Bytes of an id and a digest in a roster of the sparse graph.
pub(crate) const ENTRY: usize = 16 + 32;
/// Bytes of a sealed box.
pub(crate) const BOX: usize = 80;
/// Bytes of a revealed share with its kind.
pub(crate) const SHARE: usize = 33;
/// Bytes of a signature.
pub(crate) const SIGNATURE: usize = 64;

/// Both threat models.
pub(crate) const MODELS: [ThreatModel; 2] = [ThreatModel::HonestButCurious, ThreatModel::Malicious];

/// The floors of the clients in these tests.
pub(crate) const POLICY: Policy = Policy {
    min_cohort: 4,
    min_survivors: 4,
    ..common::LENIENT
};

/// Bytes of an advert in a roster.
pub(crate) fn advert_len(session: &Session) -> usize {
    match session.parameters().threat_model() {
        ThreatModel::HonestButCurious => 112,
        _ => 112 + Credential::LEN + SIGNATURE,
    }
}

pub(crate) fn below(what: &'static str, value: u64, floor: u64) -> ClientError {
    ClientError::BelowFloor { what, value, floor }
}

/// Too few signatures of neighbours on the set that a client signed.
pub(crate) fn too_few_signatures(valid: u64, threshold: u64) -> ClientError {
    below(
        "number of valid signatures on the survivor set",
        valid,
        threshold,
    )
}

/// Who plays, and under which rules.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) session: Session,
    pub(crate) policy: Policy,
    pub(crate) clients: Vec<usize>,
    pub(crate) degree: u32,
    pub(crate) threshold: u32,
}

pub(crate) type States<S> = BTreeMap<usize, S>;

impl World {
    /// Six clients over the complete graph. A threshold of four is the smallest against a malicious
    /// server and one corrupt client.
    pub(crate) fn of(model: ThreatModel) -> Self {
        Self::complete(model, 6, 4)
    }

    /// Six clients that do not trust the server.
    pub(crate) fn new() -> Self {
        Self::of(ThreatModel::Malicious)
    }

    pub(crate) fn complete(model: ThreatModel, clients: usize, threshold: u32) -> Self {
        Self {
            session: session_of(model, GraphKind::Complete, 9, 0),
            policy: POLICY,
            clients: (0..clients).collect(),
            degree: u32::try_from(clients - 1).unwrap(),
            threshold,
        }
    }

    /// Twenty clients with eight neighbours each.
    pub(crate) fn sparse(model: ThreatModel) -> Self {
        Self {
            session: session_of(model, GraphKind::Sparse, 20, 0),
            clients: (0..20).collect(),
            degree: 8,
            ..Self::complete(model, 9, 5)
        }
    }

    /// The same clients in another session.
    pub(crate) fn again(&self, salt: u8) -> Self {
        let parameters = self.session.parameters();
        let (model, graph) = (parameters.threat_model(), parameters.graph());
        Self {
            session: session_of(model, graph, *parameters.cohort().end(), salt),
            ..self.clone()
        }
    }

    pub(crate) fn under(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// The clients in the order of the roster.
    pub(crate) fn ranked(&self) -> Vec<usize> {
        let mut ranked = self.clients.clone();
        ranked.sort_by_key(|client| id(*client));
        ranked
    }

    /// The place of a client in the roster.
    pub(crate) fn rank(&self, client: usize) -> usize {
        let mut ranked = self.ranked().into_iter();
        ranked.position(|other| other == client).unwrap()
    }

    /// The neighbours of a client, in the order of the roster.
    pub(crate) fn neighbours(&self, of: usize) -> Vec<usize> {
        let mut neighbours = self.ranked();
        neighbours.retain(|client| *client != of);
        if self.session.parameters().graph() == GraphKind::Sparse {
            // Behind the list of ids and digests stand the neighbours' adverts.
            let roster = self.roster_for(of);
            let adverts = roster[ROSTER + self.clients.len() * ENTRY..].to_vec();
            let ids = adverts.chunks(advert_len(&self.session));
            let ids: Vec<&[u8]> = ids.map(|advert| &advert[..16]).collect();
            neighbours.retain(|client| ids.contains(&&id(*client).as_bytes()[..]));
        }
        neighbours
    }

    /// The place of a client among another's neighbours.
    pub(crate) fn position(&self, of: usize, neighbour: usize) -> usize {
        let mut neighbours = self.neighbours(of).into_iter();
        neighbours.position(|client| client == neighbour).unwrap()
    }

    /// A survivor set of these clients, as its message.
    pub(crate) fn survivors(&self, clients: &[usize]) -> Vec<u8> {
        let ranks = clients.iter().map(|client| self.rank(*client));
        let mut out = header(&self.session, 6);
        put_set(&mut out, self.clients.len(), ranks);
        Survivors::decode(&out, &self.session).unwrap();
        out
    }

    /// These signatures for a client, as their message.
    pub(crate) fn signatures(&self, of: usize, signatures: &States<Vec<u8>>) -> Vec<u8> {
        let mut out = header(&self.session, 9);
        let neighbours = self.neighbours(of).into_iter().enumerate();
        let signers: Vec<(usize, usize)> = neighbours
            .filter(|(_, neighbour)| signatures.contains_key(neighbour))
            .collect();
        let positions = signers.iter().map(|(position, _)| *position);
        put_set(&mut out, self.degree as usize, positions);
        for (_, signer) in signers {
            out.extend_from_slice(&signatures[&signer]);
        }
        out
    }

    /// Everybody has advertised.
    pub(crate) fn advertised(&self) -> (CollectShares, States<AwaitRoster>) {
        let mut server = common::open(&self.session);
        let mut states = States::new();
        for client in self.clients.iter().copied() {
            let (state, advert) = common::start(&self.session, client, self.policy);
            server.take(&self.session, client, &advert).unwrap();
            states.insert(client, state);
        }
        (server.close(self.degree, self.threshold).unwrap(), states)
    }

    /// The roster as the honest server sends it.
    pub(crate) fn roster_for(&self, client: usize) -> Vec<u8> {
        let roster = self.advertised().0.roster_for(id(client)).unwrap();
        roster.encode(&self.session)
    }

    /// What a fresh client makes of a roster.
    pub(crate) fn join(&self, client: usize, roster: &[u8]) -> Result<(), ClientError> {
        let (state, _) = common::start(&self.session, client, self.policy);
        common::share(&self.session, client, state, roster).map(|_| ())
    }

    /// The boxes that a client deals, as their message.
    pub(crate) fn dealt(&self, client: usize) -> Vec<u8> {
        let (state, _) = common::start(&self.session, client, self.policy);
        let roster = self.roster_for(client);
        let (_, shares) = common::share(&self.session, client, state, &roster).unwrap();
        shares
    }

    /// Everybody has shared its keys; the server takes the boxes of `sharers`, after `tamper`.
    pub(crate) fn shared(
        &self,
        sharers: &[usize],
        tamper: impl Fn(usize, &mut Vec<u8>),
    ) -> (CollectMasked, States<AwaitDelivery>) {
        let (mut server, advertised) = self.advertised();
        let mut states = States::new();
        for (client, state) in advertised {
            let roster = server.roster_for(id(client)).unwrap().encode(&self.session);
            let (state, mut shares) = common::share(&self.session, client, state, &roster).unwrap();
            tamper(client, &mut shares);
            if sharers.contains(&client) {
                server.take(&self.session, client, &shares).unwrap();
                states.insert(client, state);
            }
        }
        (server.close().unwrap(), states)
    }

    /// Everybody has shared its keys and `uploaders` have uploaded; `tamper` may change what a
    /// client is delivered.
    pub(crate) fn uploaded(
        &self,
        uploaders: &[usize],
        tamper: impl Fn(usize, &mut Vec<u8>),
    ) -> (AfterMasked, States<AwaitSurvivors>) {
        let (server, states) = self.shared(&self.clients, |_, _| ());
        self.upload(server, states, uploaders, tamper)
    }

    pub(crate) fn upload(
        &self,
        mut server: CollectMasked,
        shared: States<AwaitDelivery>,
        uploaders: &[usize],
        tamper: impl Fn(usize, &mut Vec<u8>),
    ) -> (AfterMasked, States<AwaitSurvivors>) {
        let session = &self.session;
        let mut states = States::new();
        for (client, state) in shared {
            let mut delivery = server.delivery_for(id(client)).unwrap().encode(session);
            tamper(client, &mut delivery);
            let (state, masked) = common::upload(session, client, state, &delivery).unwrap();
            if uploaders.contains(&client) {
                server.take(session, client, &masked).unwrap();
                states.insert(client, state);
            }
        }
        (server.close().unwrap(), states)
    }

    /// The server that opens a sum over `uploaders`, and what each of them reveals to it, with all
    /// of them honest. Where the server is not trusted, everybody signs that set.
    pub(crate) fn revealed(&self, uploaders: &[usize]) -> (CollectUnmask, States<Vec<u8>>) {
        let (server, states) = self.uploaded(uploaders, |_, _| ());
        self.reveal(server, states)
    }

    pub(crate) fn reveal(
        &self,
        server: AfterMasked,
        states: States<AwaitSurvivors>,
    ) -> (CollectUnmask, States<Vec<u8>>) {
        let session = &self.session;
        match server {
            AfterMasked::Unmask(server) => {
                let survivors = server.survivors().encode(session);
                let reveal = |state| common::reveal(session, state, &survivors).unwrap();
                let revealed = states.into_iter().map(|(c, state)| (c, reveal(state)));
                (server, revealed.collect())
            }
            AfterMasked::Check(server) => {
                let (server, states) = self.sign(server, states);
                let reveal = |client, state| {
                    let signatures = server.signatures_for(id(client)).unwrap().encode(session);
                    common::reveal_signed(session, state, &signatures).unwrap()
                };
                let revealed = states.into_iter().map(|(c, state)| (c, reveal(c, state)));
                let revealed = revealed.collect();
                (server, revealed)
            }
        }
    }

    /// Everybody signs the honest server's set.
    pub(crate) fn sign(
        &self,
        mut server: CollectSignatures,
        states: States<AwaitSurvivors>,
    ) -> (CollectUnmask, States<AwaitSignatures>) {
        let survivors = server.survivors().encode(&self.session);
        let mut signed = States::new();
        for (client, state) in states {
            let (state, check) = common::sign(&self.session, state, &survivors).unwrap();
            server.take(&self.session, client, &check).unwrap();
            signed.insert(client, state);
        }
        (server.close().unwrap(), signed)
    }

    /// What a client that has uploaded with all others says to a survivor set.
    pub(crate) fn refusal(&self, client: usize, survivors: &[u8]) -> ClientError {
        let (_, mut states) = self.uploaded(&self.clients, |_, _| ());
        self.refused(states.remove(&client).unwrap(), survivors)
    }

    /// The error with which a state refuses a survivor set, in either threat model.
    pub(crate) fn refused(&self, state: AwaitSurvivors, survivors: &[u8]) -> ClientError {
        let survivors = Survivors::decode(survivors, &self.session).unwrap();
        match state.receive(survivors) {
            Err(error) => error,
            Ok(Unmasking::Reveal(_)) => panic!("it revealed"),
            Ok(Unmasking::Check(..)) => panic!("it signed"),
        }
    }

    /// A client that is shown this survivor set by a malicious server: its state and its signature,
    /// as it stands in a message.
    pub(crate) fn signs(&self, client: usize, survivors: &[usize]) -> (AwaitSignatures, Vec<u8>) {
        let mut signed = self.sign_set(&[client], survivors);
        signed.remove(&client).unwrap()
    }

    /// The same of several clients.
    pub(crate) fn sign_set(
        &self,
        clients: &[usize],
        survivors: &[usize],
    ) -> States<(AwaitSignatures, Vec<u8>)> {
        let (_, states) = self.uploaded(&self.clients, |_, _| ());
        let told = states.into_iter().filter(|(c, _)| clients.contains(c));
        let survivors = self.survivors(survivors);
        let sign = |state| {
            let (state, check) = common::sign(&self.session, state, &survivors).unwrap();
            (state, check[HEADER..].to_vec())
        };
        told.map(|(client, state)| (client, sign(state))).collect()
    }

    /// Their signatures alone.
    pub(crate) fn signatures_of(&self, clients: &[usize], survivors: &[usize]) -> States<Vec<u8>> {
        let signed = self.sign_set(clients, survivors).into_iter();
        signed
            .map(|(client, (_, signature))| (client, signature))
            .collect()
    }
}

/// The header of a message of this kind.
pub(crate) fn header(session: &Session, kind: u8) -> Vec<u8> {
    let mut out = vec![1, kind];
    out.extend_from_slice(&session.id().as_bytes()[..16]);
    out
}

/// Gives a message the tag of another session, as a server that replays does.
pub(crate) fn relabel(message: &mut [u8], session: &Session) {
    message[2..HEADER].copy_from_slice(&session.id().as_bytes()[..16]);
}

/// A set of positions as it stands in a message.
pub(crate) fn put_set(out: &mut Vec<u8>, range: usize, positions: impl Iterator<Item = usize>) {
    let mut bits = vec![0; range.div_ceil(8)];
    positions.for_each(|position| bits[position / 8] |= 1 << (position % 8));
    out.extend_from_slice(&u32::try_from(range).unwrap().to_le_bytes());
    out.extend_from_slice(&bits);
}
