//! The server optimisers against figures worked out by hand.

use std::collections::BTreeMap;

use secagg_learning::{
    OptimizerError, Parts, PlanError, ServerOptimizer, ServerOptimizerConfig,
    optimizer::{MOMENTUM, VARIANCE},
};

const ADAM: ServerOptimizerConfig = ServerOptimizerConfig::FedAdam {
    rate: 1.0,
    beta1: 0.5,
    beta2: 0.75,
    tau: 0.5,
};

const YOGI: ServerOptimizerConfig = ServerOptimizerConfig::FedYogi {
    rate: 1.0,
    beta1: 0.5,
    beta2: 0.75,
    tau: 0.5,
};

fn assert_close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= 1e-6 * expected.abs(), "{found} is not {expected}");
    }
}

#[test]
fn fedavg_adds_the_mean() {
    // η = 0.5: x = 1 + 0.5·0.5 = 1.25, x = −2 + 0.5·1 = −1.5.
    let config = ServerOptimizerConfig::FedAvg { rate: 0.5 };
    let mut optimizer = ServerOptimizer::new(&config, 2).unwrap();
    let mut weights = [1.0, -2.0];
    optimizer.step(&mut weights, &[0.5, 1.0]).unwrap();
    assert_eq!(weights, [1.25, -1.5]);
    assert_eq!(optimizer.state(), []);
}

#[test]
fn fedavgm_adds_a_running_sum() {
    // η = 0.5, β = 0.5, Δ = 1, 1, −2:
    //   m = 1                    x = 0 + 0.5·1        = 0.5
    //   m = 0.5·1 + 1 = 1.5      x = 0.5 + 0.5·1.5    = 1.25
    //   m = 0.75 − 2 = −1.25     x = 1.25 − 0.5·1.25  = 0.625
    let config = ServerOptimizerConfig::FedAvgM {
        rate: 0.5,
        momentum: 0.5,
    };
    let mut optimizer = ServerOptimizer::new(&config, 1).unwrap();
    let mut weights = [0.0];
    for (delta, expected) in [(1.0, 0.5), (1.0, 1.25), (-2.0, 0.625)] {
        optimizer.step(&mut weights, &[delta]).unwrap();
        assert_eq!(weights, [expected]);
    }
    assert_eq!(optimizer.state(), [(MOMENTUM, [-1.25].as_slice())]);
}

#[test]
fn fedadam_follows_algorithm_2() {
    // η = 1, β₁ = 0.5, β₂ = 0.75, τ = 0.5, so v starts at τ² = 0.25; Δ chosen so that √v is exact.
    // Step 1, Δ = 1.375:
    //   m = 0.5·0 + 0.5·1.375 = 0.6875                      (a bias correction would make it 1.375)
    //   v = 0.75·0.25 + 0.25·1.890625 = 0.66015625 = 0.8125²
    //   x = 1 + 0.6875/(0.8125 + 0.5) = 1 + 11/21
    // Step 2, Δ = 1.73046875 = 443/256:
    //   m = 0.5·0.6875 + 0.5·1.73046875 = 1.208984375 = 619/512
    //   v = 0.75·0.66015625 + 0.25·(443/256)² = (571/512)²
    //   x = 1 + 11/21 + (619/512)/(571/512 + 256/512) = 1 + 11/21 + 619/827
    // The second element sees the same updates negated.
    let mut optimizer = ServerOptimizer::new(&ADAM, 2).unwrap();
    let mut weights = [1.0, -1.0];
    optimizer.step(&mut weights, &[1.375, -1.375]).unwrap();
    assert_close(&weights, &[1.0 + 11.0 / 21.0, -1.0 - 11.0 / 21.0]);
    assert_eq!(
        optimizer.state(),
        [
            (MOMENTUM, [0.6875, -0.6875].as_slice()),
            (VARIANCE, [0.660_156_25, 0.660_156_25].as_slice()),
        ]
    );
    optimizer
        .step(&mut weights, &[443.0 / 256.0, -443.0 / 256.0])
        .unwrap();
    let expected = 1.0 + 11.0 / 21.0 + 619.0 / 827.0;
    assert_close(&weights, &[expected, -expected]);
    let variance = 571.0 * 571.0 / (512.0 * 512.0);
    assert_eq!(
        optimizer.state(),
        [
            (MOMENTUM, [1.208_984_4, -1.208_984_4].as_slice()), // ±619/512, exact in f32
            (VARIANCE, [variance, variance].as_slice()),
        ]
    );
}

