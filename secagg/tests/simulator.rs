//! Whole rounds with scripted clients: dropouts, duplicates, reorderings and late messages at
//! every boundary. The result is the plain sum of the included clients or the named abort.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap fails the test"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Receive, elements, id, plain_sum, session, session_of};
use proptest::{prelude::*, sample::select};
use secagg::{
    ClientId, GraphKind, Policy, Session, ThreatModel,
    server::{Abort, AfterMasked, CollectAdverts, Outcome, Phase, Rejection, RejectionReason},
};

/// The phases of a session, in their order.
fn phases(session: &Session) -> Vec<Phase> {
    let mut phases = vec![Phase::AdvertiseKeys, Phase::ShareKeys, Phase::MaskedInput];
    if session.parameters().threat_model() == ThreatModel::Malicious {
        phases.push(Phase::ConsistencyCheck);
    }
    phases.push(Phase::Unmask);
    phases
}

/// The last thing that a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Last {
    Nothing,
    Advert,
    Shares,
    Upload,
    Sign,
    Reveal,
}

/// What a client does in a round.
#[derive(Clone, Debug)]
struct Script {
    last: Last,
    /// After its last message the server is told that the client is gone, before the phase of
    /// that message closes.
    dropped_at_once: bool,
    /// The phase whose message it sends twice.
    duplicates: Option<Phase>,
    /// The phase whose message arrives after the client was declared gone.
    late: Option<Phase>,
    /// Its place in the order of arrival.
    order: u64,
}

impl Script {
    const fn faithful(order: u64) -> Self {
        Self {
            last: Last::Reveal,
            dropped_at_once: false,
            duplicates: None,
            late: None,
            order,
        }
    }

    /// Whether the client's message of this phase arrives in time.
    fn sends(&self, phase: Phase) -> bool {
        let reached = match phase {
            Phase::AdvertiseKeys => Last::Advert,
            Phase::ShareKeys => Last::Shares,
            Phase::MaskedInput => Last::Upload,
            Phase::ConsistencyCheck => Last::Sign,
            _ => Last::Reveal,
        };
        // A late client is out from that phase on.
        self.last >= reached && self.late.is_none_or(|late| late > phase)
    }

    /// Whether the message of this phase is the client's last.
    const fn ends_with(&self, phase: Phase) -> bool {
        matches!(
            (self.last, phase),
            (Last::Advert, Phase::AdvertiseKeys)
                | (Last::Shares, Phase::ShareKeys)
                | (Last::Upload, Phase::MaskedInput)
                | (Last::Sign, Phase::ConsistencyCheck)
                | (Last::Reveal, Phase::Unmask)
        )
    }

    /// Whether the message of this phase counts in the end.
    fn counts(&self, phase: Phase) -> bool {
        // A vector that was added and shares that were revealed stay, whoever is gone.
        let undone = !matches!(phase, Phase::MaskedInput | Phase::Unmask);
        let gone_before_close = self.dropped_at_once && self.ends_with(phase) && undone;
        self.sends(phase) && !gone_before_close
    }
}

