//! The server shows clients different models or different rosters.

use secagg::{
    Advert, AdvertError, Context, DecodeError, Session, ThreatModel,
    client::ClientError,
    server::{Abort, AfterMasked, CollectAdverts, Rejection, RejectionReason},
};

use crate::{
    common::{self, Receive, id},
    world::{BOX, HEADER, States, World, relabel, too_few_signatures},
};

/// The same round with another model, shown to the victim alone.
fn other_model(world: &World) -> World {
    let context = Context {
        model_digest: [9; 32],
        ..*world.session.context()
    };
    World {
        session: Session::new(world.session.parameters().clone(), context),
        ..world.clone()
    }
}

const VICTIM: usize = 0;

/// A model of its own would make the victim's update stand out in the sum: the gradients of all
/// others would be those of another function. But the victim is in a session of its own (V-24),
/// and its signature is one for that session (V-11).
#[test]
fn a_client_with_a_model_of_its_own_is_in_a_session_of_its_own() {
    let world = World::new();
    let other = other_model(&world);
    let (_, mut advert) = common::start(&other.session, VICTIM, other.policy);
    let error = Advert::decode(&advert, &world.session).unwrap_err();
    assert_eq!(error, DecodeError::OtherSession);

    // A server that changes the label is left with a signature for the other session.
    relabel(&mut advert, &world.session);
    let rejection = common::open(&world.session)
        .take(&world.session, VICTIM, &advert)
        .unwrap_err();
    let reason = RejectionReason::Advert(AdvertError::Forged);
    let client = id(VICTIM);
    assert_eq!(rejection, Rejection { client, reason });
    let mut server = CollectAdverts::new(world.session.clone(), None);
    server.take(&world.session, VICTIM, &advert).unwrap();
    for client in 1..6 {
        let (_, advert) = common::start(&world.session, client, world.policy);
        server.take(&world.session, client, &advert).unwrap();
    }
    let server = server.close(world.degree, world.threshold).unwrap();
    let roster = server.roster_for(id(1)).unwrap().encode(&world.session);
    let error = AdvertError::Forged;
    assert_eq!(
        world.join(1, &roster),
        Err(ClientError::Neighbour { client, error })
    );
}

/// Where nothing is signed a server can change every label. Still the victim's keys are those of
/// another session: nobody opens its boxes, so that its self mask stays on (V-13).
#[test]
fn relabelled_messages_of_another_model_give_no_sum() {
    let world = World::of(ThreatModel::HonestButCurious);
    let other = other_model(&world);
    let (ours, theirs) = (&world.session, &other.session);
    let mut server = common::open(ours);
    let mut states = States::new();
    for client in world.clients.iter().copied() {
        let session = if client == VICTIM { theirs } else { ours };
        let (state, mut advert) = common::start(session, client, world.policy);
        relabel(&mut advert, ours);
        server.take(ours, client, &advert).unwrap();
        states.insert(client, state);
    }
    let seen_by = |client| if client == VICTIM { theirs } else { ours };
    let mut server = server.close(world.degree, world.threshold).unwrap();
    let mut shared = States::new();
    for (client, state) in states {
        let mut roster = server.roster_for(id(client)).unwrap().encode(ours);
        relabel(&mut roster, seen_by(client));
        let (state, mut shares) = common::share(seen_by(client), client, state, &roster).unwrap();
        relabel(&mut shares, ours);
        server.take(ours, client, &shares).unwrap();
        shared.insert(client, state);
    }
    let mut server = server.close().unwrap();
    let mut uploaded = States::new();
    for (client, state) in shared {
        let mut delivery = server.delivery_for(id(client)).unwrap().encode(ours);
        relabel(&mut delivery, seen_by(client));
        let (state, mut masked) =
            common::upload(seen_by(client), client, state, &delivery).unwrap();
        relabel(&mut masked, ours);
        server.take(ours, client, &masked).unwrap();
        uploaded.insert(client, state);
    }
    let AfterMasked::Unmask(mut server) = server.close().unwrap() else {
        panic!("the server is trusted here");
    };
    for (client, state) in uploaded {
        let mut survivors = server.survivors().encode(ours);
        relabel(&mut survivors, seen_by(client));
        let mut shares = common::reveal(seen_by(client), state, &survivors).unwrap();
        relabel(&mut shares, ours);
        server.take(ours, client, &shares).unwrap();
    }
    let abort = Abort::TooFewShares {
        owner: id(VICTIM),
        have: 0,
        needed: 4,
    };
    assert_eq!(server.close().unwrap_err(), abort);
}

