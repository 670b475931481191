//! Boxes that the server moves, repeats or spoils.

use crate::{
    common::{Receive, elements, plain_sum},
    world::{BOX, HEADER, MODELS, SHARE, World},
};

/// Client 0 is delivered `foreign` in the place of the box from its neighbour at this position.
/// The box must not open: client 0 reports "no share" for that neighbour alone, the neighbour stays
/// a survivor, and the sum of the others' inputs and of both comes out.
fn assert_does_not_open(world: &World, position: usize, foreign: &[u8]) {
    let (server, states) = world.uploaded(&world.clients, |client, delivery| {
        if client == 0 {
            let at = HEADER + 5 + position * BOX;
            assert_ne!(&delivery[at..at + BOX], foreign);
            delivery[at..at + BOX].copy_from_slice(foreign);
        }
    });
    let (mut server, revealed) = world.reveal(server, states);
    // "No share" is one byte; in front of it stand shares with their kinds.
    let at = HEADER + 4 + position * SHARE;
    let own = &revealed[&0];
    assert_eq!((own.len(), own[at]), (HEADER + 4 + 4 * SHARE + 1, 0));
    for (client, shares) in revealed {
        server.take(&world.session, client, &shares).unwrap();
    }
    let outcome = server.close().unwrap();
    assert_eq!(
        elements(&outcome.sum),
        plain_sum(&world.session, &world.clients)
    );
    assert_eq!((outcome.lost, outcome.wrong_shares), (vec![], vec![]));
}

/// The box that one client deals to another.
fn sealed(world: &World, dealer: usize, holder: usize) -> Vec<u8> {
    let at = HEADER + 4 + world.position(dealer, holder) * BOX;
    world.dealt(dealer)[at..at + BOX].to_vec()
}

/// A box for another receiver: with it a corrupt client and the server could learn whether two keys
/// are related (V-26).
#[test]
fn a_box_for_another_receiver_does_not_open() {
    for model in MODELS {
        let world = World::of(model);
        let [dealer, other] = [world.neighbours(0)[2], world.neighbours(0)[3]];
        assert_does_not_open(&world, 2, &sealed(&world, dealer, other));
    }
}

/// A client's own box reflected to it would make it reveal a share of its own seed as if it were
/// its neighbour's: there is one key a direction (V-26).
#[test]
fn a_box_reflected_to_its_sender_does_not_open() {
    for model in MODELS {
        let world = World::of(model);
        let dealer = world.neighbours(0)[2];
        assert_does_not_open(&world, 2, &sealed(&world, 0, dealer));
    }
}

/// The box of another sender in the place of this one's: shares of one seed would be revealed as
/// those of another, of both kinds (V-26).
#[test]
fn a_box_of_another_sender_does_not_open() {
    for model in MODELS {
        let world = World::of(model);
        let dealer = world.neighbours(0)[3];
        assert_does_not_open(&world, 2, &sealed(&world, dealer, 0));
    }
}

/// A box of an earlier round, whose seeds the server may know by now (V-13, V-26).
#[test]
fn a_box_of_another_round_does_not_open() {
    for model in MODELS {
        let world = World::of(model);
        let dealer = world.neighbours(0)[2];
        assert_does_not_open(&world, 2, &sealed(&world.again(1), dealer, 0));
    }
}

/// The same adverts, so the same keys, under another threshold: another round (V-13).
#[test]
fn a_box_under_another_threshold_does_not_open() {
    for model in MODELS {
        let world = World::of(model);
        let other = World {
            threshold: 5,
            ..world.clone()
        };
        let dealer = world.neighbours(0)[2];
        assert_does_not_open(&world, 2, &sealed(&other, dealer, 0));
    }
}

/// A box that is spoilt on the way must not make its receiver leave or its sender be dropped: either
/// way one lie would cost an honest client its place (V-16).
#[test]
fn a_spoilt_box_blames_nobody() {
    for model in MODELS {
        let world = World::of(model);
        assert_does_not_open(&world, 4, &[0xee; BOX]);
    }
}

/// The same where a mask seed is opened too, and with all of a client's boxes spoilt (V-16).
#[test]
fn a_client_whose_boxes_are_all_spoilt_stays() {
    for model in MODELS {
        let world = World::complete(model, 7, 4);
        let survivors = [0, 1, 2, 3, 4, 5];
        let (server, states) = world.uploaded(&survivors, |client, delivery| {
            if client == 0 {
                delivery[HEADER + 5..].fill(0xee);
            }
        });
        let (mut server, revealed) = world.reveal(server, states);
        for (client, shares) in revealed {
            let nothing = shares.len() == HEADER + 4 + 6;
            assert_eq!(nothing, client == 0, "six times \"no share\"");
            server.take(&world.session, client, &shares).unwrap();
        }
        let outcome = server.close().unwrap();
        let sum = plain_sum(&world.session, &survivors);
        assert_eq!(elements(&outcome.sum), sum);
    }
}
