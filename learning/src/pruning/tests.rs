use proptest::prelude::*;

use super::*;
use crate::{optimizer::MOMENTUM, plan::ServerOptimizerConfig};

const PRUNING: Pruning = Pruning {
    sparsity: 0.75,
    begin: 4,
    end: 12,
    every: 2,
};

/// A bias, a matrix of 40 weights, and filters of 24.
const SHAPES: [&[usize]; 3] = [&[6], &[5, 8], &[2, 3, 2, 2]];
const MATRIX: Range<usize> = 6..46;
const FILTERS: Range<usize> = 46..70;
const LEN: usize = 70;

fn shapes() -> impl Iterator<Item = &'static [usize]> {
    SHAPES.into_iter()
}

fn zeros(weights: &[f32]) -> Vec<usize> {
    let places = (0..weights.len()).filter(|&place| weights[place] == 0.0);
    places.collect()
}

/// 0.75 − 0.75·(1 − (t − 4)/8)³ at t = 4, 6, 8, 10, 12, kept in between.
#[test]
fn the_share_grows_as_the_papers_formula_says() {
    let at = |done: f64| 0.75 - 0.75 * (1.0 - done).powi(3);
    for (rounds, share) in [
        (0..=3, 0.0),
        (4..=5, 0.0),
        (6..=7, at(0.25)),
        (8..=9, 0.75 * 0.875),
        (10..=11, at(0.75)),
        (12..=13, 0.75),
        (u64::MAX - 1..=u64::MAX, 0.75),
    ] {
        for round in rounds {
            let found = PRUNING.sparsity_after(round);
            assert!((found - share).abs() < 1e-12, "{round}: {found} {share}");
        }
    }
    assert!((at(0.25) - 0.433_593_75).abs() < 1e-12);
    // The last step is a shorter one.
    let uneven = Pruning {
        every: 5,
        ..PRUNING
    };
    let after = [8, 9, 11, 12].map(|round| uneven.sparsity_after(round));
    assert_eq!((after[0], after[3]), (0.0, 0.75));
    assert!((after[1] - at(0.625)).abs() < 1e-12 && after[1] == after[2]);
}

#[test]
fn values_out_of_bounds_are_named() {
    for (bad, problem) in [
        (
            Pruning {
                sparsity: 1.0,
                ..PRUNING
            },
            "rounds.pruning.sparsity is 1",
        ),
        (
            Pruning {
                sparsity: f32::NAN,
                ..PRUNING
            },
            "rounds.pruning.sparsity is NaN",
        ),
        (
            Pruning {
                begin: 0,
                ..PRUNING
            },
            "rounds.pruning.begin is 0",
        ),
        (
            Pruning { end: 4, ..PRUNING },
            "rounds.pruning.end is 4; it must be from 5",
        ),
        (
            Pruning {
                every: 0,
                ..PRUNING
            },
            "rounds.pruning.every is 0",
        ),
    ] {
        let error = bad.configured().unwrap_err().to_string();
        assert!(error.starts_with(problem), "{error}");
    }
    assert_eq!(PRUNING.configured(), Ok(Some(PRUNING)));
    let none = Pruning {
        sparsity: 0.0,
        ..PRUNING
    };
    assert_eq!(none.configured(), Ok(None));
}

/// One matrix of ten weights: a half of them, by magnitude, and the first of equal ones.
#[test]
fn the_smallest_magnitudes_are_pruned() {
    let mut weights = [-0.5, 0.1, 0.2, -0.2, 0.2, 9.0, -0.01, 0.0, 3.0, 0.7];
    let pruning = Pruning {
        sparsity: 0.5,
        ..PRUNING
    };
    let whole = 0..10;
    pruning.prune(12, std::slice::from_ref(&whole), &mut weights);
    assert_eq!(weights, [-0.5, 0.0, 0.0, 0.0, 0.2, 9.0, 0.0, 0.0, 3.0, 0.7]);
    // There are as many zeros as there should be: nothing changes.
    pruning.prune(12, std::slice::from_ref(&whole), &mut weights);
    assert_eq!(zeros(&weights).len(), 5);
    assert_eq!(sparsity([[2, 5].as_slice()].into_iter(), &weights), 0.5);
    assert_eq!(sparsity([[10].as_slice()].into_iter(), &weights), 0.0);
}

#[test]
fn one_weight_at_least_is_left() {
    let pruning = Pruning {
        sparsity: 0.99,
        ..PRUNING
    };
    for len in 0..5 {
        let mut weights = vec![1.0; len];
        pruning.prune(12, std::slice::from_ref(&(0..len)), &mut weights);
        assert_eq!(zeros(&weights).len(), len.saturating_sub(1));
    }
}

fn optimizers() -> impl Strategy<Value = ServerOptimizerConfig> {
    let (rate, beta1, beta2, tau) = (0.1, 0.9, 0.99, 0.01);
    prop_oneof![
        Just(ServerOptimizerConfig::FedAvg { rate: 1.0 }),
        Just(ServerOptimizerConfig::FedAvgM {
            rate: 1.0,
            momentum: 0.9
        }),
        Just(ServerOptimizerConfig::FedYogi {
            rate,
            beta1,
            beta2,
            tau
        }),
    ]
}