#[test]
fn fedyogi_follows_algorithm_2() {
    // η = 1, β₁ = 0.5, β₂ = 0.75, τ = 0.5, so v starts at τ² = 0.25.
    // First element, step 1, Δ = 0.75, Δ² = 0.5625 above v, so v grows:
    //   m = 0.375, v = 0.25 + 0.25·0.5625 = 0.390625 = 0.625², x = 0.375/(0.625 + 0.5) = 1/3
    // Step 2, Δ = −0.5, Δ² = 0.25 below v, so v shrinks:
    //   m = 0.1875 − 0.25 = −0.0625, v = 0.390625 − 0.25·0.25 = 0.328125
    //   x = 1/3 − 0.0625/(0.5728219619 + 0.5) = 1/3 − 0.0582575695
    // Second element, step 1, Δ = 0.5, Δ² = v, the sign is 0 and v stays:
    //   m = 0.25, v = 0.25, x = 0.25/(0.5 + 0.5) = 0.25
    // Step 2, Δ = 0: m = 0.125, v = 0.25, x = 0.25 + 0.125 = 0.375
    let mut optimizer = ServerOptimizer::new(&YOGI, 2).unwrap();
    let mut weights = [0.0, 0.0];
    optimizer.step(&mut weights, &[0.75, 0.5]).unwrap();
    assert_close(&weights, &[1.0 / 3.0, 0.25]);
    assert_eq!(
        optimizer.state(),
        [
            (MOMENTUM, [0.375, 0.25].as_slice()),
            (VARIANCE, [0.390_625, 0.25].as_slice()),
        ]
    );
    optimizer.step(&mut weights, &[-0.5, 0.0]).unwrap();
    assert_close(&weights, &[1.0 / 3.0 - 0.058_257_569_5, 0.375]);
    assert_eq!(
        optimizer.state(),
        [
            (MOMENTUM, [-0.0625, 0.125].as_slice()),
            (VARIANCE, [0.328_125, 0.25].as_slice()),
        ]
    );
}

const ADAGRAD: ServerOptimizerConfig = ServerOptimizerConfig::FedAdagrad {
    rate: 1.0,
    beta1: 0.5,
    tau: 0.5,
};

#[test]
fn fedadagrad_follows_algorithm_2() {
    // η = 1, β₁ = 0.5, τ = 0.5, so v starts at τ² = 0.25; Δ chosen so that √v is exact.
    // Step 1, Δ = 1.2: m = 0.6, v = 0.25 + 1.44 = 1.69 = 1.3², x = 1 + 0.6/(1.3 + 0.5) = 4/3
    // Step 2, Δ = 3.12: m = 0.3 + 1.56 = 1.86, v = 1.69 + 9.7344 = 11.4244 = 3.38²
    //   x = 4/3 + 1.86/(3.38 + 0.5) = 4/3 + 93/194
    // The second element sees the same updates negated.
    let mut optimizer = ServerOptimizer::new(&ADAGRAD, 2).unwrap();
    let mut weights = [1.0, -1.0];
    optimizer.step(&mut weights, &[1.2, -1.2]).unwrap();
    assert_close(&weights, &[4.0 / 3.0, -4.0 / 3.0]);
    optimizer.step(&mut weights, &[3.12, -3.12]).unwrap();
    let expected = 4.0 / 3.0 + 93.0 / 194.0;
    assert_close(&weights, &[expected, -expected]);
    let state = optimizer.state();
    assert_eq!([state[0].0, state[1].0], [MOMENTUM, VARIANCE]);
    assert_close(state[0].1, &[1.86, -1.86]);
    assert_close(state[1].1, &[11.4244, 11.4244]);
}

/// A factor is that of the rate alone: the state is as without it.
#[test]
fn a_schedule_changes_the_rate_and_nothing_else() {
    let momentum = ServerOptimizerConfig::FedAvgM {
        rate: 1.0,
        momentum: 0.5,
    };
    let average = ServerOptimizerConfig::FedAvg { rate: 1.0 };
    for config in [average, momentum, ADAGRAD, ADAM, YOGI] {
        let mut full = ServerOptimizer::new(&config, 1).unwrap();
        let mut quarter = full.clone();
        let (mut a, mut b) = ([0.0], [0.0]);
        for delta in [1.0, -0.5] {
            let (before_a, before_b) = (a[0], b[0]);
            full.step(&mut a, &[delta]).unwrap();
            quarter
                .step_with(0.25, &Parts::ALL, &mut b, &[delta])
                .unwrap();
            assert_eq!(full, quarter);
            assert_close(&[b[0] - before_b], &[f64::from(a[0] - before_a) / 4.0]);
        }
    }
    let mut optimizer = ServerOptimizer::new(&ADAM, 1).unwrap();
    for factor in [-0.1, 1.1, f64::INFINITY] {
        assert_eq!(
            optimizer.step_with(factor, &Parts::ALL, &mut [0.0], &[1.0]),
            Err(OptimizerError::Factor { factor })
        );
    }
}

/// Of the other weights neither they nor their state change, even where there is momentum.
#[test]
fn only_the_chosen_parts_change() {
    for config in [ADAGRAD, ADAM, YOGI] {
        let mut optimizer = ServerOptimizer::new(&config, 4).unwrap();
        let mut weights = [0.0; 4];
        optimizer.step(&mut weights, &[1.0; 4]).unwrap();
        let (before, whole) = (weights, optimizer.clone());
        let parts = Parts::new([1..2, 3..4]).unwrap();
        let mut all = before;
        let mut other = whole.clone();
        other.step(&mut all, &[1.0; 4]).unwrap();
        optimizer
            .step_with(1.0, &parts, &mut weights, &[1.0; 4])
            .unwrap();
        assert_eq!(weights, [before[0], all[1], before[2], all[3]]);
        for (index, (name, state)) in optimizer.state().into_iter().enumerate() {
            let (old, new) = (whole.state()[index].1, other.state()[index].1);
            assert_eq!(state, [old[0], new[1], old[2], new[3]], "{name}");
        }
        let beyond = Parts::new(Some(3..5)).unwrap();
        assert_eq!(
            optimizer.step_with(1.0, &beyond, &mut weights, &[1.0; 4]),
            Err(OptimizerError::Parts { end: 5, len: 4 })
        );
    }
}

