//! The sparse graph: who surrounds a client is not the server's to choose.

use secagg::{
    Roster,
    client::{AwaitRoster, ClientError},
};

use crate::{
    common::{self, id},
    world::{ENTRY, MODELS, ROSTER, World, advert_len},
};

/// A cohort of sybils around a victim would hold t shares of both its seeds. A server that delivers
/// the adverts of others than the victim's neighbours is found out by the victim, which computes
/// them from the digest of the whole roster (V-14).
#[test]
fn adverts_of_others_around_a_victim_are_refused() {
    for model in MODELS {
        let world = World::sparse(model);
        let (honest, own) = (world.roster_for(0), world.neighbours(0));
        let list = ROSTER + 20 * ENTRY;
        // Those around another client: rightly signed, and in the roster.
        for other in 1..6 {
            let sybils = world.neighbours(other);
            let placed = [&honest[..list], &world.roster_for(other)[list..]].concat();
            let missing = own.iter().find(|client| !sybils.contains(client));
            let client = id(*missing.unwrap());
            let error = world.join(0, &placed).unwrap_err();
            assert_eq!(error, ClientError::NeighbourMissing { client });
        }
    }
}

/// A neighbour's other advert, rightly signed by itself for this session, is not that of the
/// roster: with it a corrupt neighbour could show each client other keys (V-14).
#[test]
fn a_neighbours_other_advert_is_refused() {
    for model in MODELS {
        let world = World::sparse(model);
        let honest = world.roster_for(0);
        let neighbour = world.neighbours(0)[3];
        let client = id(neighbour);
        let (_, advert) = AwaitRoster::start(
            world.session.clone(),
            common::member(neighbour),
            world.policy,
            &mut common::coins(neighbour, 0x77),
        )
        .unwrap();
        let advert = advert.encode(&world.session);
        let len = advert_len(&world.session);
        let at = ROSTER + 20 * ENTRY + 3 * len;
        let mut swapped = honest;
        swapped[at..at + len].copy_from_slice(&advert[advert.len() - len..]);
        Roster::decode(&swapped, &world.session).unwrap();
        let error = world.join(0, &swapped).unwrap_err();
        assert_eq!(error, ClientError::NeighbourMissing { client });
    }
}

/// The graph hangs on every advert of the roster: a server that changes one of them to try for
/// better neighbours gets another draw, and the neighbourhoods that it has seen are void (V-14).
#[test]
fn another_roster_is_another_graph() {
    let world = World::sparse(MODELS[1]);
    let redrawn = world.again(1);
    assert_ne!(world.neighbours(0), redrawn.neighbours(0));
}
