//! Attacks carried out: a server or a client deviates, and the exact error names what or whom.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap fails the test"
)]

mod common;

use common::{Receive, elements, id, plain_sum, session};
use secagg::{
    Advert, ClientId, Context, DecodeError, Delivery, InputError, Layout, MaskedInput, Policy,
    Roster, Segment, Session, Survivors, Vector,
    client::{AwaitDelivery, AwaitRoster, AwaitSurvivors, ClientError},
    server::{AfterMasked, CollectMasked, CollectShares, CollectUnmask, RejectionReason},
};

const POLICY: Policy = Policy {
    min_cohort: 4,
    min_survivors: 4,
    ..common::LENIENT
};
const CLIENTS: usize = 6;
const DEGREE: u32 = 5;
const THRESHOLD: u32 = 3;
const HEADER: usize = 18;

fn advertised(session: &Session) -> (CollectShares, Vec<AwaitRoster>) {
    advertised_under(session, POLICY)
}

fn advertised_under(session: &Session, policy: Policy) -> (CollectShares, Vec<AwaitRoster>) {
    let mut server = common::open(session);
    let states = (0..CLIENTS)
        .map(|client| {
            let (state, advert) = common::start(session, client, policy);
            server.take(session, client, &advert).unwrap();
            state
        })
        .collect();
    (server.close(DEGREE, THRESHOLD).unwrap(), states)
}

fn shared(session: &Session) -> (CollectMasked, Vec<AwaitDelivery>) {
    shared_under(session, POLICY)
}

fn shared_under(session: &Session, policy: Policy) -> (CollectMasked, Vec<AwaitDelivery>) {
    let (mut server, states) = advertised_under(session, policy);
    let roster = server.roster_for(id(0)).unwrap().encode(session);
    let states = states
        .into_iter()
        .enumerate()
        .map(|(client, state)| {
            let (state, shares) = common::share(session, client, state, &roster).unwrap();
            server.take(session, client, &shares).unwrap();
            state
        })
        .collect();
    (server.close().unwrap(), states)
}

/// The first `uploads` clients upload; `tamper` may change what a client is delivered.
fn uploaded(
    session: &Session,
    uploads: usize,
    tamper: impl Fn(usize, &mut Vec<u8>),
) -> (CollectUnmask, Vec<AwaitSurvivors>) {
    uploaded_under(session, POLICY, uploads, tamper)
}

fn uploaded_under(
    session: &Session,
    policy: Policy,
    uploads: usize,
    tamper: impl Fn(usize, &mut Vec<u8>),
) -> (CollectUnmask, Vec<AwaitSurvivors>) {
    let (mut server, states) = shared_under(session, policy);
    let states = states
        .into_iter()
        .enumerate()
        .take(uploads)
        .map(|(client, state)| {
            let mut delivery = server.delivery_for(id(client)).unwrap().encode(session);
            tamper(client, &mut delivery);
            let (state, masked) = common::upload(session, client, state, &delivery).unwrap();
            server.take(session, client, &masked).unwrap();
            state
        })
        .collect();
    match server.close().unwrap() {
        AfterMasked::Unmask(server) => (server, states),
        AfterMasked::Check(_) => panic!("the server is trusted here"),
    }
}

/// The rank of a client in the roster.
fn rank(client: usize) -> usize {
    (0..CLIENTS).filter(|other| id(*other) < id(client)).count()
}

fn below(what: &'static str, value: u64, floor: u64) -> ClientError {
    ClientError::BelowFloor { what, value, floor }
}

/// With a tiny cohort the sum would be hardly more than one client's input.
#[test]
fn a_cohort_below_the_clients_floor_is_refused() {
    let session = session(6, 0);
    let policy = Policy {
        min_cohort: 7,
        ..POLICY
    };
    let (server, _) = advertised(&session);
    let roster = server.roster_for(id(0)).unwrap().encode(&session);
    let (state, _) = common::start(&session, 0, policy);
    let error = common::share(&session, 0, state, &roster).unwrap_err();
    assert_eq!(error, below("cohort", 6, 7));
}

/// A threshold that corrupt clients reach alone would open every seed.
#[test]
fn a_threshold_that_corrupt_clients_reach_is_refused() {
    let session = session(6, 0);
    let policy = Policy {
        max_corrupt: 3,
        ..POLICY
    };
    let (server, _) = advertised(&session);
    let roster = server.roster_for(id(0)).unwrap().encode(&session);
    let (state, _) = common::start(&session, 0, policy);
    let error = common::share(&session, 0, state, &roster).unwrap_err();
    assert_eq!(error, below("threshold", 3, 4));
}

