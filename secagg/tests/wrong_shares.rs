//! Holders that reveal wrong shares and dealers that deal them: corrected and named, or the round
//! aborts; the sum is never wrong.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap fails the test"
)]

mod common;

use common::{Receive, elements, id, plain_sum, session};
use proptest::{prelude::*, sample::subsequence};
use secagg::{
    ClientId, Policy, Roster, Session,
    server::{Abort, AfterMasked, Outcome, WrongShare},
};

const POLICY: Policy = Policy {
    min_cohort: 4,
    min_survivors: 4,
    ..common::LENIENT
};
const CLIENTS: usize = 9;
const THRESHOLD: usize = 4;
/// Uploads nothing, so that a mask seed is opened too.
const LOST: usize = 8;
const HEADER: usize = 18;
const BOX: usize = 80;
/// A kind, and a share.
const ENTRY: usize = 33;

/// A client that holds a wrong share of another's seed, because it lies or was lied to.
type Pair = (usize, usize);

/// A round in which these dealers deal wrong shares to these holders, and these holders reveal
/// wrong shares of these owners' seeds.
fn round(dealt: &[Pair], revealed: &[Pair]) -> Result<Outcome, Abort> {
    let session = session(9, 0);
    let mut server = common::open(&session);
    let mut states = Vec::new();
    for client in 0..CLIENTS {
        let (state, advert) = common::start(&session, client, POLICY);
        server.take(&session, client, &advert).unwrap();
        states.push(state);
    }
    let mut server = server.close(8, u32::try_from(THRESHOLD).unwrap()).unwrap();
    let roster = server.roster_for(id(0)).unwrap().encode(&session);
    let mut shared = Vec::new();
    for (client, state) in states.into_iter().enumerate() {
        let (state, mut shares) = common::share(&session, client, state, &roster).unwrap();
        let other = shares_of_other_polynomials(&session, client, &roster);
        for (_, holder) in dealt.iter().filter(|(dealer, _)| *dealer == client) {
            let at = HEADER + 4 + position(client, *holder) * BOX;
            shares[at..at + BOX].copy_from_slice(&other[at..at + BOX]);
        }
        server.take(&session, client, &shares).unwrap();
        shared.push(state);
    }
    let mut server = server.close().unwrap();
    let mut uploaded = Vec::new();
    for (client, state) in shared.into_iter().enumerate().take(LOST) {
        let delivery = server.delivery_for(id(client)).unwrap().encode(&session);
        let (state, masked) = common::upload(&session, client, state, &delivery).unwrap();
        server.take(&session, client, &masked).unwrap();
        uploaded.push(state);
    }
    let AfterMasked::Unmask(mut server) = server.close().unwrap() else {
        panic!("the server is trusted here");
    };
    let survivors = server.survivors().encode(&session);
    for (client, state) in uploaded.into_iter().enumerate() {
        let mut shares = common::reveal(&session, state, &survivors).unwrap();
        for (owner, _) in revealed.iter().filter(|(_, holder)| *holder == client) {
            let at = HEADER + 4 + position(client, *owner) * ENTRY;
            shares[at + 9] ^= 0x40;
        }
        server.take(&session, client, &shares).unwrap();
    }
    server.close()
}

/// The same client's boxes with the same keys and seeds, but other coins for the polynomials: each
/// of its shares is wrong among those of the first.
fn shares_of_other_polynomials(session: &Session, client: usize, roster: &[u8]) -> Vec<u8> {
    let (state, _) = common::start(session, client, POLICY);
    let roster = Roster::decode(roster, session).unwrap();
    let (_, shares) = state
        .receive(roster, &mut common::coins(client, 0x55))
        .unwrap();
    shares.encode(session)
}

/// The clients in the order of the roster.
fn ranked() -> Vec<usize> {
    let mut clients: Vec<usize> = (0..CLIENTS).collect();
    clients.sort_by_key(|client| id(*client));
    clients
}

/// The position of a client among another's neighbours.
fn position(of: usize, neighbour: usize) -> usize {
    let mut others = ranked().into_iter().filter(|client| *client != of);
    others.position(|client| client == neighbour).unwrap()
}

/// The survivors that hold shares of an owner's seed, in the order of the roster.
fn holders(owner: usize) -> Vec<usize> {
    let holders = ranked().into_iter();
    holders
        .filter(|client| ![owner, LOST].contains(client))
        .collect()
}