/// Delivers the messages of one phase in the scripted order, with duplicates and late ones, and
/// checks every rejection. So many messages are needed, as the tally says.
fn deliver<S: Receive>(
    server: &mut S,
    session: &Session,
    scripts: &[Script],
    (phase, needed): (Phase, usize),
    messages: &BTreeMap<usize, Vec<u8>>,
    drop_client: impl Fn(&mut S, ClientId),
) {
    let mut missing: Vec<ClientId> = messages.keys().map(|client| id(*client)).collect();
    missing.sort();
    if phase == Phase::AdvertiseKeys {
        missing.clear();
    }
    let tally = server.progress();
    let expected = (0, missing, needed);
    assert_eq!(
        (tally.have, tally.missing, tally.needed),
        expected,
        "before {phase}"
    );
    let mut order: Vec<usize> = messages.keys().copied().collect();
    order.sort_by_key(|client| {
        (
            scripts[*client].order.rotate_left(phase as u32 * 16),
            *client,
        )
    });
    for client in order {
        let (script, bytes) = (&scripts[client], &messages[&client]);
        let reject = |reason| {
            Err(Rejection {
                client: id(client),
                reason,
            })
        };
        if script.late == Some(phase) {
            drop_client(server, id(client));
            let late = server.take(session, client, bytes);
            assert_eq!(late, reject(RejectionReason::NotExpected), "late {phase}");
            continue;
        }
        if !script.sends(phase) {
            drop_client(server, id(client));
            continue;
        }
        assert_eq!(
            server.take(session, client, bytes),
            Ok(()),
            "{phase} of {client}"
        );
        if script.duplicates == Some(phase) {
            let again = server.take(session, client, bytes);
            assert_eq!(
                again,
                reject(RejectionReason::Duplicate),
                "duplicate {phase}"
            );
        }
        if script.ends_with(phase) && script.dropped_at_once {
            drop_client(server, id(client));
        }
    }
    // Whoever is missing was dropped by now, and is awaited no longer.
    let counted = messages
        .keys()
        .filter(|client| scripts[**client].counts(phase));
    let tally = server.progress();
    assert_eq!(
        (tally.have, tally.missing),
        (counted.count(), vec![]),
        "after {phase}"
    );
}

/// Runs a round; every message travels as bytes.
fn run(
    session: &Session,
    scripts: &[Script],
    degree: Option<u32>,
    threshold: u32,
) -> Result<Outcome, Abort> {
    // Thresholds below the honest overlap are refused by clients; here the server is honest.
    let policy = Policy {
        max_corrupt: 0,
        ..common::LENIENT
    };
    let mut states = BTreeMap::new();
    let mut messages = BTreeMap::new();
    for (client, script) in scripts.iter().enumerate() {
        if script.last >= Last::Advert {
            let (state, advert) = common::start(session, client, policy);
            states.insert(client, state);
            messages.insert(client, advert);
        }
    }
    let needed = threshold as usize + 1;
    let mut server = common::open(session);
    deliver(
        &mut server,
        session,
        scripts,
        (Phase::AdvertiseKeys, 3),
        &messages,
        CollectAdverts::drop_client,
    );
    let complete = u32::try_from(server.tally().have)
        .unwrap()
        .saturating_sub(1);
    let mut server = server.close(degree.unwrap_or(complete), threshold)?;

    let (mut waiting, mut messages) = (BTreeMap::new(), BTreeMap::new());
    for (client, state) in states {
        let Some(roster) = server.roster_for(id(client)) else {
            continue;
        };
        let (state, shares) =
            common::share(session, client, state, &roster.encode(session)).unwrap();
        waiting.insert(client, state);
        messages.insert(client, shares);
    }
    deliver(
        &mut server,
        session,
        scripts,
        (Phase::ShareKeys, needed),
        &messages,
        |s, c| s.drop_client(c),
    );
    let mut server = server.close()?;

    let (mut uploaded, mut messages) = (BTreeMap::new(), BTreeMap::new());
    for (client, state) in waiting {
        let Some(delivery) = server.delivery_for(id(client)) else {
            continue;
        };
        let (state, masked) =
            common::upload(session, client, state, &delivery.encode(session)).unwrap();
        uploaded.insert(client, state);
        messages.insert(client, masked);
    }
    deliver(
        &mut server,
        session,
        scripts,
        (Phase::MaskedInput, needed),
        &messages,
        |s, c| s.drop_client(c),
    );
    let survivors;
    let (mut server, signed) = match server.close()? {
        AfterMasked::Unmask(server) => {
            survivors = server.survivors().encode(session);
            (server, None)
        }
        AfterMasked::Check(mut server) => {
            survivors = server.survivors().encode(session);
            let members: BTreeSet<ClientId> = server.clients().into_iter().collect();
            let (mut signed, mut messages) = (BTreeMap::new(), BTreeMap::new());
            for (client, state) in std::mem::take(&mut uploaded) {
                if members.contains(&id(client)) {
                    let (state, check) = common::sign(session, state, &survivors).unwrap();
                    signed.insert(client, state);
                    messages.insert(client, check);
                }
            }
            let phase = (Phase::ConsistencyCheck, needed);
            deliver(&mut server, session, scripts, phase, &messages, |s, c| {
                s.drop_client(c);
            });
            (server.close()?, Some(signed))
        }
    };
    let members: BTreeSet<ClientId> = server.clients().into_iter().collect();
    let mut messages = BTreeMap::new();
    for (client, state) in uploaded {
        if members.contains(&id(client)) {
            messages.insert(client, common::reveal(session, state, &survivors).unwrap());
        }
    }
    for (client, state) in signed.into_iter().flatten() {
        if let Some(signatures) = server.signatures_for(id(client)) {
            let signatures = signatures.encode(session);
            let shares = common::reveal_signed(session, state, &signatures).unwrap();
            messages.insert(client, shares);
        }
    }
    deliver(
        &mut server,
        session,
        scripts,
        (Phase::Unmask, needed),
        &messages,
        |s, c| s.drop_client(c),
    );
    // Whoever waits until the tally has what it needs does not wait in vain, and no longer than that.
    let tally = server.tally();
    let outcome = server.close();
    assert_eq!(outcome.is_ok(), tally.have >= tally.needed, "{tally:?}");
    outcome
}