/// With a threshold above the number of neighbours no seed could be opened, and nobody's sum.
#[test]
fn a_threshold_above_the_number_of_neighbours_is_refused() {
    let session = session(6, 0);
    let (server, mut states) = advertised(&session);
    let mut roster = server.roster_for(id(0)).unwrap().encode(&session);
    roster[HEADER + 4] = 6;
    let error = common::share(&session, 0, states.remove(0), &roster).unwrap_err();
    assert_eq!(
        error,
        ClientError::AboveCeiling {
            what: "threshold",
            value: 6,
            ceiling: 5
        }
    );
}

/// A swapped key would let the server read the shares that this client is dealt.
#[test]
fn a_roster_with_another_advert_of_this_client_is_refused() {
    let session = session(6, 0);
    let (server, mut states) = advertised(&session);
    let roster = server.roster_for(id(0)).unwrap().encode(&session);
    let own = HEADER + 12 + rank(0) * 112;
    // The keys of the neighbour in the roster, under this client's id.
    let other = HEADER + 12 + (rank(0) + 1) % CLIENTS * 112;
    let mut swapped = roster.clone();
    swapped[own + 16..own + 112].copy_from_slice(&roster[other + 16..other + 112]);
    let error = common::share(&session, 0, states.remove(0), &swapped).unwrap_err();
    assert_eq!(error, ClientError::AdvertChanged);
}

#[test]
fn a_roster_without_this_client_is_refused() {
    let session = session(6, 0);
    let (server, _) = advertised(&session);
    let roster = server.roster_for(id(0)).unwrap().encode(&session);
    let (state, _) = common::start(&session, 7, POLICY);
    assert_eq!(
        common::share(&session, 7, state, &roster).unwrap_err(),
        ClientError::NotInRoster
    );
}

/// One client in two positions would count twice towards every threshold.
#[test]
fn a_roster_with_one_client_twice_is_refused() {
    let session = session(6, 0);
    let (server, _) = advertised(&session);
    let mut roster = server.roster_for(id(0)).unwrap().encode(&session);
    let first = HEADER + 12;
    roster.copy_within(first..first + 112, first + 112);
    assert_eq!(
        Roster::decode(&roster, &session).unwrap_err(),
        DecodeError::NotAscending { what: "roster" }
    );
}

/// With an identity key every agreement gives a secret that everybody knows.
#[test]
fn identity_and_non_canonical_keys_are_refused() {
    let session = session(6, 0);
    let (_, advert) = common::start(&session, 0, POLICY);
    for (at, what) in [(HEADER + 16, "mask key"), (HEADER + 48, "channel key")] {
        for key in [[0; 32], [0xff; 32]] {
            let mut advert = advert.clone();
            advert[at..at + 32].copy_from_slice(&key);
            assert_eq!(
                Advert::decode(&advert, &session).unwrap_err(),
                DecodeError::InvalidPoint { what }
            );
        }
    }
}

/// An advert in another's name would replace that client's keys.
#[test]
fn an_advert_in_anothers_name_is_rejected() {
    let session = session(6, 0);
    let mut server = common::open(&session);
    let (_, advert) = common::start(&session, 0, POLICY);
    let rejection = server.take(&session, 1, &advert).unwrap_err();
    assert_eq!(rejection.client, id(1));
    assert_eq!(
        rejection.reason,
        RejectionReason::ForeignAdvert { claimed: id(0) }
    );
}

/// More clients than the parameters allow could make the sum wrap around.
#[test]
fn an_advert_beyond_the_largest_cohort_is_rejected() {
    let session = session(3, 0);
    let mut server = common::open(&session);
    for client in 0..3 {
        let (_, advert) = common::start(&session, client, POLICY);
        server.take(&session, client, &advert).unwrap();
    }
    let (_, advert) = common::start(&session, 3, POLICY);
    let rejection = server.take(&session, 3, &advert).unwrap_err();
    assert_eq!(rejection.client, id(3));
    assert_eq!(rejection.reason, RejectionReason::CohortFull { max: 3 });
}

/// Messages of another round, or of clients that were shown another model, do not enter this one.
#[test]
fn messages_of_another_session_are_refused() {
    let session = session(6, 0);
    let context = Context {
        model_digest: [9; 32],
        ..*session.context()
    };
    let other = Session::new(session.parameters().clone(), context);
    let (_, advert) = common::start(&other, 0, POLICY);
    assert_eq!(
        Advert::decode(&advert, &session).unwrap_err(),
        DecodeError::OtherSession
    );
    let (server, _) = uploaded(&other, CLIENTS, |_, _| ());
    let survivors = server.survivors().encode(&other);
    assert_eq!(
        Survivors::decode(&survivors, &session).unwrap_err(),
        DecodeError::OtherSession
    );
    let packed = MaskedInput::encoded_len(&session);
    assert_eq!(
        MaskedInput::from_vec(vec![1; packed], &session).unwrap_err(),
        DecodeError::WrongKind {
            expected: 5,
            found: 1
        }
    );
}

