//! The server withholds boxes, so that a client masks with few others.

use secagg::{
    Policy, ThreatModel,
    client::ClientError,
    server::{Abort, AfterMasked, Phase},
};

use crate::{
    common::{self, Receive, elements, id, plain_sum},
    world::{BOX, HEADER, MODELS, POLICY, World, below},
};

/// Nine clients; five shares open a seed.
fn nine() -> World {
    World::complete(ThreatModel::Malicious, 9, 5)
}

const CLIQUE: [usize; 6] = [0, 1, 2, 3, 4, 5];

/// The attack of the specification's rule on U2: the server delivers to six of nine clients the
/// boxes of each other only, so that they mask among themselves, and lists all nine as survivors.
/// The boxes that these six hold would open their self masks: it would learn the sum of six inputs,
/// while each of them believes to hide among nine. With larger rings and no corrupt client at all
/// the six would be a twentieth of the cohort.
///
/// Each of the six refuses, because the set holds neighbours of which it got no box (V-21).
#[test]
fn survivors_whose_boxes_were_withheld_are_refused() {
    let world = nine();
    // A server that takes the boxes of six is one that withholds those of three.
    let (server, shared) = world.shared(&CLIQUE, |_, _| ());
    let (_, uploaded) = world.upload(server, shared, &CLIQUE, |_, _| ());
    let everybody = world.survivors(&world.clients);
    let withheld = [6, 7, 8].map(id).into_iter().min().unwrap();
    for (_, state) in uploaded {
        let error = world.refused(state, &everybody);
        let client = withheld;
        assert_eq!(error, ClientError::SurvivorDidNotShare { client });
    }

    // What it would have got: the masks of the six cancel among them, and the same shares that the
    // longer set would have asked for open them.
    let (server, shared) = world.shared(&CLIQUE, |_, _| ());
    let (server, uploaded) = world.upload(server, shared, &CLIQUE, |_, _| ());
    let (mut server, revealed) = world.reveal(server, uploaded);
    for (client, shares) in revealed {
        server.take(&world.session, client, &shares).unwrap();
    }
    let learnt = server.close().unwrap().sum;
    assert_eq!(elements(&learnt), plain_sum(&world.session, &CLIQUE));
}

/// The honest way to say so is a survivor set of six: then whoever wants to hide among seven can
/// see that it does not (V-19).
#[test]
fn a_clique_that_is_named_as_such_meets_the_floor() {
    let policy = Policy {
        min_survivors: 7,
        ..POLICY
    };
    let world = nine().under(policy);
    let (server, shared) = world.shared(&CLIQUE, |_, _| ());
    let (_, uploaded) = world.upload(server, shared, &CLIQUE, |_, _| ());
    let clique = world.survivors(&CLIQUE);
    for (_, state) in uploaded {
        let error = world.refused(state, &clique);
        assert_eq!(error, below("number of survivors", 6, 7));
    }
}

/// Only the victim's box from one neighbour is withheld, and the neighbour listed as a survivor: the
/// two masks between them do not cancel, and the server may know the neighbour's (V-21).
#[test]
fn one_withheld_box_is_named() {
    for model in MODELS {
        let world = World::of(model);
        let (_, mut states) = world.uploaded(&world.clients, |client, delivery| {
            if client == 0 {
                delivery[HEADER + 4] = 0b0_1111;
                delivery.truncate(HEADER + 5 + 4 * BOX);
            }
        });
        let survivors = world.survivors(&world.clients);
        let error = world.refused(states.remove(&0).unwrap(), &survivors);
        let client = id(world.neighbours(0)[4]);
        assert_eq!(error, ClientError::SurvivorDidNotShare { client });
    }
}

/// In the sparse graph the same holds of each client's own neighbours (V-21).
#[test]
fn one_withheld_box_is_named_in_the_sparse_graph() {
    for model in MODELS {
        let world = World::sparse(model);
        let (_, mut states) = world.uploaded(&world.clients, |client, delivery| {
            if client == 0 {
                delivery[HEADER + 4] = 0b0111_1111;
                delivery.truncate(HEADER + 5 + 7 * BOX);
            }
        });
        let survivors = world.survivors(&world.clients);
        let error = world.refused(states.remove(&0).unwrap(), &survivors);
        let client = id(world.neighbours(0)[7]);
        assert_eq!(error, ClientError::SurvivorDidNotShare { client });
    }
}

/// With fewer than t boxes the client would mask with so few that corrupt ones among them see its
/// input, and its own seeds could not be opened (V-15).
#[test]
fn too_few_sharers_are_refused() {
    for model in MODELS {
        let world = World::of(model);
        let (server, mut states) = world.shared(&world.clients, |_, _| ());
        let session = &world.session;
        let delivery = server.delivery_for(id(0)).unwrap().encode(session);
        // Keep the boxes of three neighbours: one below the threshold.
        let mut withheld = delivery[..HEADER + 4].to_vec();
        withheld.push(0b00111);
        withheld.extend_from_slice(&delivery[HEADER + 5..HEADER + 5 + 3 * BOX]);
        let state = states.remove(&0).unwrap();
        let error = common::upload(session, 0, state, &withheld).unwrap_err();
        let what = "number of neighbours that shared their keys";
        assert_eq!(error, below(what, 3, 4));
    }
}

