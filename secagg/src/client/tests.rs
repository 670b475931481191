//! What a server can do with a mask seed that it has opened, which takes the secrets of a client to
//! show.

use alloc::vec::Vec;

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::*;
use crate::{
    message::Entry,
    params::{GraphKind, Parameters},
    session::Context,
    vector::{Layout, Segment},
};

const CLIENTS: u8 = 5;
const THRESHOLD: u32 = 3;

fn session() -> Session {
    let layout = Layout::new(Vec::from([Segment::new("update", 600, 20).unwrap()])).unwrap();
    let model = ThreatModel::HonestButCurious;
    let parameters = Parameters::new(model, GraphKind::Complete, 3..=CLIENTS.into(), layout);
    let context = Context {
        round: 1,
        nonce: [0; 32],
        model_digest: [0; 32],
        plan_digest: [0; 32],
    };
    Session::new(parameters.unwrap(), context)
}

fn start(session: &Session, number: u8) -> AwaitRoster {
    let policy = Policy {
        threat_model: ThreatModel::HonestButCurious,
        ..Policy::default()
    };
    let member = Member::unsigned(ClientId::from_identity_key(&[number; 32]));
    let mut rng = ChaCha20Rng::from_seed([number; 32]);
    let (state, _) = AwaitRoster::start(session.clone(), member, policy, &mut rng).unwrap();
    state
}

fn roster(session: &Session) -> Roster {
    let mut adverts: Vec<Advert> = (0..CLIENTS)
        .map(|number| start(session, number).advert)
        .collect();
    adverts.sort_by_key(Advert::id);
    Roster {
        degree: u32::from(CLIENTS) - 1,
        threshold: THRESHOLD,
        entries: adverts.iter().map(Entry::of).collect(),
        adverts: adverts.into(),
    }
}

fn round(session: &Session, roster: &Roster) -> RoundId {
    let (cohort, degree) = (u32::from(CLIENTS), roster.degree);
    RoundId::new(session.id(), &roster.digest(), cohort, degree, THRESHOLD)
}

/// Client 0 was lost after ShareKeys, so its mask seed is opened. Whatever pair a server derives of
/// that seed, it opens no box to or from client 0 (V-28): else it would learn a share of both seeds
/// of every neighbour, and all shares of client 0's self-mask seed.
#[test]
fn an_opened_mask_seed_opens_no_boxes() {
    let session = session();
    let roster = roster(&session);
    let round = round(&session, &roster);
    let victim = start(&session, 0);
    let id = victim.advert.id;
    let peers: Vec<&Advert> = roster.adverts.iter().filter(|peer| peer.id != id).collect();
    // What the channel pair itself opens; a pair of the same scalar would open as much.
    let channel = |seed: &Seed| KeyPair::channel(seed, session.id(), id);
    let mask = |seed: &Seed| KeyPair::mask(seed, session.id(), id);
    let derived = [channel(&victim.mask_seed), mask(&victim.mask_seed)];
    let own_boxes = |state: AwaitRoster| {
        let mut rng = ChaCha20Rng::from_seed([9; 32]);
        state.receive(roster.clone(), &mut rng).unwrap().1.boxes
    };
    let dealt = own_boxes(start(&session, 0));
    for pair in &derived {
        assert!(pair.public() != &victim.advert.channel_key);
        for (peer, sealed) in peers.iter().zip(&dealt) {
            let (outgoing, _) = pair.box_keys(&round, id, peer.id, &peer.channel_key);
            assert!(unseal(outgoing, *sealed).is_none());
        }
    }
    for number in 1..CLIENTS {
        let peer = start(&session, number).advert;
        let others = roster.adverts.iter().filter(|other| other.id != peer.id);
        let position = others
            .map(Advert::id)
            .position(|other| other == id)
            .unwrap();
        let sealed = own_boxes(start(&session, number))[position];
        for pair in &derived {
            let (_, incoming) = pair.box_keys(&round, id, peer.id, &peer.channel_key);
            assert!(unseal(incoming, sealed).is_none());
        }
        // The control: client 0's own channel pair opens it.
        let own = &victim.channel_pair;
        let (_, incoming) = own.box_keys(&round, id, peer.id, &peer.channel_key);
        assert!(unseal(incoming, sealed).is_some());
    }
}

/// Client 0 was declared lost, its mask seed opened, and then its vector arrives. A server that
/// keeps it takes all pairwise masks off, and is left with the self mask (V-17).
#[test]
fn a_late_vector_without_its_pairwise_masks_is_still_masked() {
    let session = session();
    let roster = roster(&session);
    let round = round(&session, &roster);
    let mask_seed = start(&session, 0).mask_seed;
    let self_seed = start(&session, 0).self_seed;
    let state = start(&session, 0);
    let id = state.advert.id;
    let mut rng = ChaCha20Rng::from_seed([9; 32]);
    let (state, _) = state.receive(roster.clone(), &mut rng).unwrap();
    let neighbours = state.peers.len();
    let delivery = Delivery {
        sharers: crate::set::Set::from_positions(neighbours, 0..neighbours),
        boxes: alloc::vec![[0; BOX_LEN]; neighbours],
    };
    let elements = |vector: &Vector| vector.segment("update").unwrap().collect::<Vec<u64>>();
    let builder = Vector::builder(&session).segment("update", 0..600);
    let input = builder.unwrap().build().unwrap();
    let ready = state.receive(delivery).unwrap();
    let (_, masked) = ready.mask(&input).unwrap();

    let mut vector = Vector::zero(session.layout());
    vector.add_packed(masked.packed());
    let pair = KeyPair::mask(&mask_seed, session.id(), id);
    for peer in roster.adverts.iter().filter(|peer| peer.id != id) {
        let key = pair.pairwise_mask(&round, id, peer.id, &peer.mask_key);
        let sign = mask::opposite(mask::sign(id, peer.id));
        mask::apply(&[Mask { key, sign }], &mut vector);
    }
    vector.reduce();
    let left = elements(&vector);
    // Two uniform vectors of 600 elements of 20 bits agree in an element or two at most.
    let agreeing = left.iter().zip(elements(&input)).filter(|(a, b)| *a == b);
    assert!(agreeing.count() < 3);
    let self_mask = primitives::self_mask(&round, id, &self_seed);
    let (key, sign) = (self_mask, mask::opposite(Sign::Plus));
    mask::apply(&[Mask { key, sign }], &mut vector);
    vector.reduce();
    assert_eq!(elements(&vector), elements(&input));
}

/// A decoded delivery has a box for each sharer. One that has fewer is no delivery either: the
/// last neighbours would count as such whose boxes do not open.
#[test]
fn a_delivery_has_a_box_for_each_sharer() {
    let session = session();
    let mut rng = ChaCha20Rng::from_seed([9; 32]);
    let (state, _) = start(&session, 0)
        .receive(roster(&session), &mut rng)
        .unwrap();
    let neighbours = state.peers.len();
    let delivery = Delivery {
        sharers: crate::set::Set::from_positions(neighbours, 0..neighbours),
        boxes: alloc::vec![[0; BOX_LEN]; neighbours - 1],
    };
    let expected = ClientError::WrongSize {
        what: "list of boxes",
        expected: neighbours,
        found: neighbours - 1,
    };
    assert_eq!(state.receive(delivery).unwrap_err(), expected);
}