/// A server that delivers few boxes leaves the client with masks that few others can open.
#[test]
fn too_few_sharers_are_refused() {
    let session = session(6, 0);
    let (server, mut states) = shared(&session);
    let delivery = server.delivery_for(id(0)).unwrap().encode(&session);
    // Keep the boxes of two neighbours only: one below the threshold.
    let mut withheld = delivery[..HEADER + 4].to_vec();
    withheld.push(0b00011);
    withheld.extend_from_slice(&delivery[HEADER + 5..HEADER + 5 + 2 * 80]);
    let error = common::upload(&session, 0, states.remove(0), &withheld).unwrap_err();
    assert_eq!(
        error,
        below("number of neighbours that shared their keys", 2, 3)
    );
}

/// A set over another number of neighbours would give boxes to the wrong senders.
#[test]
fn a_delivery_over_another_number_of_neighbours_is_refused() {
    let session = session(6, 0);
    let (server, mut states) = shared(&session);
    let delivery = server.delivery_for(id(0)).unwrap().encode(&session);
    let mut shorter = delivery[..HEADER].to_vec();
    shorter.extend_from_slice(&[4, 0, 0, 0, 0b1111]);
    shorter.extend_from_slice(&delivery[HEADER + 5..HEADER + 5 + 4 * 80]);
    let error = common::upload(&session, 0, states.remove(0), &shorter).unwrap_err();
    assert_eq!(
        error,
        ClientError::WrongSize {
            what: "set of sharers",
            expected: 5,
            found: 4
        }
    );
}

/// A vector of another shape would be masked in part only.
#[test]
fn an_input_of_another_layout_is_refused() {
    let session = session(6, 0);
    let (server, mut states) = shared(&session);
    let delivery = server.delivery_for(id(0)).unwrap().encode(&session);
    let delivery = Delivery::decode(&delivery, &session).unwrap();
    let ready = states.remove(0).receive(delivery).unwrap();
    let other = Layout::new(vec![Segment::new("update", 601, 20).unwrap()]).unwrap();
    assert_eq!(
        ready.mask(&Vector::zero(&other)).unwrap_err(),
        ClientError::Input(InputError::OtherLayout)
    );
}

/// A server that withholds boxes, so that a client masks with few others, and lists their owners
/// as survivors afterwards, would learn the sum of those few.
#[test]
fn a_survivor_whose_box_was_withheld_is_refused() {
    let session = session(6, 0);
    let withheld_position = 4;
    let (server, mut states) = uploaded(&session, CLIENTS, |client, delivery| {
        if client == 0 {
            delivery[HEADER + 4] = 0b0_1111;
            delivery.truncate(HEADER + 5 + withheld_position * 80);
        }
    });
    let survivors = server.survivors().encode(&session);
    let mut neighbours: Vec<ClientId> = (1..CLIENTS).map(id).collect();
    neighbours.sort();
    let error = common::reveal(&session, states.remove(0), &survivors).unwrap_err();
    let client = neighbours[withheld_position];
    assert_eq!(error, ClientError::SurvivorDidNotShare { client });
}

/// Whoever is declared dropped although it uploaded must not help to open its own masks.
#[test]
fn a_survivor_set_without_the_client_is_refused() {
    let session = session(6, 0);
    let (server, mut states) = uploaded(&session, CLIENTS, |_, _| ());
    let mut survivors = server.survivors().encode(&session);
    survivors[HEADER + 4] &= !(1 << rank(0));
    let error = common::reveal(&session, states.remove(0), &survivors).unwrap_err();
    assert_eq!(error, ClientError::NotASurvivor);
}

#[test]
fn a_survivor_set_below_the_clients_floor_is_refused() {
    let session = session(6, 0);
    let (server, mut states) = uploaded(&session, CLIENTS, |_, _| ());
    let mut survivors = server.survivors().encode(&session);
    survivors[HEADER + 4] = 1 << rank(0) | 1 << rank(1) | 1 << rank(2);
    let error = common::reveal(&session, states.remove(0), &survivors).unwrap_err();
    assert_eq!(error, below("number of survivors", 3, 4));
}

/// With fewer surviving neighbours than the threshold the rest alone could open the sum of those
/// few; whatever the policy's own floor is.
#[test]
fn too_few_surviving_neighbours_are_refused() {
    let session = session(6, 0);
    let policy = Policy {
        min_survivors: 3,
        ..POLICY
    };
    let (server, mut states) = uploaded_under(&session, policy, CLIENTS, |_, _| ());
    let mut survivors = server.survivors().encode(&session);
    let others = (0..CLIENTS).filter(|other| *other != rank(0)).take(2);
    survivors[HEADER + 4] = others.fold(1 << rank(0), |set, other| set | 1 << other);
    let error = common::reveal(&session, states.remove(0), &survivors).unwrap_err();
    assert_eq!(error, below("number of surviving neighbours", 2, 3));
}

