//! The roster: its size, its numbers, who is in it and how often.

use secagg::{
    DecodeError, GraphKind, Parameters, Policy, Roster, Session, ThreatModel,
    client::{AwaitRoster, ClientError},
    server::{Rejection, RejectionReason},
};

use crate::{
    common::{self, Receive, id},
    world::{ENTRY, HEADER, MODELS, POLICY, ROSTER, World, advert_len, below},
};

/// With a tiny cohort the sum would be hardly more than one client's input (V-03).
#[test]
fn a_cohort_below_the_clients_floor_is_refused() {
    for model in MODELS {
        let policy = Policy {
            min_cohort: 7,
            ..POLICY
        };
        let world = World::of(model);
        let roster = world.roster_for(0);
        let error = world.under(policy).join(0, &roster).unwrap_err();
        assert_eq!(error, below("cohort", 6, 7));
    }
}

/// A sum over more clients than the session allows could wrap around; fewer than it promises hide
/// less (V-04). The decoder knows the range, and so does the client, wherever the roster is from.
#[test]
fn a_cohort_outside_the_sessions_range_is_refused() {
    for model in MODELS {
        let world = World::of(model);
        let join = |range| {
            let layout = common::layout();
            let parameters = Parameters::new(model, GraphKind::Complete, range, layout).unwrap();
            let session = Session::new(parameters, *world.session.context());
            let (state, _) = common::start(&session, 0, POLICY);
            let roster = world.advertised().0.roster_for(id(0)).unwrap();
            state.receive(roster, &mut common::coins(0, 1)).unwrap_err()
        };
        let above = ClientError::AboveCeiling {
            what: "cohort",
            value: 6,
            ceiling: 5,
        };
        assert_eq!(join(3..=5), above);
        assert_eq!(join(7..=9), below("cohort", 6, 7));
    }
}

/// A threshold that corrupt clients reach alone would open every seed; against a malicious server
/// one of less than (k + t_A)/2 would let two halves of the neighbours open both seeds of one
/// client (V-05).
#[test]
fn a_threshold_that_corrupt_clients_reach_is_refused() {
    for model in MODELS {
        let policy = Policy {
            max_corrupt: 4,
            ..POLICY
        };
        let world = World::of(model);
        let roster = world.roster_for(0);
        let error = world.under(policy).join(0, &roster).unwrap_err();
        assert_eq!(error, below("threshold", 4, 5));
    }
    // The overlap is asked for where the server is not trusted, and only there.
    let low = |model| World {
        threshold: 3,
        ..World::of(model)
    };
    let trusted = low(ThreatModel::HonestButCurious);
    assert_eq!(trusted.join(0, &trusted.roster_for(0)), Ok(()));
    let distrusted = low(ThreatModel::Malicious);
    let error = distrusted.join(0, &distrusted.roster_for(0)).unwrap_err();
    assert_eq!(error, below("threshold", 3, 4));
}

/// The same in the sparse graph, where chance decides how many of the eight neighbours are corrupt
/// (V-05): with σ = 40 and three corrupt clients of twenty all three may be.
#[test]
fn a_threshold_too_low_for_the_sparse_graph_is_refused() {
    let policy = Policy {
        max_corrupt: 3,
        security_bits: 40,
        ..POLICY
    };
    let world = World::sparse(ThreatModel::Malicious);
    let roster = world.roster_for(0);
    let error = world.under(policy).join(0, &roster).unwrap_err();
    assert_eq!(error, below("threshold", 5, 6));
}

/// With a threshold above the number of neighbours no seed could be opened, and nobody's sum; with
/// a degree that the graph does not have, a client would deal its shares to strangers (V-06).
#[test]
fn degrees_and_thresholds_that_no_graph_has_are_refused() {
    for model in MODELS {
        let world = World::of(model);
        let mut roster = world.roster_for(0);
        roster[HEADER + 4] = 6;
        let above = ClientError::AboveCeiling {
            what: "threshold",
            value: 6,
            ceiling: 5,
        };
        assert_eq!(world.join(0, &roster), Err(above));

        let mut roster = world.roster_for(0);
        roster[HEADER] = 4;
        let error = ClientError::Degree {
            degree: 4,
            cohort: 6,
        };
        assert_eq!(world.join(0, &roster), Err(error));

        // An odd degree below n − 1 is no ring.
        let world = World::sparse(model);
        let mut roster = world.roster_for(0);
        roster[HEADER] = 7;
        roster.truncate(roster.len() - advert_len(&world.session));
        let (degree, cohort) = (7, 20);
        let error = ClientError::Degree { degree, cohort };
        assert_eq!(world.join(0, &roster), Err(error));
    }
}

