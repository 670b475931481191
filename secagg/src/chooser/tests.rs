use alloc::string::ToString;

use proptest::prelude::*;

use super::{
    search::{Counts, floor_of_threshold},
    *,
};

const fn counts(malicious: bool, cohort: u32, corrupt: u32, dropped: u32) -> Counts {
    Counts {
        malicious,
        complete_only: false,
        cohort,
        corrupt,
        dropped,
        security_bits: 40,
        correctness_bits: 20,
    }
}

fn degree_and_threshold(counts: Counts) -> Option<(u32, u32)> {
    let choice = counts.choose()?;
    Some((choice.degree, choice.threshold))
}

/// The published vectors: σ = 40, η = 20.
#[test]
fn the_published_vectors_are_reproduced() {
    for (malicious, cohort, corrupt, dropped, degree, threshold) in [
        (false, 100, 0.33, 0.33, 68, 34),
        (false, 1_000, 0.33, 0.33, 286, 150),
        (false, 10_000, 0.33, 0.33, 422, 221),
        (false, 1_000, 0.05, 0.05, 30, 17),
        (false, 10_000, 0.05, 0.33, 86, 29),
        (false, 1_000, 0.33, 0.05, 78, 60),
        (true, 1_000, 0.05, 0.05, 52, 37),
        (true, 1_000, 0.3, 0.3, 872, 584),
        (true, 10_000, 0.33, 0.05, 178, 146),
    ] {
        let corrupt = Bound::Fraction(corrupt).clients("corrupt", cohort).unwrap();
        let dropped = Bound::Fraction(dropped).clients("dropped", cohort).unwrap();
        let chosen = degree_and_threshold(counts(malicious, cohort, corrupt, dropped));
        assert_eq!(
            chosen,
            Some((degree, threshold)),
            "{cohort} {corrupt} {dropped}"
        );
    }
}

/// By rational arithmetic; see `specs/parameters.md`.
#[test]
fn the_vectors_of_the_specification_are_reproduced() {
    for (malicious, cohort, corrupt, dropped, degree, threshold) in SPECIFIED {
        let counts = Counts {
            security_bits: if malicious { 80 } else { 40 },
            ..counts(malicious, cohort, corrupt, dropped)
        };
        let chosen = degree_and_threshold(counts);
        assert_eq!(chosen, Some((degree, threshold)), "{counts:?}");
    }
}

#[test]
fn the_public_chooser_answers_as_documented() {
    let assumptions = Assumptions::new(
        ThreatModel::HonestButCurious,
        GraphKind::Complete,
        10,
        Bound::Clients(3),
        Bound::Fraction(0.5),
    );
    let choice = assumptions.choose().unwrap();
    assert_eq!((choice.degree(), choice.threshold()), (9, 4));
    assert!(choice.is_complete());
    assert_eq!((choice.max_corrupt(), choice.max_dropped()), (3, 5));
    assert_eq!((choice.corrupt_floor(), choice.survivor_ceiling()), (4, 4));
    for probability in [
        choice.log2_disconnected(),
        choice.log2_insecure(),
        choice.log2_incorrect(),
    ] {
        assert_eq!(probability, f64::NEG_INFINITY);
    }
    assert_eq!(
        min_threshold(ThreatModel::HonestButCurious, 10, 9, 3, 40),
        4
    );
    assert!(
        !counts(false, 1_000, 100, 100)
            .choose()
            .unwrap()
            .is_complete()
    );
}