/// A set over another number of clients belongs to another roster.
#[test]
fn a_survivor_set_over_another_roster_is_refused() {
    let session = session(8, 0);
    let (server, mut states) = uploaded(&session, CLIENTS, |_, _| ());
    let mut survivors = server.survivors().encode(&session);
    survivors[HEADER] = 7;
    let error = common::reveal(&session, states.remove(0), &survivors).unwrap_err();
    assert_eq!(
        error,
        ClientError::WrongSize {
            what: "survivor set",
            expected: 6,
            found: 7
        }
    );
}

/// A box that does not open costs one share; its sender stays in, and nobody is blamed.
#[test]
fn a_box_that_does_not_open_blames_nobody() {
    let session = session(6, 0);
    // Client 5 does not upload: its mask seed is opened as well.
    let (mut server, states) = uploaded(&session, 5, |client, delivery| {
        if client == 0 {
            delivery[HEADER + 5..].fill(0xee);
        }
    });
    let survivors = server.survivors().encode(&session);
    for (client, state) in states.into_iter().enumerate() {
        let shares = common::reveal(&session, state, &survivors).unwrap();
        assert_eq!(
            shares.len() == HEADER + 4 + 5,
            client == 0,
            "five times «no share»"
        );
        server.take(&session, client, &shares).unwrap();
    }
    let outcome = server.close().unwrap();
    assert_eq!(
        elements(&outcome.sum),
        plain_sum(&session, &[0, 1, 2, 3, 4])
    );
}

/// A share of a survivor's mask seed would open what only its self mask protects; a share of a lost
/// client's self-mask seed opens nothing.
#[test]
fn a_share_of_the_wrong_kind_is_rejected() {
    let session = session(6, 0);
    let survivor = (1..5).map(id).min().unwrap();
    for (due, sent, owner) in [(1, 2, survivor), (2, 1, id(5))] {
        let (mut server, mut states) = uploaded(&session, 5, |_, _| ());
        let survivors = server.survivors().encode(&session);
        let mut shares = common::reveal(&session, states.remove(0), &survivors).unwrap();
        let mut entries = shares[HEADER + 4..].chunks_mut(33);
        entries.find(|entry| entry[0] == due).unwrap()[0] = sent;
        let rejection = server.take(&session, 0, &shares).unwrap_err();
        assert_eq!(rejection.client, id(0));
        assert_eq!(rejection.reason, RejectionReason::WrongShare { owner });
    }
}

#[test]
fn a_wrong_number_of_boxes_or_shares_is_rejected() {
    let session = session(6, 0);
    let (mut server, mut states) = advertised(&session);
    let roster = server.roster_for(id(0)).unwrap().encode(&session);
    let (_, mut shares) = common::share(&session, 0, states.remove(0), &roster).unwrap();
    shares[HEADER] = 4;
    shares.truncate(HEADER + 4 + 4 * 80);
    let reason = server.take(&session, 0, &shares).unwrap_err().reason;
    assert_eq!(
        reason,
        RejectionReason::WrongCount {
            expected: 5,
            found: 4
        }
    );

    let (mut server, mut states) = uploaded(&session, CLIENTS, |_, _| ());
    let survivors = server.survivors().encode(&session);
    let mut shares = common::reveal(&session, states.remove(0), &survivors).unwrap();
    shares[HEADER] = 4;
    shares.truncate(HEADER + 4 + 4 * 33);
    let reason = server.take(&session, 0, &shares).unwrap_err().reason;
    assert_eq!(
        reason,
        RejectionReason::WrongCount {
            expected: 5,
            found: 4
        }
    );
}

/// What the server holds of one client is uniform noise to it: two inputs that differ in
/// everything give masked vectors whose bytes pass the same test for uniformity, and the input
/// itself fails it.
#[test]
fn a_masked_vector_tells_nothing_about_its_input() {
    let session = session(6, 0);
    let (server, states) = shared(&session);
    let mut counts = [0_u32; 256];
    for (client, state) in states.into_iter().enumerate() {
        let delivery = server.delivery_for(id(client)).unwrap().encode(&session);
        let (_, masked) = common::upload(&session, client, state, &delivery).unwrap();
        // The bytes of `update` only: other segments end in padding bits.
        masked[HEADER..HEADER + 1_500]
            .iter()
            .for_each(|byte| counts[usize::from(*byte)] += 1);
    }
    let expected = f64::from(counts.iter().sum::<u32>()) / 256.0;
    let chi2: f64 = counts
        .iter()
        .map(|count| (f64::from(*count) - expected).powi(2) / expected)
        .sum();
    // 255 degrees of freedom: the 99.99 % quantile is 347. The coins are fixed.
    assert!(chi2 < 347.0, "χ² = {chi2}");
}
