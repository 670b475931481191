//! A log of steps against the server's own weights: the same to the bit, with every optimiser.
#![expect(
    clippy::unwrap_used,
    reason = "a test's helper fails the test by panicking"
)]

use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use secagg::{Context, GraphKind, Parameters, Session, ThreatModel, Vector};
use secagg_learning::{
    Counters, Directions, Evolution, OptimizerError, Parts, Plan, RoundKind, Schedule,
    ServerOptimizer, ServerOptimizerConfig, Step, StepError, TrainingPlan, UpdateCodec, UpdatePlan,
};

const PARAMETERS: u32 = 300;
const CLIENTS: u32 = 3;

const OPTIMIZERS: [ServerOptimizerConfig; 5] = [
    ServerOptimizerConfig::FedAvg { rate: 0.3 },
    ServerOptimizerConfig::FedAvgM {
        rate: 0.1,
        momentum: 0.9,
    },
    ServerOptimizerConfig::FedAdam {
        rate: 0.03,
        beta1: 0.9,
        beta2: 0.99,
        tau: 0.001,
    },
    ServerOptimizerConfig::FedYogi {
        rate: 0.03,
        beta1: 0.9,
        beta2: 0.99,
        tau: 0.001,
    },
    ServerOptimizerConfig::FedAdagrad {
        rate: 0.1,
        beta1: 0.5,
        tau: 0.01,
    },
];

const SCHEDULES: [Schedule; 3] = [
    Schedule::Constant,
    Schedule::Step {
        every: 2,
        factor: 0.3,
    },
    Schedule::Cosine {
        steps: 5,
        floor: 0.1,
    },
];

fn plan(server: ServerOptimizerConfig, schedule: Schedule, parts: Parts, pairs: u32) -> Plan {
    let update = UpdatePlan {
        parts,
        clip_norm: 100.0,
        range: 20.0,
        ..UpdatePlan::default_for(PARAMETERS, CLIENTS)
    };
    let evolution = Evolution { pairs, sigma: 0.1 };
    Plan::new(RoundKind::Train, update, TrainingPlan::DEFAULT, server)
        .and_then(|plan| plan.with_server_schedule(schedule))
        .and_then(|plan| plan.with_evolution(Some(evolution)))
        .unwrap()
}

fn session(plan: &Plan, round: u64) -> Session {
    let cohort = CLIENTS..=CLIENTS;
    let (model, graph) = (ThreatModel::HonestButCurious, GraphKind::Complete);
    let parameters = Parameters::new(model, graph, cohort, plan.layout()).unwrap();
    let context = Context {
        round,
        nonce: [3; 32],
        model_digest: [0; 32],
        plan_digest: [0; 32],
    };
    Session::new(parameters, context)
}

