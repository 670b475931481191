//! Corrupt clients that sign two survivor sets, and why the threshold is what it is.

use std::collections::BTreeSet;

use secagg::{
    Policy,
    client::ClientError,
    server::{AfterMasked, CollectUnmask},
};

use crate::{
    common::{self, Receive, elements, id, plain_sum},
    world::{HEADER, POLICY, States, World, below, header, too_few_signatures},
};

const VICTIM: usize = 0;
const CORRUPT: [usize; 2] = [4, 5];
/// What the victim and some are told, and what the others are told: the same without the victim.
const SETS: [&[usize]; 2] = [&[0, 1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]];

/// Six clients of which two are corrupt, and whose policies say so or not.
fn world(threshold: u32, max_corrupt: u32) -> World {
    let complete = World::complete(secagg::ThreatModel::Malicious, 6, threshold);
    complete.under(Policy {
        max_corrupt,
        ..POLICY
    })
}

type Answers = States<Result<Vec<u8>, ClientError>>;

/// What these clients, told this set, answer when they are shown each other's signatures.
fn answers(world: &World, told: &[usize], survivors: &[usize]) -> (States<Vec<u8>>, Answers) {
    let mut states = States::new();
    let mut signatures = States::new();
    for (client, (state, signature)) in world.sign_set(told, survivors) {
        states.insert(client, state);
        signatures.insert(client, signature);
    }
    let reveal = |client, state| {
        let mut others = signatures.clone();
        others.remove(&client);
        common::reveal_signed(&world.session, state, &world.signatures(client, &others))
    };
    let answers = states.into_iter().map(|(c, state)| (c, reveal(c, state)));
    let answers = answers.collect();
    (signatures, answers)
}

/// The sum that a server opens over this set with what its half has signed and revealed.
fn open(
    world: &World,
    survivors: &[usize],
    (signatures, answers): (States<Vec<u8>>, Answers),
) -> Vec<Vec<u64>> {
    let session = &world.session;
    let (AfterMasked::Check(mut server), _) = world.uploaded(survivors, |_, _| ()) else {
        panic!("the server is not trusted here");
    };
    for (client, signature) in signatures {
        let message = [header(session, 8), signature].concat();
        server.take(session, client, &message).unwrap();
    }
    let mut server: CollectUnmask = server.close().unwrap();
    for (client, answer) in answers {
        server.take(session, client, &answer.unwrap()).unwrap();
    }
    elements(&server.close().unwrap().sum)
}

/// The demonstration. Policies that admit no corrupt client accept a threshold of three; two are
/// corrupt and sign both sets. Then client 1 is shown four signatures that the victim survived,
/// clients 2 and 3 are shown that it was lost, and the server opens both sums: their difference is
/// the victim's input, to the last bit.
#[test]
fn a_threshold_below_the_overlap_would_give_the_victims_input_away() {
    let world = world(3, 0);
    let with = open(&world, SETS[0], answers(&world, &[0, 1, 4, 5], SETS[0]));
    let without = open(&world, SETS[1], answers(&world, &[2, 3, 4, 5], SETS[1]));
    let victims: Vec<Vec<u64>> = with
        .iter()
        .zip(&without)
        .map(|(with, without)| with.iter().zip(without).map(|(a, b)| a - b).collect())
        .collect();
    assert_eq!(victims, plain_sum(&world.session, &[VICTIM]));
}

/// Clients that admit two corrupt ones ask for 2t ≥ k + 3 (V-05).
#[test]
fn the_overlap_is_asked_for() {
    let world = world(3, 2);
    let error = below("threshold", 3, 4);
    assert_eq!(world.join(VICTIM, &world.roster_for(VICTIM)), Err(error));
}

/// With that threshold no division of the honest clients opens both sets: whatever the server
/// tells whom, with both corrupt clients signing both (V-22).
#[test]
fn with_the_overlap_corrupt_clients_cannot_open_two_sets() {
    let world = world(4, 2);
    let honest = 1..4_usize;
    for division in 0..8_u8 {
        let told_of_the_victim = |client: &usize| division >> (client - 1) & 1 == 1;
        let (left, right): (Vec<usize>, Vec<usize>) = honest.clone().partition(told_of_the_victim);
        let mut opened = BTreeSet::new();
        for (set, half) in [(0, [&[VICTIM], &left[..]].concat()), (1, right)] {
            let told = [&half[..], &CORRUPT].concat();
            let (_, answers) = answers(&world, &told, SETS[set]);
            let valid = u64::try_from(told.len() - 1).unwrap();
            for client in half {
                match &answers[&client] {
                    Ok(_) => drop(opened.insert(set)),
                    Err(error) => assert_eq!(*error, too_few_signatures(valid, 4)),
                }
            }
        }
        assert!(opened.len() < 2, "division {division:03b} opened both");
    }
}

/// A corrupt client that sends the server a second signature, on another set, is told that the
/// first counts; what it sends first on another set is rejected (V-32, V-35).
#[test]
fn a_server_passes_on_signatures_on_its_set_only() {
    use secagg::server::{Rejection, RejectionReason};
    let world = world(4, 2);
    let session = &world.session;
    let (AfterMasked::Check(mut server), _) = world.uploaded(&world.clients, |_, _| ()) else {
        panic!("the server is not trusted here");
    };
    let message = |set| [header(session, 8), world.signs(CORRUPT[0], set).1].concat();
    let client = id(CORRUPT[0]);
    let rejected = |reason| Err(Rejection { client, reason });
    let other = message(SETS[1]);
    assert_eq!(other.len(), HEADER + 64);
    let wrong = server.take(session, CORRUPT[0], &other);
    assert_eq!(wrong, rejected(RejectionReason::WrongSignature));
    server.take(session, CORRUPT[0], &message(SETS[0])).unwrap();
    let again = server.take(session, CORRUPT[0], &other);
    assert_eq!(again, rejected(RejectionReason::Duplicate));
}
