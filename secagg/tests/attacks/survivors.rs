//! Survivor sets that a client does not sign, whoever else does.

use secagg::{Policy, client::ClientError};

use crate::world::{HEADER, MODELS, POLICY, World, below};

/// Whoever is declared dropped although it uploaded has its mask seed opened by the others; it must
/// not help to open its self mask too, or its vector is plain (V-18).
#[test]
fn a_survivor_set_without_the_client_is_refused() {
    for model in MODELS {
        let world = World::of(model);
        let survivors = world.survivors(&[1, 2, 3, 4, 5]);
        assert_eq!(world.refusal(0, &survivors), ClientError::NotASurvivor);
    }
}

/// A sum over few is nearly one client's input (V-19).
#[test]
fn a_survivor_set_below_the_clients_floor_is_refused() {
    for model in MODELS {
        let world = World::of(model);
        let survivors = world.survivors(&[0, 1, 2]);
        let error = below("number of survivors", 3, 4);
        assert_eq!(world.refusal(0, &survivors), error);
    }
}

/// With fewer surviving neighbours than the threshold the rest alone could open the sum of those
/// few, whatever the policy's own floor is (V-20).
#[test]
fn too_few_surviving_neighbours_are_refused() {
    for model in MODELS {
        let world = World::of(model).under(Policy {
            min_survivors: 3,
            ..POLICY
        });
        let survivors = world.survivors(&[0, 1, 2, 3]);
        let error = below("number of surviving neighbours", 3, 4);
        assert_eq!(world.refusal(0, &survivors), error);
    }
}

/// In the sparse graph a long list of survivors hides nobody who is not its neighbour: four of the
/// client's own eight are too few, among sixteen (V-20).
#[test]
fn survivors_that_are_no_neighbours_do_not_count() {
    for model in MODELS {
        let world = World::sparse(model);
        let lost = &world.neighbours(0)[..4];
        let survivors = world.clients.iter().copied();
        let survivors: Vec<usize> = survivors.filter(|client| !lost.contains(client)).collect();
        let error = below("number of surviving neighbours", 4, 5);
        assert_eq!(world.refusal(0, &world.survivors(&survivors)), error);
    }
}

/// A set over another number of clients belongs to another roster, where its bits are other clients
/// (V-18).
#[test]
fn a_survivor_set_over_another_roster_is_refused() {
    for model in MODELS {
        let world = World::of(model);
        let mut survivors = world.survivors(&world.clients);
        survivors[HEADER] = 7;
        let error = ClientError::WrongSize {
            what: "survivor set",
            expected: 6,
            found: 7,
        };
        assert_eq!(world.refusal(0, &survivors), error);
    }
}
