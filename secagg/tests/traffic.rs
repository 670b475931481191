//! The lengths of messages, as they are foretold and as they are.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap fails the test"
)]

mod common;

use common::{Receive, id, session_of};
use secagg::{GraphKind, Session, ThreatModel, Traffic, server::AfterMasked};

/// Runs a round in which nobody is lost, and returns the lengths of the first client's messages.
fn measure(session: &Session, cohort: usize, degree: u32, threshold: u32) -> Vec<u64> {
    let mut lengths = Vec::new();
    let mut note = |client: usize, bytes: &[u8]| {
        if client == 0 {
            lengths.push(bytes.len() as u64);
        }
    };
    let mut server = common::open(session);
    let mut states = Vec::new();
    for client in 0..cohort {
        let (state, advert) = common::start(session, client, common::LENIENT);
        note(client, &advert);
        server.take(session, client, &advert).unwrap();
        states.push(state);
    }
    let mut server = server.close(degree, threshold).unwrap();
    let mut waiting = Vec::new();
    for (client, state) in states.into_iter().enumerate() {
        let roster = server.roster_for(id(client)).unwrap().encode(session);
        note(client, &roster);
        let (state, shares) = common::share(session, client, state, &roster).unwrap();
        note(client, &shares);
        server.take(session, client, &shares).unwrap();
        waiting.push(state);
    }
    let mut server = server.close().unwrap();
    let mut uploaded = Vec::new();
    for (client, state) in waiting.into_iter().enumerate() {
        let delivery = server.delivery_for(id(client)).unwrap().encode(session);
        note(client, &delivery);
        let (state, masked) = common::upload(session, client, state, &delivery).unwrap();
        note(client, &masked);
        server.take(session, client, &masked).unwrap();
        uploaded.push(state);
    }
    match server.close().unwrap() {
        AfterMasked::Unmask(server) => {
            let survivors = server.survivors().encode(session);
            for (client, state) in uploaded.into_iter().enumerate() {
                note(client, &survivors);
                note(client, &common::reveal(session, state, &survivors).unwrap());
            }
        }
        AfterMasked::Check(mut server) => {
            let survivors = server.survivors().encode(session);
            let mut signed = Vec::new();
            for (client, state) in uploaded.into_iter().enumerate() {
                note(client, &survivors);
                let (state, check) = common::sign(session, state, &survivors).unwrap();
                note(client, &check);
                server.take(session, client, &check).unwrap();
                signed.push(state);
            }
            let server = server.close().unwrap();
            for (client, state) in signed.into_iter().enumerate() {
                let signatures = server.signatures_for(id(client)).unwrap().encode(session);
                note(client, &signatures);
                let shares = common::reveal_signed(session, state, &signatures).unwrap();
                note(client, &shares);
            }
        }
    }
    lengths
}

#[test]
fn messages_are_as_long_as_foretold() {
    for (graph, cohort, degree) in [
        (GraphKind::Complete, 5, 4),
        (GraphKind::Complete, 10, 9),
        (GraphKind::Sparse, 12, 4),
        (GraphKind::Sparse, 21, 10),
    ] {
        for model in [ThreatModel::HonestButCurious, ThreatModel::Malicious] {
            let session = session_of(model, graph, 30, 1);
            let threshold = degree * 3 / 4 + 1;
            let found = measure(&session, cohort, degree, threshold);
            let clients = u32::try_from(cohort).unwrap();
            let traffic = Traffic::new(&session, clients, degree, threshold);
            let all = [
                traffic.advert,
                traffic.roster,
                traffic.share_keys,
                traffic.delivery,
                traffic.masked_input,
                traffic.survivors,
                traffic.consistency_check,
                traffic.signatures,
                traffic.unmask_shares,
            ];
            let foretold: Vec<u64> = all.into_iter().filter(|len| *len > 0).collect();
            assert_eq!(found, foretold, "{model}, {graph}, {cohort} clients");
            assert_eq!(found.iter().sum::<u64>(), traffic.up() + traffic.down());
        }
    }
}