fn momentum(optimizer: &ServerOptimizer) -> Vec<f32> {
    let mut state = optimizer.state().into_iter();
    let momentum = state.find(|(name, _)| *name == MOMENTUM);
    momentum.map_or_else(Vec::new, |(_, vector)| vector.to_vec())
}

proptest! {
    /// Twenty rounds with updates of any kind, in one process, and with the optimiser and the weights
    /// saved and read again before one of them.
    #[test]
    fn zeros_grow_stay_and_come_where_they_should(
        config in optimizers(),
        start in prop::collection::vec(0.01_f32..1.0, LEN),
        deltas in prop::collection::vec(prop::collection::vec(-0.5_f32..0.5, LEN), 20),
        restart in 0_usize..20,
    ) {
        let mut weights = start;
        let mut optimizer = ServerOptimizer::new(&config, LEN).unwrap();
        let mut free = (optimizer.clone(), weights.clone());
        let mut before: Vec<usize> = Vec::new();
        for (done, delta) in deltas.into_iter().enumerate() {
            if done == restart {
                let state = optimizer.state().into_iter();
                let state = state.map(|(name, vector)| (name.to_owned(), vector.to_vec()));
                optimizer = ServerOptimizer::restore(&config, LEN, state.collect()).unwrap();
            }
            let round = done as u64 + 1;
            let step = ServerStep {
                round,
                factor: 1.0,
                parts: &Parts::ALL,
                pruning: Some(&PRUNING),
            };
            let without = ServerStep { pruning: None, ..step };
            without.apply(shapes(), &mut free.0, &mut free.1, delta.clone()).unwrap();
            let kept = momentum(&optimizer);
            step.apply(shapes(), &mut optimizer, &mut weights, delta).unwrap();
            // Nothing is added to the momentum of what is pruned.
            for (new, old) in before.iter().filter_map(|&place| {
                Some((*momentum(&optimizer).get(place)?, *kept.get(place)?))
            }) {
                prop_assert!((new - 0.9 * old).abs() <= 1e-6 * old.abs(), "{new} {old}");
            }
            for tensor in [MATRIX, FILTERS] {
                let zeros = zeros(&weights[tensor.clone()]).len();
                prop_assert_eq!(zeros, count(PRUNING.sparsity_after(round), tensor.len()));
            }
            let now = zeros(&weights);
            prop_assert!(before.iter().all(|place| now.contains(place)), "a weight came back");
            before = now;
            // The bias is as it is without pruning, and so is all before the first step.
            prop_assert_eq!(&weights[..6], &free.1[..6]);
            prop_assert!(round > 5 || weights == free.1);
        }
        prop_assert_eq!(zeros(&weights[MATRIX]).len(), 30);
    }
}

/// What is pruned between two steps of the schedule, and where nobody had an example in the round of a
/// step: the next round makes up for it.
#[test]
fn a_step_that_was_missed_is_made_up_for() {
    let mut weights: Vec<f32> = (1..=70_u8).map(f32::from).collect();
    let mut optimizer =
        ServerOptimizer::new(&ServerOptimizerConfig::FedAvg { rate: 1.0 }, LEN).unwrap();
    let step = ServerStep {
        round: 7,
        factor: 1.0,
        parts: &Parts::ALL,
        pruning: Some(&PRUNING),
    };
    let delta = vec![0.5; LEN];
    step.apply(shapes(), &mut optimizer, &mut weights, delta)
        .unwrap();
    assert_eq!(zeros(&weights[MATRIX]).len(), 17);
}

/// Tensors that are not trained are not pruned either.
#[test]
fn only_what_is_trained_is_pruned() {
    let mut weights: Vec<f32> = (1..=70_u8).map(f32::from).collect();
    let mut optimizer =
        ServerOptimizer::new(&ServerOptimizerConfig::FedAvg { rate: 1.0 }, LEN).unwrap();
    let step = ServerStep {
        round: 12,
        factor: 1.0,
        parts: &Parts::new(Some(46..70)).unwrap(),
        pruning: Some(&PRUNING),
    };
    step.apply(shapes(), &mut optimizer, &mut weights, vec![0.5; LEN])
        .unwrap();
    assert_eq!(zeros(&weights), (46..64).collect::<Vec<_>>());
}

#[test]
fn a_step_that_is_refused_changes_nothing() {
    let start: Vec<f32> = (1..=70_u8).map(f32::from).collect();
    let mut weights = start.clone();
    let config = ServerOptimizerConfig::FedAvg { rate: 1.0 };
    let mut optimizer = ServerOptimizer::new(&config, LEN).unwrap();
    let step = ServerStep {
        round: 12,
        factor: 1.0,
        parts: &Parts::ALL,
        pruning: Some(&PRUNING),
    };
    for bad in [vec![f32::NAN; LEN], vec![0.0; LEN - 1]] {
        let refused = step.apply(shapes(), &mut optimizer, &mut weights, bad);
        assert!(matches!(
            refused,
            Err(OptimizerError::NotFinite { .. } | OptimizerError::Length { .. })
        ));
        assert_eq!(weights, start);
    }
}