/// What must come out, from the scripts alone.
fn expected(session: &Session, scripts: &[Script], threshold: u32) -> Result<Vec<usize>, Abort> {
    let needed = threshold as usize + 1;
    let counting = |phase, among: &[usize]| -> Vec<usize> {
        among
            .iter()
            .copied()
            .filter(|client| scripts[*client].counts(phase))
            .collect()
    };
    let check = |phase, have: &[usize], needed| match have.len() {
        have if have < needed => Err(Abort::TooFewClients {
            phase,
            have,
            needed,
        }),
        _ => Ok(()),
    };
    let all: Vec<usize> = (0..scripts.len()).collect();
    let roster = counting(Phase::AdvertiseKeys, &all);
    check(Phase::AdvertiseKeys, &roster, 3)?;
    let max = u32::try_from(roster.len() - 1).unwrap();
    if threshold > max {
        return Err(Abort::Threshold {
            threshold,
            min: 2,
            max,
        });
    }
    let sharers = counting(Phase::ShareKeys, &roster);
    check(Phase::ShareKeys, &sharers, needed)?;
    let survivors = counting(Phase::MaskedInput, &sharers);
    check(Phase::MaskedInput, &survivors, needed)?;
    let mut signers = survivors.clone();
    if phases(session).contains(&Phase::ConsistencyCheck) {
        signers = counting(Phase::ConsistencyCheck, &survivors);
        check(Phase::ConsistencyCheck, &signers, needed)?;
    }
    check(Phase::Unmask, &counting(Phase::Unmask, &signers), needed)?;
    Ok(survivors)
}

fn check(scripts: &[Script], threshold: u32, salt: u8) {
    for model in [ThreatModel::HonestButCurious, ThreatModel::Malicious] {
        let max = u32::try_from(scripts.len()).unwrap().max(3);
        let session = session_of(model, GraphKind::Complete, max, salt);
        check_in(&session, scripts, threshold);
    }
}