/// A set over another number of neighbours would give boxes to the wrong senders, and masks with
/// the wrong keys (V-15).
#[test]
fn a_delivery_over_another_number_of_neighbours_is_refused() {
    for model in MODELS {
        let world = World::of(model);
        let (server, mut states) = world.shared(&world.clients, |_, _| ());
        let session = &world.session;
        let delivery = server.delivery_for(id(0)).unwrap().encode(session);
        let mut shorter = delivery[..HEADER].to_vec();
        shorter.extend_from_slice(&[4, 0, 0, 0, 0b1111]);
        shorter.extend_from_slice(&delivery[HEADER + 5..HEADER + 5 + 4 * BOX]);
        let state = states.remove(&0).unwrap();
        let error = common::upload(session, 0, state, &shorter).unwrap_err();
        let (expected, found) = (5, 4);
        let what = "set of sharers";
        assert_eq!(
            error,
            ClientError::WrongSize {
                what,
                expected,
                found
            }
        );
    }
}

/// Whoever has fewer than t neighbours that signed will not answer, and is not asked: signers that
/// are nobody's neighbours end the round, however many they are.
#[test]
fn signers_without_neighbours_that_signed_are_too_few() {
    let world = World::sparse(ThreatModel::Malicious);
    let session = &world.session;
    let (AfterMasked::Check(mut server), mut states) = world.uploaded(&world.clients, |_, _| ())
    else {
        panic!("the server is not trusted here");
    };
    let survivors = server.survivors().encode(session);
    // As many as must sign: but client 0 has four neighbours that do, where five are needed, and
    // each of the others has no more.
    let near = world.neighbours(0);
    let signers = near.iter().take(4).chain(&[0]).copied();
    let far = world.clients.iter().copied();
    let far = far.filter(|client| *client != 0 && !near.contains(client));
    for client in signers.chain(far.take(1)) {
        let state = states.remove(&client).unwrap();
        let (_, check) = common::sign(session, state, &survivors).unwrap();
        server.take(session, client, &check).unwrap();
    }
    let (phase, have, needed) = (Phase::ConsistencyCheck, 0, 6);
    let expected = Abort::TooFewClients {
        phase,
        have,
        needed,
    };
    assert_eq!(server.close().unwrap_err(), expected);
}

/// A client with fewer than t neighbours that signed is not asked, although it signed itself: it gets
/// no signatures, which it would have to refuse. The others end the round with its input in the sum.
#[test]
fn a_signer_whose_neighbours_did_not_sign_is_not_asked() {
    let world = World::sparse(ThreatModel::Malicious);
    let session = &world.session;
    let (AfterMasked::Check(mut server), mut states) = world.uploaded(&world.clients, |_, _| ())
    else {
        panic!("the server is not trusted here");
    };
    let survivors = server.survivors().encode(session);
    let silent = &world.neighbours(0)[..4];
    for client in world
        .clients
        .iter()
        .filter(|client| !silent.contains(client))
    {
        let state = states.remove(client).unwrap();
        let (_, check) = common::sign(session, state, &survivors).unwrap();
        server.take(session, *client, &check).unwrap();
    }
    let server = server.close().unwrap();
    assert!(!server.clients().contains(&id(0)));
    assert!(server.signatures_for(id(0)).is_none());
    for client in server.clients() {
        assert!(server.signatures_for(client).is_some());
    }
}

/// An honest server whose clients lost too many neighbours does not leave them with masks that
/// nobody can take off: they are out of U2 (V-34).
#[test]
fn clients_with_too_few_neighbours_leave_u2() {
    // Of client 0's eight neighbours two share their keys: one below the threshold.
    let world = World {
        threshold: 3,
        ..World::sparse(ThreatModel::HonestButCurious)
    };
    let gone = &world.neighbours(0)[..6];
    let sharers = world.clients.iter().copied();
    let sharers: Vec<usize> = sharers.filter(|client| !gone.contains(client)).collect();
    let (server, states) = world.shared(&sharers, |_, _| ());
    assert!(states.contains_key(&0));
    assert_eq!(server.delivery_for(id(0)), None);
    let kept: Vec<usize> = sharers
        .into_iter()
        .filter(|client| server.delivery_for(id(*client)).is_some())
        .collect();
    let kept_states = states
        .into_iter()
        .filter(|(client, _)| kept.contains(client));
    let (server, states) = world.upload(server, kept_states.collect(), &kept, |_, _| ());
    let (mut server, revealed) = world.reveal(server, states);
    for (client, shares) in revealed {
        server.take(&world.session, client, &shares).unwrap();
    }
    let sum = server.close().unwrap().sum;
    assert_eq!(elements(&sum), plain_sum(&world.session, &kept));
}
