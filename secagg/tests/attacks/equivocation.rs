//! The server tells clients different survivor sets. Who reveals a share of a client's mask seed
//! under one set, while others reveal shares of its self-mask seed under another, opens that
//! client's input: so nobody reveals before t neighbours have signed the very same set.

use secagg::client::ClientError;

use crate::{
    common,
    forger::{round_id, sign_survivors},
    world::{BOX, HEADER, SIGNATURE, States, World, put_set, too_few_signatures},
};

/// What client 0, which has signed this set, says to these signatures.
fn answer(
    world: &World,
    survivors: &[usize],
    signatures: &States<Vec<u8>>,
) -> Result<Vec<u8>, ClientError> {
    let (state, _) = world.signs(0, survivors);
    let signatures = world.signatures(0, signatures);
    common::reveal_signed(&world.session, state, &signatures)
}

const ALL: [usize; 6] = [0, 1, 2, 3, 4, 5];

/// The control: with four signatures of survivors on its own set the client reveals.
#[test]
fn the_threshold_of_signatures_is_enough() {
    let world = World::new();
    let signatures = world.signatures_of(&[1, 2, 3, 4], &ALL);
    assert!(answer(&world, &ALL, &signatures).is_ok());
}

/// One half is told that client 0 survived, the other that it was lost: the first would open its
/// self mask, the second its mask seed, and nothing would be left on its vector. With six clients
/// and a threshold of four neither half has enough signatures (V-22).
#[test]
fn two_sets_for_two_halves_open_nothing() {
    let world = World::new();
    let sets = [(&[0, 1, 2], &ALL[..]), (&[3, 4, 5], &ALL[1..])];
    let mut signatures = States::new();
    let mut states = States::new();
    for (half, survivors) in sets {
        for (client, (state, signature)) in world.sign_set(half, survivors) {
            signatures.insert(client, signature);
            states.insert(client, state);
        }
    }
    // Everybody is shown all there is.
    for (client, state) in states {
        let mut others = signatures.clone();
        others.remove(&client);
        let others = world.signatures(client, &others);
        let error = common::reveal_signed(&world.session, state, &others).unwrap_err();
        assert_eq!(error, too_few_signatures(2, 4));
    }
}

/// The others' signatures of another round on the very same set of clients would let a server that
/// once had an honest round have a dishonest one (V-13, V-22).
#[test]
fn signatures_of_another_round_do_not_count() {
    let world = World::new();
    let old = world.again(1);
    let signatures = old.signatures_of(&ALL[1..], &ALL);
    let error = answer(&world, &ALL, &signatures).unwrap_err();
    assert_eq!(error, too_few_signatures(0, 4));
}

/// Signatures on a set that differs in one client (V-22).
#[test]
fn signatures_on_another_set_do_not_count() {
    let world = World::new();
    let mut signatures = world.signatures_of(&[1, 2, 3], &ALL[..5]);
    signatures.extend(world.signatures_of(&[4, 5], &ALL));
    let error = answer(&world, &ALL, &signatures).unwrap_err();
    assert_eq!(error, too_few_signatures(2, 4));
}

/// A server that echoes the client's own signature would need one honest neighbour fewer: three
/// and the client's own are not four (V-22).
#[test]
fn the_clients_own_signature_does_not_count() {
    let world = World::new();
    let mut signatures = world.signatures_of(&[1, 2, 3], &ALL);
    let (_, own) = world.signs(0, &ALL);
    signatures.extend([(4, own.clone()), (5, own)]);
    let error = answer(&world, &ALL, &signatures).unwrap_err();
    assert_eq!(error, too_few_signatures(3, 4));
}

/// One corrupt neighbour's signature in every place is one signature (V-22).
#[test]
fn one_signature_repeated_counts_once() {
    let world = World::new();
    let (_, signature) = world.signs(1, &ALL);
    let signatures = (1..6).map(|client| (client, signature.clone())).collect();
    let error = answer(&world, &ALL, &signatures).unwrap_err();
    assert_eq!(error, too_few_signatures(1, 4));
}