/// Two rosters with five clients in common: in each a server could fill the sixth place with one of
/// its own, and the difference of the two sums would be the difference of two inputs. But clients
/// of different rosters have no key in common (V-13): boxes do not open, and a signature on the
/// same set is one of another round (V-22).
#[test]
fn clients_with_different_rosters_have_nothing_in_common() {
    let shown = |clients: &[usize]| World {
        clients: clients.to_vec(),
        ..World::new()
    };
    let (left, right) = (shown(&[0, 1, 2, 3, 4, 5]), shown(&[1, 2, 3, 4, 5, 6]));
    let session = &left.session;
    // The left roster is shown to 0, 1 and 2, the right one to 3, 4, 5 and 6.
    let (mut server, mut states) = left.advertised();
    let (other, other_states) = right.advertised();
    let mut boxes_of_the_right = States::new();
    for (client, state) in other_states {
        let roster = other.roster_for(id(client)).unwrap().encode(session);
        let (_, shares) = common::share(session, client, state, &roster).unwrap();
        boxes_of_the_right.insert(client, shares);
    }
    let mut waiting = States::new();
    for client in 0..6 {
        let roster = server.roster_for(id(client)).unwrap().encode(session);
        let state = states.remove(&client).unwrap();
        let (state, mut shares) = common::share(session, client, state, &roster).unwrap();
        if client > 2 {
            // What the client dealt under the right roster, rearranged for the left one.
            for holder in left.neighbours(client) {
                let at = HEADER + 4 + left.position(client, holder) * BOX;
                let sealed = &mut shares[at..at + BOX];
                if holder == 0 {
                    sealed.fill(0);
                } else {
                    let from = HEADER + 4 + right.position(client, holder) * BOX;
                    sealed.copy_from_slice(&boxes_of_the_right[&client][from..from + BOX]);
                }
            }
        } else {
            waiting.insert(client, state);
        }
        server.take(session, client, &shares).unwrap();
    }
    let server = server.close().unwrap();
    let survivors = left.survivors(&left.clients);
    let mut signatures = States::new();
    let mut signed = States::new();
    for (client, state) in waiting {
        let delivery = server.delivery_for(id(client)).unwrap().encode(session);
        let (state, _) = common::upload(session, client, state, &delivery).unwrap();
        let (state, check) = common::sign(session, state, &survivors).unwrap();
        signatures.insert(client, check[HEADER..].to_vec());
        signed.insert(client, state);
    }
    // The same positions, bit for bit, over the other roster.
    signatures.extend(right.signatures_of(&[3, 4, 5], &right.clients));
    for (client, state) in signed {
        let signatures = left.signatures(client, &signatures);
        let error = common::reveal_signed(session, state, &signatures).unwrap_err();
        assert_eq!(error, too_few_signatures(2, 4));
    }
}

/// The same adverts with another threshold: the shares of one client would lie on polynomials of
/// another degree than the server says elsewhere. A signature under one threshold is none under
/// another (V-13).
#[test]
fn clients_with_different_thresholds_have_nothing_in_common() {
    let world = World::new();
    let other = World {
        threshold: 5,
        ..world.clone()
    };
    let signatures = other.signatures_of(&[1, 2, 3, 4, 5], &other.clients);
    let (state, _) = world.signs(0, &world.clients);
    let signatures = world.signatures(0, &signatures);
    let error = common::reveal_signed(&world.session, state, &signatures).unwrap_err();
    assert_eq!(error, too_few_signatures(0, 4));
}