fn check_in(session: &Session, scripts: &[Script], threshold: u32) {
    let threshold = honest_overlap(session, scripts, threshold);
    let result = run(session, scripts, None, threshold);
    match (result, expected(session, scripts, threshold)) {
        (Ok(outcome), Ok(survivors)) => {
            assert_eq!(elements(&outcome.sum), plain_sum(session, &survivors));
            let mut ids: Vec<ClientId> = survivors.iter().map(|client| id(*client)).collect();
            ids.sort();
            assert_eq!(outcome.contributors, ids);
            let mut lost: Vec<(ClientId, Phase)> = scripts
                .iter()
                .enumerate()
                // Of a client that never said anything the server knows nothing.
                .filter(|(_, script)| script.last != Last::Nothing)
                .filter_map(|(who, script)| {
                    let phase = phases(session)
                        .into_iter()
                        .find(|phase| !script.counts(*phase))?;
                    Some((id(who), phase))
                })
                .collect();
            lost.sort();
            assert_eq!(outcome.lost, lost);
        }
        (result, expected) => {
            assert_eq!(
                result.map(|outcome| outcome.contributors.len()),
                expected.map(|s| s.len())
            );
        }
    }
}

/// Every phase, of either threat model.
const ALL: [Phase; 5] = [
    Phase::AdvertiseKeys,
    Phase::ShareKeys,
    Phase::MaskedInput,
    Phase::ConsistencyCheck,
    Phase::Unmask,
];

/// Clients refuse a threshold without honest overlap: against a malicious server it is raised.
fn honest_overlap(session: &Session, scripts: &[Script], threshold: u32) -> u32 {
    let roster = scripts
        .iter()
        .filter(|script| script.counts(Phase::AdvertiseKeys));
    match session.parameters().threat_model() {
        ThreatModel::HonestButCurious => threshold,
        _ => threshold.max(u32::try_from(roster.count()).unwrap().div_ceil(2)),
    }
}

fn scripts() -> impl Strategy<Value = Script> {
    // Most clients are faithful, so that most rounds get far.
    let last = prop_oneof![
        1 => Just(Last::Nothing),
        1 => Just(Last::Advert),
        2 => Just(Last::Shares),
        2 => Just(Last::Upload),
        1 => Just(Last::Sign),
        10 => Just(Last::Reveal),
    ];
    let late = prop_oneof![8 => Just(None), 1 => select(ALL.to_vec()).prop_map(Some)];
    let duplicates = prop_oneof![2 => Just(None), 1 => select(ALL.to_vec()).prop_map(Some)];
    (last, any::<bool>(), duplicates, late, any::<u64>()).prop_map(
        |(last, dropped_at_once, duplicates, late, order)| Script {
            last,
            dropped_at_once,
            duplicates,
            // Only a message that would have been sent can be late.
            late,
            order,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_round_gives_the_plain_sum_or_the_named_abort(
        scripts in prop::collection::vec(scripts(), 1..14), threshold in 2_u32..9, salt: u8,
    ) {
        check(&scripts, threshold, salt);
    }
}

#[test]
fn everybody_stays() {
    let scripts: Vec<Script> = (0..10).map(Script::faithful).collect();
    check(&scripts, 5, 0);
}

#[test]
fn the_smallest_round() {
    let scripts: Vec<Script> = (0..3).map(Script::faithful).collect();
    check(&scripts, 2, 0);
}

/// At every boundary, exactly as many clients leave as the threshold bears, and then one more.
#[test]
fn dropouts_down_to_the_threshold_and_one_below() {
    for last in [Last::Advert, Last::Shares, Last::Upload] {
        for (lost, survives) in [(4, true), (5, false)] {
            for dropped_at_once in [false, true] {
                let scripts: Vec<Script> = (0..10)
                    .map(|client| {
                        let script = Script::faithful(client);
                        if client < lost {
                            Script {
                                last,
                                dropped_at_once,
                                ..script
                            }
                        } else {
                            script
                        }
                    })
                    .collect();
                let session = session(10, 3);
                assert_eq!(
                    expected(&session, &scripts, 5).is_ok(),
                    survives,
                    "{last:?} {lost}"
                );
                check(&scripts, 5, 3);
            }
        }
    }
}