/// What the clients send in a round, added up.
fn sum(plan: &Plan, session: &Session, falls: &[f32]) -> Vector {
    let codec = UpdateCodec::new(plan);
    let mut rng = ChaCha20Rng::seed_from_u64(session.context().round);
    let mut sum = Vector::zero(session.layout());
    for client in 0..u64::from(CLIENTS) {
        let own: Vec<f32> = falls
            .iter()
            .map(|fall| fall * (client as f32 + 0.5))
            .collect();
        let mut counters = Counters::new();
        counters.record_training(5 + client, 1.0, 9).unwrap();
        let vector = codec.encode(session, &own, &counters, &mut rng).unwrap();
        sum.add(&vector).unwrap();
    }
    sum
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_log_of_steps_gives_the_servers_weights(
        optimizer in 0..OPTIMIZERS.len(),
        schedule in 0..SCHEDULES.len(),
        part in any::<bool>(),
        rounds in prop::collection::vec(prop::collection::vec(-3.0_f32..3.0, 7), 1..6),
    ) {
        let parts = match part {
            true => Parts::new([10..90, 200..201]).unwrap(),
            false => Parts::ALL,
        };
        let plan = plan(OPTIMIZERS[optimizer], SCHEDULES[schedule], parts, 7);
        let initial: Vec<f32> = (0..300_u16).map(|n| f32::from(n) * 0.01 - 1.0).collect();
        let new = || ServerOptimizer::new(plan.server(), initial.len()).unwrap();
        // The server, as it works from the sums.
        let (mut weights, mut optimizer) = (initial.clone(), new());
        let mut log = Vec::new();
        for (number, falls) in (1..).zip(&rounds) {
            let session = session(&plan, number);
            let sum = sum(&plan, &session, falls);
            let decoded = UpdateCodec::new(&plan).decode(&session, &sum, CLIENTS).unwrap();
            let factor = plan.server_schedule().factor(number);
            let delta = decoded.mean_delta.unwrap();
            optimizer.step_with(factor, &plan.update().parts, &mut weights, &delta).unwrap();
            let seed = Directions::new(&session).seed();
            log.push(Step { factor, seed, falls: decoded.falls.unwrap() });
        }
        // A client that was away.
        let (mut followed, mut state) = (initial.clone(), new());
        for step in &log {
            step.make(&plan, &mut state, &mut followed).unwrap();
        }
        prop_assert_eq!(bits(&followed), bits(&weights));
        prop_assert_eq!(state.to_file(), optimizer.to_file());
        prop_assert_ne!(bits(&weights), bits(&initial));
        // What is not trained has not moved.
        if part {
            prop_assert_eq!(bits(&weights[90..200]), bits(&initial[90..200]));
        }
    }
}

#[test]
fn a_step_that_is_none_is_refused_and_changes_nothing() {
    let plan = plan(OPTIMIZERS[2], Schedule::Constant, Parts::ALL, 4);
    let mut weights = vec![0.5; PARAMETERS as usize];
    let mut optimizer = ServerOptimizer::new(plan.server(), weights.len()).unwrap();
    let before = optimizer.clone();
    let good = Step {
        factor: 1.0,
        seed: [1; 32],
        falls: vec![0.1; 4],
    };
    let mut refused = |step: &Step| step.make(&plan, &mut optimizer, &mut weights).unwrap_err();
    for (falls, found) in [(vec![0.1; 3], 3), (vec![0.1; 5], 5), (vec![], 0)] {
        let expected = 4;
        let error = refused(&Step {
            falls,
            ..good.clone()
        });
        assert_eq!(error, StepError::Directions { found, expected });
    }
    let falls = vec![0.1, 0.2, f32::NAN, f32::INFINITY];
    let error = refused(&Step {
        falls,
        ..good.clone()
    });
    assert_eq!(error, StepError::NotFinite { direction: 2 });
    for factor in [1.5, -0.1, f64::INFINITY] {
        let error = refused(&Step {
            factor,
            ..good.clone()
        });
        let expected = OptimizerError::Factor { factor };
        assert_eq!(error, StepError::Optimizer(expected));
    }
    // Together they would overflow.
    let falls = vec![f32::MAX; 4];
    let error = refused(&Step {
        falls,
        ..good.clone()
    });
    assert!(matches!(
        error,
        StepError::Optimizer(OptimizerError::NotFinite { .. })
    ));
    assert_eq!(bits(&weights), bits(&[0.5; PARAMETERS as usize]));
    assert_eq!(optimizer, before);
}

#[test]
fn without_evolution_there_are_no_steps() {
    let server = OPTIMIZERS[0];
    let update = UpdatePlan::default_for(2, CLIENTS);
    let plan = Plan::new(RoundKind::Train, update, TrainingPlan::DEFAULT, server).unwrap();
    let mut optimizer = ServerOptimizer::new(&server, 2).unwrap();
    let step = Step {
        factor: 1.0,
        seed: [1; 32],
        falls: vec![],
    };
    assert_eq!(
        step.make(&plan, &mut optimizer, &mut [0.0; 2]),
        Err(StepError::Directions {
            found: 0,
            expected: 0
        })
    );
}