#[test]
fn fractions_that_binary_cannot_hold_are_whole_clients() {
    for cohort in 1..=1_000 {
        for percent in 0..=100 {
            let fraction = Bound::Fraction(f64::from(percent) / 100.0);
            assert_eq!(
                fraction.clients("dropped", cohort),
                Ok(cohort * percent / 100)
            );
        }
    }
    let cohort = 1_000_000;
    assert_eq!(
        Bound::Fraction(0.999_999).clients("dropped", cohort),
        Ok(999_999)
    );
    for fraction in [-0.1, 1.1, f64::INFINITY] {
        let what = "dropped";
        let refused = Bound::Fraction(fraction).clients(what, cohort);
        assert_eq!(refused, Err(ChooserError::Fraction { what, fraction }));
    }
    let nan = Bound::Fraction(f64::NAN).clients("dropped", cohort);
    assert!(matches!(nan, Err(ChooserError::Fraction { .. })));
    let (what, clients, cohort) = ("corrupt", 11, 10);
    assert_eq!(
        Bound::Clients(clients).clients(what, cohort),
        Err(ChooserError::Clients {
            what,
            clients,
            cohort
        })
    );
}

#[test]
fn cohorts_out_of_range_are_refused() {
    for (cohort, refused) in [(2, true), (3, false), (65_536, false), (65_537, true)] {
        let (threat_model, none) = (ThreatModel::HonestButCurious, Bound::Clients(0));
        let chosen =
            Assumptions::new(threat_model, GraphKind::Complete, cohort, none, none).choose();
        let max = 65_536;
        let error = Err(ChooserError::Cohort { cohort, max });
        assert_eq!(chosen == error, refused, "{chosen:?}");
    }
}

/// Of 10 clients 6 may be lost with 2 corrupt, because the owner of a seed holds no share of it.
#[test]
fn what_cannot_be_met_is_refused_and_what_would_do_is_said() {
    let infeasible = |corrupt, dropped| {
        let [corrupt, dropped] = [corrupt, dropped].map(Bound::Clients);
        let (threat_model, graph) = (ThreatModel::HonestButCurious, GraphKind::Complete);
        Assumptions::new(threat_model, graph, 10, corrupt, dropped)
            .choose()
            .unwrap_err()
    };
    let error = infeasible(3, 6);
    assert_eq!(
        error,
        ChooserError::Infeasible {
            threat_model: ThreatModel::HonestButCurious,
            cohort: 10,
            max_corrupt: 3,
            max_dropped: 6,
            security_bits: 40,
            correctness_bits: 20,
            feasible_dropped: Some(5),
            feasible_corrupt: Some(2),
        }
    );
    assert_eq!(
        error.to_string(),
        "no degree and threshold for 10 clients, 3 corrupt and 6 lost, with a server that follows \
         the protocol, 40 bits of security and 20 bits of correctness: with 3 corrupt, 5 may be \
         lost; with 6 lost, 2 may be corrupt; lower a bound or enlarge the cohort"
    );
    // Nine of nine neighbours would have to be honest: no bound on the lost helps.
    let error = infeasible(9, 8);
    assert!(matches!(
        error,
        ChooserError::Infeasible {
            feasible_dropped: None,
            feasible_corrupt: None,
            ..
        }
    ));
}

/// Nothing between the published case and one more lost client that could not be met.
#[test]
fn the_bounds_that_would_do_are_the_largest() {
    for malicious in [false, true] {
        let counts = counts(malicious, 1_000_000, 400_000, 400_000);
        let dropped = counts
            .largest_feasible(|dropped| Counts { dropped, ..counts })
            .unwrap();
        assert!(Counts { dropped, ..counts }.choose().is_some());
        let dropped = dropped + 1;
        assert!(Counts { dropped, ..counts }.choose().is_none(), "{dropped}");
    }
}

/// A floor that a client computes and the chooser's own threshold are the same.
#[test]
fn a_client_accepts_what_was_chosen_and_nothing_below() {
    let choice = counts(false, 1_000, 330, 330).choose().unwrap();
    let floor = |cohort, degree, corrupt| {
        min_threshold(ThreatModel::HonestButCurious, cohort, degree, corrupt, 40)
    };
    assert_eq!(floor(1_000, choice.degree, 330), choice.threshold);
    assert_eq!(floor(1_000, 999, 330), 331);
    assert_eq!(floor(1_000, 998, 0), 2);
    assert_eq!(floor_of_threshold(true, 999, 331), 665);
    // Numbers from the network do not make it panic.
    for number in [0, 1, 2, u32::MAX] {
        for other in [0, 1, 2, u32::MAX] {
            assert!(floor(number, other, number) >= 2);
            assert!(floor(number, number, other) >= 2);
            assert!(!log2_disconnected(number, other, other).is_nan());
            assert!(!log2_disconnected(other, number, 7).is_nan());
        }
    }
}