type State = BTreeMap<String, Vec<f32>>;

fn saved(optimizer: &ServerOptimizer) -> State {
    let state = optimizer.state().into_iter();
    state
        .map(|(name, vector)| (name.to_owned(), vector.to_vec()))
        .collect()
}

#[test]
fn a_restored_optimizer_goes_on_as_if_nothing_had_happened() {
    let momentum = ServerOptimizerConfig::FedAvgM {
        rate: 1.0,
        momentum: 0.9,
    };
    for config in [
        ServerOptimizerConfig::FedAvg { rate: 1.0 },
        momentum,
        ADAGRAD,
        ADAM,
        YOGI,
    ] {
        let mut optimizer = ServerOptimizer::new(&config, 2).unwrap();
        let mut weights = [0.1, 0.2];
        optimizer.step(&mut weights, &[0.3, -0.7]).unwrap();
        let mut restored = ServerOptimizer::restore(&config, 2, saved(&optimizer)).unwrap();
        assert_eq!(restored, optimizer);
        let mut again = weights;
        optimizer.step(&mut weights, &[0.5, 0.5]).unwrap();
        restored.step(&mut again, &[0.5, 0.5]).unwrap();
        assert_eq!(again, weights);
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let good = saved(&ServerOptimizer::new(&ADAM, 2).unwrap());
    let restore = |change: &dyn Fn(&mut State)| {
        let mut state = good.clone();
        change(&mut state);
        ServerOptimizer::restore(&ADAM, 2, state).unwrap_err()
    };
    assert_eq!(
        restore(&|state| drop(state.remove(VARIANCE))),
        OptimizerError::Missing { name: VARIANCE }
    );
    assert_eq!(
        restore(&|state| drop(state.insert("moment".into(), vec![0.0; 2]))),
        OptimizerError::Unknown {
            name: "moment".into()
        }
    );
    assert_eq!(
        restore(&|state| drop(state.insert(MOMENTUM.into(), vec![0.0; 3]))),
        OptimizerError::Length {
            name: MOMENTUM.into(),
            len: 3,
            expected: 2
        }
    );
    assert_eq!(
        restore(&|state| drop(state.insert(MOMENTUM.into(), vec![0.0, f32::NAN]))),
        OptimizerError::NotFinite {
            name: MOMENTUM.into(),
            index: 1
        }
    );
    assert_eq!(
        restore(&|state| drop(state.insert(VARIANCE.into(), vec![-1.0, 0.0]))),
        OptimizerError::NegativeVariance { index: 0 }
    );
}

#[test]
fn a_refused_step_changes_nothing() {
    let mut optimizer = ServerOptimizer::new(&ADAM, 2).unwrap();
    let before = optimizer.clone();
    let mut weights = [1.0, 2.0];
    assert_eq!(
        optimizer.step(&mut weights, &[1.0]),
        Err(OptimizerError::Length {
            name: "mean_delta".into(),
            len: 1,
            expected: 2
        })
    );
    assert_eq!(
        optimizer.step(&mut weights[..1], &[1.0, 1.0]),
        Err(OptimizerError::Length {
            name: "weights".into(),
            len: 1,
            expected: 2
        })
    );
    assert_eq!(
        optimizer.step(&mut weights, &[1.0, f32::INFINITY]),
        Err(OptimizerError::NotFinite {
            name: "mean_delta".into(),
            index: 1
        })
    );
    // The square of 1e30 is no f32.
    assert_eq!(
        optimizer.step(&mut weights, &[1.0, 1e30]),
        Err(OptimizerError::NotFinite {
            name: "new variance".into(),
            index: 1
        })
    );
    assert_eq!(weights, [1.0, 2.0]);
    assert_eq!(optimizer, before);
    let mut fedavg = ServerOptimizer::new(&ServerOptimizerConfig::FedAvg { rate: 1.0 }, 2).unwrap();
    let mut weights = [0.0, f32::MAX];
    assert_eq!(
        fedavg.step(&mut weights, &[1.0, f32::MAX]),
        Err(OptimizerError::NotFinite {
            name: "new weights".into(),
            index: 1
        })
    );
    assert_eq!(weights, [0.0, f32::MAX]);
}

#[test]
fn constants_out_of_bounds_are_refused() {
    let config = ServerOptimizerConfig::FedAvg { rate: 0.0 };
    assert_eq!(
        ServerOptimizer::new(&config, 1),
        Err(OptimizerError::Config(PlanError::Float {
            name: "server.fedavg.rate",
            value: 0.0,
            minimum: 1e-9,
            maximum: 1e9
        }))
    );
}
