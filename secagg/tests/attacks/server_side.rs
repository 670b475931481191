//! Clients that misbehave towards an honest server: one bad client costs at most itself.

use secagg::{
    ConsistencyCheck, InputError, Layout, Segment, Vector,
    client::ClientError,
    server::{Abort, AfterMasked, Rejection, RejectionReason},
};

use crate::{
    common::{self, Receive, id, session_of},
    world::{BOX, HEADER, MODELS, POLICY, SHARE, World, header},
};

fn rejected(client: usize, reason: RejectionReason) -> Result<(), Rejection> {
    let client = id(client);
    Err(Rejection { client, reason })
}

/// More clients than the parameters allow could make the sum wrap around (V-45).
#[test]
fn an_advert_beyond_the_largest_cohort_is_rejected() {
    for model in MODELS {
        let session = session_of(model, secagg::GraphKind::Complete, 3, 0);
        let mut server = common::open(&session);
        for client in 0..3 {
            let (_, advert) = common::start(&session, client, POLICY);
            server.take(&session, client, &advert).unwrap();
        }
        let (_, advert) = common::start(&session, 3, POLICY);
        let full = rejected(3, RejectionReason::CohortFull { max: 3 });
        assert_eq!(server.take(&session, 3, &advert), full);
    }
}

/// Each phase counts the first message of a client and no other, and none of a stranger or of a
/// client that was dropped: a second vector would be a second weight in the sum (V-32).
#[test]
fn duplicates_and_strangers_are_rejected_in_every_phase() {
    let world = World::new();
    let session = &world.session;
    let stranger = 7;
    let not_expected = |client| rejected(client, RejectionReason::NotExpected);
    let duplicate = |client| rejected(client, RejectionReason::Duplicate);

    let (_, advert) = common::start(session, 0, POLICY);
    let mut server = common::open(session);
    server.drop_client(id(0));
    assert_eq!(server.take(session, 0, &advert), not_expected(0));

    let (mut server, _) = world.advertised();
    let dealt = world.dealt(0);
    assert_eq!(
        server.take(session, stranger, &dealt),
        not_expected(stranger)
    );
    server.take(session, 0, &dealt).unwrap();
    assert_eq!(server.take(session, 0, &dealt), duplicate(0));
    server.drop_client(id(0));
    assert_eq!(server.take(session, 0, &dealt), not_expected(0));

    let (mut server, mut states) = world.shared(&world.clients, |_, _| ());
    let delivery = server.delivery_for(id(0)).unwrap().encode(session);
    let state = states.remove(&0).unwrap();
    let (_, masked) = common::upload(session, 0, state, &delivery).unwrap();
    assert_eq!(
        server.take(session, stranger, &masked),
        not_expected(stranger)
    );
    server.take(session, 0, &masked).unwrap();
    assert_eq!(server.take(session, 0, &masked), duplicate(0));

    let (server, states) = world.uploaded(&[0, 1, 2, 3, 4], |_, _| ());
    let AfterMasked::Check(mut server) = server else {
        panic!("the server is not trusted here");
    };
    let survivors = server.survivors().encode(session);
    let mut signed = Vec::new();
    for (client, state) in states {
        let (state, check) = common::sign(session, state, &survivors).unwrap();
        // One that is no survivor has nothing to say about them.
        assert_eq!(server.take(session, 5, &check), not_expected(5));
        server.take(session, client, &check).unwrap();
        assert_eq!(server.take(session, client, &check), duplicate(client));
        signed.push((client, state));
    }
    let mut server = server.close().unwrap();
    for (client, state) in signed {
        let signatures = server.signatures_for(id(client)).unwrap().encode(session);
        let shares = common::reveal_signed(session, state, &signatures).unwrap();
        assert_eq!(server.take(session, 5, &shares), not_expected(5));
        if client == 4 {
            server.drop_client(id(4));
            assert_eq!(server.take(session, 4, &shares), not_expected(4));
            continue;
        }
        server.take(session, client, &shares).unwrap();
        assert_eq!(server.take(session, client, &shares), duplicate(client));
    }
}

/// A list of another length would shift every later box or share to another neighbour (V-33).
#[test]
fn a_wrong_number_of_boxes_or_shares_is_rejected() {
    let wrong = rejected(
        0,
        RejectionReason::WrongCount {
            expected: 5,
            found: 4,
        },
    );
    for model in MODELS {
        let world = World::of(model);
        let (mut server, _) = world.advertised();
        let mut shares = world.dealt(0);
        shares[HEADER] = 4;
        shares.truncate(HEADER + 4 + 4 * BOX);
        assert_eq!(server.take(&world.session, 0, &shares), wrong);

        let (mut server, mut revealed) = world.revealed(&world.clients);
        let mut shares = revealed.remove(&0).unwrap();
        shares[HEADER] = 4;
        shares.truncate(HEADER + 4 + 4 * SHARE);
        assert_eq!(server.take(&world.session, 0, &shares), wrong);
    }
}