fn binomial(n: u32, k: u32) -> u128 {
    (0..k.min(n + 1)).fold(1, |product, i| {
        product * u128::from(n - i) / u128::from(i + 1)
    })
}

/// How many of the choices of `k` out of `n` have at least `t` of the `marked`.
fn tail(n: u32, marked: u32, k: u32, t: u32) -> u128 {
    (t..=k)
        .map(|j| binomial(marked, j) * binomial(n - marked, k - j))
        .sum()
}

/// What is printed beside a degree is what exact arithmetic gives for it.
#[test]
fn the_probabilities_of_a_choice_are_exact() {
    for malicious in [false, true] {
        let counts = Counts {
            security_bits: 10,
            correctness_bits: 3,
            ..counts(malicious, 100, 20, 10)
        };
        let choice = counts.sparse().unwrap();
        let (n, k, t) = (counts.cohort, choice.degree, choice.threshold);
        let log2 = |ways: u128| libm::log2(ways as f64) - libm::log2(binomial(n, k) as f64);
        let enough = if malicious { 2 * t - k } else { t };
        for (found, ways) in [
            (choice.log2_insecure, u128::from(n) * tail(n, 20, k, enough)),
            (
                choice.log2_incorrect,
                u128::from(n) * tail(n, 10, k, k + 1 - t),
            ),
            (
                choice.log2_disconnected,
                u128::from(n * (n - k - 1)) * tail(n, 30, k, k) / 2,
            ),
        ] {
            let exact = log2(ways);
            assert!(
                (found - exact).abs() < 1e-9 * exact.abs(),
                "{found} {exact}"
            );
        }
    }
}

/// Shares have a coordinate of 16 bits each: a degree beyond them would give two holders the same.
#[test]
fn no_degree_is_beyond_the_field() {
    let counts = counts(false, 1_000_000, 484_028, 485_975);
    let meets = |degree| {
        let bounds = counts.thresholds(degree);
        bounds.smallest <= bounds.survivor_ceiling
    };
    assert!(meets(65_536) && !meets(65_534));
    assert!(counts.sparse().is_none());
}

/// The whole chooser by exact arithmetic, degree after degree; `None` stands for the complete
/// graph or for nothing.
fn exact(counts: &Counts) -> Option<(u32, u32)> {
    let n = counts.cohort;
    let tail = |marked, k, t| tail(n, marked, k, t);
    (2..=n - 2).step_by(2).find_map(|k| {
        let all = binomial(n, k);
        let quantile = |marked, bits: u32| {
            // A tail that equals its bound is rounded up beyond it.
            let within = |t: &u32| (tail(marked, k, *t) * u128::from(n)) << bits < all;
            (0..).find(within).unwrap()
        };
        let missing = (counts.corrupt + counts.dropped).min(n);
        let apart = u128::from(n * (n - k - 1)) * tail(missing, k, k);
        let connected = apart << counts.security_bits < all;
        let corrupt_floor = quantile(counts.corrupt, counts.security_bits + 1);
        let survivor_ceiling = k + 1 - quantile(counts.dropped, counts.correctness_bits);
        let threshold = if counts.malicious {
            (corrupt_floor + k).div_ceil(2)
        } else {
            corrupt_floor.max(2)
        };
        (connected && threshold <= survivor_ceiling).then_some((k, threshold))
    })
}

