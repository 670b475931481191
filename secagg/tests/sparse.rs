//! Rounds over the sparse graph: the plain sum, or an abort that says so, whoever leaves when.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap fails the test"
)]

mod common;

use std::collections::BTreeMap;

use common::{Receive, elements, id, plain_sum, session_of};
use proptest::prelude::*;
use secagg::{
    GraphKind, Session, ThreatModel,
    server::{Abort, AfterMasked, Outcome, Phase},
};

/// Runs a round. `last` is how far each client comes: 0 shares, 1 uploads, 2 signs, 3 reveals.
/// A client that refuses to go on leaves, as a real one does.
fn run(session: &Session, degree: u32, threshold: u32, last: &[u8]) -> Result<Outcome, Abort> {
    let mut server = common::open(session);
    let mut clients = BTreeMap::new();
    for client in 0..last.len() {
        let (state, advert) = common::start(session, client, common::LENIENT);
        server.take(session, client, &advert).unwrap();
        clients.insert(client, state);
    }
    let mut server = server.close(degree, threshold)?;
    let mut waiting = BTreeMap::new();
    for (client, state) in clients {
        let roster = server.roster_for(id(client)).unwrap().encode(session);
        let (state, shares) = common::share(session, client, state, &roster).unwrap();
        if last[client] >= 1 {
            server.take(session, client, &shares).unwrap();
            waiting.insert(client, state);
        }
    }
    let mut server = server.close()?;
    let mut uploaded = BTreeMap::new();
    for (client, state) in waiting {
        let Some(delivery) = server.delivery_for(id(client)) else {
            continue;
        };
        let delivery = delivery.encode(session);
        let (state, masked) = common::upload(session, client, state, &delivery).unwrap();
        if last[client] >= 2 || client % 3 == 0 {
            server.take(session, client, &masked).unwrap();
            uploaded.insert(client, state);
        }
    }
    let mut messages = BTreeMap::new();
    let mut server = match server.close()? {
        AfterMasked::Unmask(server) => {
            let survivors = server.survivors().encode(session);
            for (client, state) in uploaded {
                if let Ok(shares) = common::reveal(session, state, &survivors) {
                    messages.insert(client, shares);
                }
            }
            server
        }
        AfterMasked::Check(mut server) => {
            let survivors = server.survivors().encode(session);
            let mut signed = BTreeMap::new();
            for (client, state) in uploaded {
                if let Ok((state, check)) = common::sign(session, state, &survivors)
                    && last[client] >= 2
                {
                    server.take(session, client, &check).unwrap();
                    signed.insert(client, state);
                }
            }
            let server = server.close()?;
            for (client, state) in signed {
                if let Some(signatures) = server.signatures_for(id(client)) {
                    let signatures = signatures.encode(session);
                    let shares = common::reveal_signed(session, state, &signatures).unwrap();
                    messages.insert(client, shares);
                }
            }
            server
        }
    };
    for (client, shares) in messages {
        if last[client] >= 3 {
            server.take(session, client, &shares).unwrap();
        }
    }
    // Whoever waits until the tally has what it needs does not wait in vain, and no longer than that.
    let tally = server.tally();
    let outcome = server.close();
    assert_eq!(outcome.is_ok(), tally.have >= tally.needed, "{tally:?}");
    outcome
}

fn check(model: ThreatModel, degree: u32, threshold: u32, last: &[u8], salt: u8) -> bool {
    let clients = u32::try_from(last.len()).unwrap();
    let session = session_of(model, GraphKind::Sparse, clients, salt);
    match run(&session, degree, threshold, last) {
        Ok(outcome) => {
            let included = |client: &usize| outcome.contributors.contains(&id(*client));
            let included: Vec<usize> = (0..last.len()).filter(included).collect();
            assert_eq!(elements(&outcome.sum), plain_sum(&session, &included));
            // Whoever uploaded is in the sum, or was lost before because of its neighbours.
            for (client, phase) in &outcome.lost {
                if *phase > Phase::MaskedInput {
                    assert!(outcome.contributors.contains(client));
                }
            }
            true
        }
        Err(Abort::TooFewClients { .. } | Abort::TooFewShares { .. }) => false,
        Err(abort) => panic!("{abort}"),
    }
}

const MODELS: [ThreatModel; 2] = [ThreatModel::HonestButCurious, ThreatModel::Malicious];

#[test]
fn everybody_stays() {
    for model in MODELS {
        assert!(check(model, 8, 5, &[3; 20], 0));
        // A degree of n − 1 is the complete graph.
        assert!(check(model, 19, 11, &[3; 20], 0));
    }
}

/// One client at every stage leaves: each of its neighbours has seven others.
#[test]
fn some_leave_at_every_stage() {
    for model in MODELS {
        let mut last = [3; 20];
        last[..3].copy_from_slice(&[0, 1, 2]);
        assert!(check(model, 8, 5, &last, 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_round_gives_the_plain_sum_or_an_abort(
        last in prop::collection::vec(prop_oneof![1 => Just(0_u8), 1 => Just(1), 1 => Just(2), 12 => Just(3)], 9..24),
        half in 2_u32..4,
        malicious: bool,
        salt: u8,
    ) {
        let degree = 2 * half;
        let model = MODELS[usize::from(malicious)];
        let threshold = if malicious { half + 1 } else { 2 };
        check(model, degree, threshold, &last, salt);
    }
}
