//! Shares of the wrong kind, wrong shares, and vectors that come too late. Wrong shares in the
//! model in which the server is trusted are in `wrong_shares.rs`.

use secagg::{
    Roster, ThreatModel,
    server::{Abort, AfterMasked, Outcome, Rejection, RejectionReason, WrongShare},
};

use crate::{
    common::{self, Receive, elements, id, plain_sum},
    world::{BOX, HEADER, MODELS, SHARE, States, World},
};

/// A share of a survivor's mask seed beside those of its self mask would open its input; a share of
/// a lost client's self-mask seed would open its late vector (V-36). Nobody can ask for either:
/// there is no message that says what to reveal (V-23).
#[test]
fn a_share_of_the_wrong_kind_is_rejected() {
    for model in MODELS {
        let world = World::complete(model, 6, 4);
        let survivors = [0, 1, 2, 3, 4];
        let lost = 5;
        let first = *world.neighbours(0).iter().find(|c| **c != lost).unwrap();
        for (due, sent, owner) in [(1, 2, first), (2, 1, lost)] {
            let (mut server, mut revealed) = world.revealed(&survivors);
            let mut shares = revealed.remove(&0).unwrap();
            let mut entries = shares[HEADER + 4..].chunks_mut(SHARE);
            entries.find(|entry| entry[0] == due).unwrap()[0] = sent;
            let rejection = server.take(&world.session, 0, &shares).unwrap_err();
            let reason = RejectionReason::WrongShare { owner: id(owner) };
            let client = id(0);
            assert_eq!(rejection, Rejection { client, reason });
        }
    }
}

/// Whatever set a client is shown, its one answer holds one share a neighbour: of the self mask of
/// those in the set that it signed, of the mask seed of the others (V-23).
#[test]
fn an_answer_holds_one_kind_of_share_a_neighbour() {
    for model in MODELS {
        let world = World::complete(model, 7, 4);
        let survivors = [0, 1, 2, 3, 4];
        let (_, revealed) = world.revealed(&survivors);
        for (client, shares) in revealed {
            let entries = shares[HEADER + 4..].chunks(SHARE).map(|entry| entry[0]);
            let due = world.neighbours(client);
            let due = due
                .iter()
                .map(|owner| 2 - u8::from(survivors.contains(owner)));
            assert!(entries.eq(due));
        }
    }
}

/// A client that was declared lost had its mask seed opened: its late vector would be plain, if the
/// server took it and the self mask were off (V-39, V-17). `client/tests.rs` takes the masks off.
#[test]
fn a_vector_of_a_client_that_was_declared_lost_is_rejected() {
    for model in MODELS {
        let world = World::complete(model, 6, 4);
        let (mut server, states) = world.shared(&world.clients, |_, _| ());
        let session = &world.session;
        server.drop_client(id(5));
        let mut uploaded = States::new();
        for (client, state) in states {
            let delivery = server.delivery_for(id(client)).unwrap().encode(session);
            let (state, masked) = common::upload(session, client, state, &delivery).unwrap();
            let taken = server.take(session, client, &masked);
            if client == 5 {
                let (client, reason) = (id(5), RejectionReason::NotExpected);
                assert_eq!(taken, Err(Rejection { client, reason }));
            } else {
                assert_eq!(taken, Ok(()));
                uploaded.insert(client, state);
            }
        }
        let (mut server, revealed) = world.reveal(server.close().unwrap(), uploaded);
        for (client, shares) in revealed {
            server.take(session, client, &shares).unwrap();
        }
        let outcome = server.close().unwrap();
        let sum = plain_sum(session, &[0, 1, 2, 3, 4]);
        assert_eq!(elements(&outcome.sum), sum);
    }
}

type Pair = (usize, usize);

/// Nine clients that do not trust the server; the last is lost after it shared its keys. Dealers
/// deal wrong shares to these holders, and holders reveal wrong shares of these owners.
fn round(dealt: &[Pair], revealed: &[Pair]) -> Result<Outcome, Abort> {
    let world = nine();
    let (server, states) = world.shared(&world.clients, |client, shares| {
        let roster = Roster::decode(&world.roster_for(client), &world.session).unwrap();
        let (state, _) = common::start(&world.session, client, world.policy);
        // The same seeds on another polynomial: each share is wrong among those of the first.
        let mut coins = common::coins(client, 0x55);
        let (_, other) = state.receive(roster, &mut coins).unwrap();
        let other = other.encode(&world.session);
        for (_, holder) in dealt.iter().filter(|(dealer, _)| *dealer == client) {
            let at = HEADER + 4 + world.position(client, *holder) * BOX;
            shares[at..at + BOX].copy_from_slice(&other[at..at + BOX]);
        }
    });
    let (server, states) = world.upload(server, states, &SURVIVORS, |_, _| ());
    assert!(matches!(server, AfterMasked::Check(_)));
    let (mut server, answers) = world.reveal(server, states);
    for (client, mut shares) in answers {
        for (owner, _) in revealed.iter().filter(|(_, holder)| *holder == client) {
            shares[HEADER + 4 + world.position(client, *owner) * SHARE + 9] ^= 0x40;
        }
        server.take(&world.session, client, &shares).unwrap();
    }
    server.close()
}

const SURVIVORS: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
const LOST: usize = 8;

fn nine() -> World {
    World::complete(ThreatModel::Malicious, 9, 5)
}

/// The survivors that hold shares of an owner's seeds, in the order of the roster.
fn holders(owner: usize) -> Vec<usize> {
    let mut holders = nine().neighbours(owner);
    holders.retain(|client| *client != LOST);
    holders
}

/// A wrong share would take a wrong mask off and spoil the sum unseen, or frame whoever dealt or
/// held it. The seed is checked against its commitment (V-37), the share corrected, and the pair
/// named, because nothing tells which of the two lied (V-38).
#[test]
fn wrong_shares_are_corrected_and_the_pair_named() {
    for dealer in [holders(LOST)[3], LOST] {
        let pair = (dealer, holders(dealer)[2]);
        for outcome in [round(&[pair], &[]), round(&[], &[pair])] {
            let outcome = outcome.unwrap();
            let sum = plain_sum(&nine().session, &SURVIVORS);
            assert_eq!(elements(&outcome.sum), sum);
            let (dealer, holder) = (id(pair.0), id(pair.1));
            assert_eq!(outcome.wrong_shares, [WrongShare { dealer, holder }]);
        }
    }
}

/// More than can be corrected end the round: the dealer and the holders are named, undecided
/// (V-38).
#[test]
fn too_many_wrong_shares_abort_the_round() {
    for dealer in [holders(LOST)[3], LOST] {
        let all = holders(dealer);
        let pairs: Vec<Pair> = all[..3].iter().map(|holder| (dealer, *holder)).collect();
        let abort = Abort::WrongShares {
            dealer: id(dealer),
            holders: all[..5].iter().map(|client| id(*client)).collect(),
        };
        assert_eq!(round(&pairs, &[]).unwrap_err(), abort);
        assert_eq!(round(&[], &pairs).unwrap_err(), abort);
    }
}