fn named(pairs: &[Pair]) -> Vec<WrongShare> {
    let mut named: Vec<WrongShare> = pairs
        .iter()
        .map(|(dealer, holder)| WrongShare {
            dealer: id(*dealer),
            holder: id(*holder),
        })
        .collect();
    named.sort();
    named
}

fn assert_sum(outcome: &Outcome) {
    let survivors: Vec<usize> = (0..LOST).collect();
    assert_eq!(
        elements(&outcome.sum),
        plain_sum(&session(9, 0), &survivors)
    );
}

/// One holder that lies about everything spoils nothing, and stands in every pair.
#[test]
fn a_lying_holder_is_corrected_and_named_with_every_dealer() {
    let liar = holders(LOST)[0];
    let owners = (0..CLIENTS).filter(|owner| *owner != liar);
    let pairs: Vec<Pair> = owners.map(|owner| (owner, liar)).collect();
    let outcome = round(&[], &pairs).unwrap();
    assert_eq!(outcome.wrong_shares, named(&pairs));
    assert_sum(&outcome);
}

/// A dealer can make honest holders look wrong: the pair is named, and neither of them.
#[test]
fn a_dealers_wrong_shares_are_corrected_and_the_pairs_named() {
    let survivor = holders(LOST)[3];
    for dealer in [survivor, LOST] {
        let pairs = [(dealer, holders(dealer)[2])];
        let outcome = round(&pairs, &[]).unwrap();
        assert_eq!(outcome.wrong_shares, named(&pairs));
        assert_sum(&outcome);
    }
}

/// Wrong shares that are not needed are not examined.
#[test]
fn wrong_shares_beyond_the_first_do_not_matter() {
    let owner = holders(LOST)[0];
    let last = *holders(owner).last().unwrap();
    let outcome = round(&[], &[(owner, last)]).unwrap();
    assert_eq!(outcome.wrong_shares, []);
    assert_sum(&outcome);
}

/// A wrong share would take a wrong mask off and spoil the sum silently: a self mask, or the
/// pairwise masks of a lost client. More than can be corrected name the dealer and the first
/// holders, undecided.
#[test]
fn too_many_wrong_shares_abort_the_round() {
    for dealer in [holders(LOST)[3], LOST] {
        let all = holders(dealer);
        let wrong = (all.len() - THRESHOLD) / 2 + 1;
        let pairs: Vec<Pair> = all[..wrong]
            .iter()
            .map(|holder| (dealer, *holder))
            .collect();
        let expected = Abort::WrongShares {
            dealer: id(dealer),
            holders: all[..THRESHOLD].iter().map(|client| id(*client)).collect(),
        };
        assert_eq!(round(&pairs, &[]).unwrap_err(), expected);
        assert_eq!(round(&[], &pairs).unwrap_err(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whoever lies to whom: the sum is right and every named pair is one that lied, or the round
    /// aborts and names a dealer with more wrong shares than can be corrected.
    #[test]
    fn the_sum_is_right_or_there_is_none(
        dealt in pairs(), revealed in pairs(),
    ) {
        let wrong = |owner: ClientId| {
            let pairs = dealt.iter().chain(&revealed);
            let pairs = pairs.filter(|(dealer, holder)| id(*dealer) == owner && *holder != LOST);
            pairs.collect::<std::collections::BTreeSet<_>>().len()
        };
        match round(&dealt, &revealed) {
            Ok(outcome) => {
                assert_sum(&outcome);
                let lies: Vec<Pair> = dealt.iter().chain(&revealed).copied().collect();
                let lies = named(&lies);
                prop_assert!(outcome.wrong_shares.iter().all(|pair| lies.contains(pair)));
                prop_assert!(outcome.wrong_shares.is_sorted_by(|a, b| a < b));
            }
            Err(Abort::WrongShares { dealer, .. }) => {
                let held = if dealer == id(LOST) { 8 } else { 7 };
                prop_assert!(wrong(dealer) > (held - THRESHOLD) / 2);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

/// A few pairs of a dealer and a holder.
fn pairs() -> impl Strategy<Value = Vec<Pair>> {
    let all = (0..CLIENTS).flat_map(|dealer| (0..CLIENTS).map(move |holder| (dealer, holder)));
    let all: Vec<Pair> = all.filter(|(dealer, holder)| dealer != holder).collect();
    subsequence(all, 0..8)
}
