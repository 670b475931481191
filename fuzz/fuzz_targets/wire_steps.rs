#![no_main]
//! Blocks of a log of steps, and steps on weights.

use libfuzzer_sys::fuzz_target;
use secagg_learning::{
    Evolution, Plan, RoundKind, ServerOptimizer, ServerOptimizerConfig, TrainingPlan, UpdatePlan,
};
use secagg_wire::steps::Block;

/// Weights of the model that the steps are made on.
const WEIGHTS: u32 = 20;

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses plan and optimiser.
    let Some((&choice, bytes)) = bytes.split_first() else {
        return;
    };
    let pairs = 1 + u32::from(choice & 7);
    let Ok(block) = Block::decode(bytes, pairs) else {
        return;
    };
    assert!(bytes.len() as u64 <= Block::longest(pairs));
    assert_eq!(block.encode(), bytes, "one block, one encoding");

    let plan = plan(pairs, choice & 8 != 0);
    let mut weights = vec![0.1; WEIGHTS as usize];
    let len = weights.len();
    let mut optimizer = ServerOptimizer::new(plan.server(), len).expect("a valid optimiser");
    for logged in &block.steps {
        let before = (weights.clone(), optimizer.clone());
        match logged.step.make(&plan, &mut optimizer, &mut weights) {
            Ok(()) => assert!(weights.iter().all(|weight| weight.is_finite())),
            Err(_) => assert_eq!((&weights, &optimizer), (&before.0, &before.1)),
        }
        let state = optimizer.to_file();
        let again = ServerOptimizer::from_file(plan.server(), len, state.as_deref());
        assert_eq!(again.expect("its own state"), optimizer);
    }
});

fn plan(pairs: u32, adam: bool) -> Plan {
    let server = match adam {
        true => ServerOptimizerConfig::FedAdam {
            rate: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            tau: 0.001,
        },
        false => ServerOptimizerConfig::FedAvg { rate: 1.0 },
    };
    let update = UpdatePlan::default_for(WEIGHTS, 3);
    let evolution = Evolution { pairs, sigma: 0.1 };
    Plan::new(RoundKind::Train, update, TrainingPlan::DEFAULT, server)
        .and_then(|plan| plan.with_evolution(Some(evolution)))
        .expect("a valid plan")
}