/// A signature that does not verify would be missing at each neighbour of its sender, and with a
/// few of them nobody would reveal: the server checks before it passes it on (V-35).
#[test]
fn a_wrong_signature_is_rejected_and_its_sender_named() {
    let world = World::new();
    let session = &world.session;
    let (AfterMasked::Check(mut server), _) = world.uploaded(&world.clients, |_, _| ()) else {
        panic!("the server is not trusted here");
    };
    let anothers = world.signs(1, &world.clients).1;
    let on_another_set = world.signs(0, &[0, 1, 2, 3, 4]).1;
    let of_another_round = world.again(1).signs(0, &world.clients).1;
    for signature in [anothers, on_another_set, of_another_round, vec![0; 64]] {
        let message = [header(session, 8), signature].concat();
        ConsistencyCheck::decode(&message, session).unwrap();
        let wrong = rejected(0, RejectionReason::WrongSignature);
        assert_eq!(server.take(session, 0, &message), wrong);
    }
}

/// A vector of another shape would be masked in part only (V-17).
#[test]
fn an_input_of_another_layout_is_refused() {
    for model in MODELS {
        let world = World::of(model);
        let (server, mut states) = world.shared(&world.clients, |_, _| ());
        let delivery = server.delivery_for(id(0)).unwrap();
        let ready = states.remove(&0).unwrap().receive(delivery).unwrap();
        let other = Layout::new(vec![Segment::new("update", 601, 20).unwrap()]).unwrap();
        assert_eq!(
            ready.mask(&Vector::zero(&other)).unwrap_err(),
            ClientError::Input(InputError::OtherLayout)
        );
    }
}

/// Two inputs that were added up could wrap the sum over the largest cohort (V-45).
#[test]
fn an_input_that_was_added_up_is_refused() {
    for model in MODELS {
        let world = World::of(model);
        let session = &world.session;
        let (server, mut states) = world.shared(&world.clients, |_, _| ());
        let delivery = server.delivery_for(id(0)).unwrap();
        let ready = states.remove(&0).unwrap().receive(delivery).unwrap();
        let mut input = common::input(session, 0);
        input.add(&common::input(session, 0)).unwrap();
        let max = session.max_input(session.layout().segment("update").unwrap());
        let (name, index) = ("update".into(), 0);
        assert_eq!(
            ready.mask(&input).unwrap_err(),
            ClientError::Input(InputError::OutOfRange { name, index, max })
        );
    }
}

/// Degrees without a graph, and thresholds that no seed can be shared with, end the round before
/// anybody deals shares.
#[test]
fn a_roster_without_a_graph_ends_the_round() {
    let closed = |graph, degree, threshold| {
        let session = session_of(secagg::ThreatModel::Malicious, graph, 9, 0);
        let mut server = common::open(&session);
        for client in 0..6 {
            let (_, advert) = common::start(&session, client, POLICY);
            server.take(&session, client, &advert).unwrap();
        }
        server.close(degree, threshold).map(|_| ()).unwrap_err()
    };
    for (graph, degree) in [
        (secagg::GraphKind::Complete, 4),
        (secagg::GraphKind::Sparse, 3),
        (secagg::GraphKind::Sparse, 6),
    ] {
        assert_eq!(
            closed(graph, degree, 3),
            Abort::Degree { degree, cohort: 6 }
        );
    }
    for threshold in [1, 6] {
        let expected = Abort::Threshold {
            threshold,
            min: 2,
            max: 5,
        };
        assert_eq!(closed(secagg::GraphKind::Complete, 5, threshold), expected);
    }
}

/// What the server holds of one client is uniform noise to it, whatever the input: the bytes of
/// masked vectors pass a test for uniformity (V-17, V-27).
#[test]
fn a_masked_vector_tells_nothing_about_its_input() {
    let world = World::new();
    let session = &world.session;
    let (server, states) = world.shared(&world.clients, |_, _| ());
    let mut counts = [0_u32; 256];
    for (client, state) in states {
        let delivery = server.delivery_for(id(client)).unwrap().encode(session);
        let (_, masked) = common::upload(session, client, state, &delivery).unwrap();
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