/// A swapped key would let the server read the shares that this client is dealt, or cancel its
/// masks (V-08).
#[test]
fn a_roster_with_another_advert_of_this_client_is_refused() {
    for model in MODELS {
        let world = World::of(model);
        let (len, rank) = (advert_len(&world.session), world.rank(0));
        let roster = world.roster_for(0);
        let own = ROSTER + rank * len;
        // The keys of the neighbour in the roster, under this client's id.
        let other = ROSTER + (rank + 1) % 6 * len;
        let mut swapped = roster.clone();
        swapped[own + 16..own + 112].copy_from_slice(&roster[other + 16..other + 112]);
        assert_eq!(world.join(0, &swapped), Err(ClientError::AdvertChanged));
    }
}

/// The digest of another advert in its place would do the same in the sparse graph, where a client
/// sees the adverts of its neighbours only (V-08).
#[test]
fn a_sparse_roster_with_another_digest_for_this_client_is_refused() {
    for model in MODELS {
        let world = World::sparse(model);
        let mut roster = world.roster_for(0);
        let digest = ROSTER + world.rank(0) * ENTRY + 16;
        roster[digest] ^= 1;
        assert_eq!(world.join(0, &roster), Err(ClientError::AdvertChanged));
    }
}

/// An older advert of the victim, for the very same session and rightly signed: the server knows
/// nothing of its secrets, but the client does not either any more (V-08).
#[test]
fn an_advert_of_an_earlier_start_is_refused() {
    let world = World::new();
    let (state, _) = AwaitRoster::start(
        world.session.clone(),
        common::member(0),
        POLICY,
        &mut common::coins(0, 0x77),
    )
    .unwrap();
    let error = common::share(&world.session, 0, state, &world.roster_for(0)).unwrap_err();
    assert_eq!(error, ClientError::AdvertChanged);
}

/// A client that deals shares although it is not in the roster would help a round that does not
/// count it (V-08).
#[test]
fn a_roster_without_this_client_is_refused() {
    for model in MODELS {
        let world = World::of(model);
        let roster = world.roster_for(0);
        assert_eq!(world.join(7, &roster), Err(ClientError::NotInRoster));
    }
}

/// One client in two positions would count twice towards every threshold (V-07).
#[test]
fn a_roster_with_one_client_twice_is_refused() {
    let twice = DecodeError::NotAscending { what: "roster" };
    for model in MODELS {
        let complete = World::of(model);
        let sparse = World::sparse(model);
        let adverts = advert_len(&sparse.session);
        for (world, first, len) in [
            (&complete, ROSTER, advert_len(&complete.session)),
            // Ids and digests, and behind them the adverts of the neighbours.
            (&sparse, ROSTER, ENTRY),
            (&sparse, ROSTER + 20 * ENTRY, adverts),
        ] {
            let honest = world.roster_for(0);
            let mut roster = honest.clone();
            roster.copy_within(first..first + len, first + len);
            let error = Roster::decode(&roster, &world.session).unwrap_err();
            assert_eq!(error, twice);
            // Out of order is a second encoding of the same roster.
            let mut roster = honest.clone();
            roster.copy_within(first..first + len, first + len);
            roster[first..first + len].copy_from_slice(&honest[first + len..first + 2 * len]);
            let error = Roster::decode(&roster, &world.session).unwrap_err();
            assert_eq!(error, twice);
        }
    }
}

/// Nobody takes a second place by advertising twice either (V-32).
#[test]
fn a_second_advert_of_one_client_is_rejected() {
    let world = World::new();
    let mut server = common::open(&world.session);
    let (_, advert) = common::start(&world.session, 0, POLICY);
    server.take(&world.session, 0, &advert).unwrap();
    let (client, reason) = (id(0), RejectionReason::Duplicate);
    let again = server.take(&world.session, 0, &advert);
    assert_eq!(again, Err(Rejection { client, reason }));
}