/// A corrupt client that was lost signs nevertheless. Nobody reveals with it, so its word on the
/// set is worth nothing: honest overlap is counted over survivors (V-22). The control is the same
/// hand-made signature of a survivor.
#[test]
fn signatures_of_lost_clients_do_not_count() {
    let world = World::new();
    let survivors = &ALL[..5];
    let round = round_id(&world.session, &world.roster_for(0));
    let by_hand = |client| sign_survivors(client, &round, &world.survivors(survivors));
    let mut signatures = world.signatures_of(&[1, 2, 3], survivors);
    signatures.insert(5, by_hand(5));
    let error = answer(&world, survivors, &signatures).unwrap_err();
    assert_eq!(error, too_few_signatures(3, 4));

    signatures.insert(4, by_hand(4));
    assert!(answer(&world, survivors, &signatures).is_ok());
}

/// A neighbour that shared no keys with this client signs: the same (V-21, V-22).
#[test]
fn signatures_of_absent_neighbours_do_not_count() {
    let world = World::new();
    let neighbours = world.neighbours(0);
    let (absent, present) = neighbours.split_last().unwrap();
    let survivors: Vec<usize> = ALL.into_iter().filter(|c| c != absent).collect();
    let (_, mut states) = world.uploaded(&ALL, |client, delivery| {
        if client == 0 {
            delivery[HEADER + 4] = 0b0_1111;
            delivery.truncate(HEADER + 5 + 4 * BOX);
        }
    });
    let message = world.survivors(&survivors);
    let (state, _) = common::sign(&world.session, states.remove(&0).unwrap(), &message).unwrap();
    let mut signatures = world.signatures_of(&present[..3], &survivors);
    let round = round_id(&world.session, &world.roster_for(0));
    signatures.insert(*absent, sign_survivors(*absent, &round, &message));
    let signatures = world.signatures(0, &signatures);
    let error = common::reveal_signed(&world.session, state, &signatures).unwrap_err();
    assert_eq!(error, too_few_signatures(3, 4));
}

/// In the sparse graph the signatures of strangers, however many, are not those of the neighbours
/// who hold the client's shares (V-22).
#[test]
fn signatures_of_strangers_do_not_count() {
    let world = World::sparse(secagg::ThreatModel::Malicious);
    let neighbours = world.neighbours(0);
    let mut strangers = world.clients.clone();
    strangers.retain(|client| *client != 0 && !neighbours.contains(client));
    let signatures = world.signatures_of(&strangers, &world.clients);
    let signatures = neighbours.into_iter().zip(signatures.into_values());
    let signatures = signatures.collect();
    let clients = world.clients.clone();
    let error = answer(&world, &clients, &signatures).unwrap_err();
    assert_eq!(error, too_few_signatures(0, 5));
}

/// What a neighbour has signed for another purpose is no word on the survivors: labels differ
/// (V-22).
#[test]
fn signatures_for_another_purpose_do_not_count() {
    let world = World::new();
    let signatures = (1..6)
        .map(|client| {
            let (_, advert) = common::start(&world.session, client, world.policy);
            (client, advert[advert.len() - SIGNATURE..].to_vec())
        })
        .collect();
    let error = answer(&world, &ALL, &signatures).unwrap_err();
    assert_eq!(error, too_few_signatures(0, 4));
}

/// A list over another number of neighbours would put one neighbour's signature in another's place
/// (V-22).
#[test]
fn signatures_over_another_number_of_neighbours_are_refused() {
    let world = World::new();
    let (state, _) = world.signs(0, &ALL);
    let mut signatures = crate::world::header(&world.session, 9);
    put_set(&mut signatures, 6, std::iter::empty());
    let error = common::reveal_signed(&world.session, state, &signatures).unwrap_err();
    let what = "set of signers";
    let (expected, found) = (5, 6);
    assert_eq!(
        error,
        ClientError::WrongSize {
            what,
            expected,
            found
        }
    );
}