fn any_counts(largest: u32) -> impl Strategy<Value = Counts> {
    let bounds = (3..=largest).prop_flat_map(|n| (Just(n), 0..=n / 2, 0..=n / 2));
    (any::<bool>(), bounds, 1_u32..60, 1_u32..40).prop_map(
        |(malicious, (cohort, corrupt, dropped), security_bits, correctness_bits)| Counts {
            security_bits,
            correctness_bits,
            ..counts(malicious, cohort, corrupt, dropped)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn small_cohorts_agree_with_exact_arithmetic(
        counts in any_counts(60), security_bits in 1_u32..20, correctness_bits in 1_u32..10,
    ) {
        let counts = Counts { security_bits, correctness_bits, ..counts };
        let found = counts.sparse().map(|choice| (choice.degree, choice.threshold));
        prop_assert_eq!(found, exact(&counts));
    }
}

proptest! {
    #[test]
    fn a_choice_meets_every_inequality_and_no_smaller_degree_does(counts in any_counts(3_000)) {
        let Some(choice) = counts.choose() else { return Ok(()) };
        prop_assert!((2..=choice.degree).contains(&choice.threshold));
        let twice = if counts.malicious { 2 * choice.threshold } else { u32::MAX };
        prop_assert!(twice >= choice.degree + choice.corrupt_floor);
        prop_assert!(choice.threshold >= choice.corrupt_floor);
        prop_assert!(choice.threshold <= choice.survivor_ceiling);
        prop_assert!(choice.log2_disconnected < -f64::from(counts.security_bits) - 1.0);
        prop_assert!(choice.log2_insecure <= -f64::from(counts.security_bits) - 1.0);
        prop_assert!(choice.log2_incorrect <= -f64::from(counts.correctness_bits));
        // Without the skipping of the search.
        let last = if choice.complete { counts.cohort - 1 } else { choice.degree };
        for degree in (2..last).step_by(2).filter(|degree| *degree <= counts.cohort - 2) {
            let missing = counts.corrupt + counts.dropped;
            let connected = log2_disconnected(counts.cohort, degree, missing)
                < -f64::from(counts.security_bits) - 1.0;
            let other = counts.thresholds(degree);
            prop_assert!(!connected || other.smallest > other.survivor_ceiling, "{:?}", other);
        }
    }

    #[test]
    fn more_lost_or_more_corrupt_or_more_bits_never_lower_the_degree(counts in any_counts(1_000)) {
        let degree = |counts: Counts| counts.choose().map_or(u32::MAX, |choice| choice.degree);
        let mut harder = [counts; 5];
        harder[0].dropped += 1;
        harder[1].corrupt += 1;
        harder[2].security_bits += 1;
        harder[3].correctness_bits += 1;
        harder[4].malicious = true;
        for harder in harder {
            prop_assert!(degree(counts) <= degree(harder), "{:?}", harder);
        }
    }
}

/// Malicious server: whether it is so; clients; corrupt; lost; degree; threshold.
const SPECIFIED: [(bool, u32, u32, u32, u32, u32); 17] = [
    (false, 10, 1, 1, 4, 2),
    (true, 10, 1, 1, 4, 3),
    (true, 10, 3, 1, 6, 5),
    (false, 100, 10, 10, 22, 11),
    (true, 100, 10, 10, 32, 22),
    (false, 100, 5, 30, 26, 6),
    (true, 100, 5, 30, 66, 36),
    (false, 1_000, 100, 100, 48, 27),
    (true, 1_000, 100, 100, 120, 87),
    (false, 1_000, 50, 300, 66, 23),
    (true, 1_000, 50, 300, 336, 194),
    (false, 1_000, 200, 200, 98, 54),
    (true, 1_000, 200, 200, 356, 248),
    (false, 100_000, 5_000, 30_000, 88, 31),
    (false, 1_000_000, 100_000, 100_000, 64, 36),
    (true, 1_000_000, 100_000, 100_000, 184, 132),
    (false, 1_000_000, 330_000, 330_000, 518, 270),
];
