use secagg_learning::weights::FloatView;
use secagg_learning::{
    Evolution, Parts, RoundKind, ServerOptimizerConfig, Step, TrainingPlan, UpdatePlan,
};

use super::*;

const ADAM: ServerOptimizerConfig = ServerOptimizerConfig::FedAdam {
    rate: 0.1,
    beta1: 0.9,
    beta2: 0.99,
    tau: 0.001,
};

const CAPS: [u64; 2] = [1 << 16; 2];

fn plan(server: ServerOptimizerConfig) -> Plan {
    let update = UpdatePlan {
        parts: Parts::new(Some(1..4)).unwrap(),
        ..UpdatePlan::default_for(6, 3)
    };
    let evolution = Evolution {
        pairs: 2,
        sigma: 0.1,
    };
    Plan::new(RoundKind::Train, update, TrainingPlan::DEFAULT, server)
        .and_then(|plan| plan.with_evolution(Some(evolution)))
        .unwrap()
}

fn start(server: &ServerOptimizerConfig) -> Checkpoint {
    let view = FloatView {
        shape: &[2, 3],
        elements: &[0.5, 1.0, -2.0, 3e-7, 4.0, 5.0],
    };
    let weights = safetensors::serialize([("w", view)], None).unwrap();
    let optimizer = ServerOptimizer::new(server, 6).unwrap().to_file();
    Checkpoint {
        weights: Received::hashed(weights),
        optimizer: optimizer.map(Received::hashed),
    }
}

/// What a coordinator has after each of some rounds, and its log.
fn coordinator(plan: &Plan, rounds: u8) -> (Vec<Checkpoint>, Vec<LoggedStep>) {
    let mut all = vec![start(plan.server())];
    let shapes = Shapes::read(all[0].weights.bytes()).unwrap();
    let mut weights = shapes.flat(all[0].weights.bytes()).unwrap();
    let mut optimizer = ServerOptimizer::new(plan.server(), 6).unwrap();
    let mut log = Vec::new();
    for round in 1..=rounds {
        let step = Step {
            factor: 1.0 / f64::from(round),
            seed: [round; 32],
            falls: vec![0.3, -0.1 * f32::from(round)],
        };
        let before = all.last().unwrap();
        step.make(plan, &mut optimizer, &mut weights).unwrap();
        let file = shapes.file(&weights, before.weights.bytes()).unwrap();
        log.push(LoggedStep {
            from: before.digest(),
            step,
        });
        all.push(Checkpoint {
            weights: Received::hashed(file),
            optimizer: optimizer.to_file().map(Received::hashed),
        });
    }
    (all, log)
}

fn target(checkpoint: &Checkpoint) -> Target {
    let file = |received: &Received| FileDigest::of(received.bytes());
    Target {
        weights: file(&checkpoint.weights),
        following: Following {
            optimizer: checkpoint.optimizer.as_ref().map(file),
            newest: None,
        },
    }
}

#[test]
fn steps_lead_from_any_round_to_the_last_one() {
    for server in [ADAM, ServerOptimizerConfig::FedAvg { rate: 0.5 }] {
        let plan = plan(server);
        let (all, log) = coordinator(&plan, 5);
        let target = target(all.last().unwrap());
        for (missed, held) in all.iter().rev().enumerate() {
            let steps = &log[log.len() - missed..];
            let made = held.clone().follow(steps, &plan, &target).unwrap();
            assert!(made.is(&target));
            assert_eq!(held.is(&target), missed == 0);
        }
    }
}

#[test]
fn what_was_changed_leads_nowhere() {
    let plan = plan(ADAM);
    let (all, log) = coordinator(&plan, 3);
    let target = target(&all[3]);
    let follow = |held: &Checkpoint, steps: &[LoggedStep]| {
        held.clone().follow(steps, &plan, &target).unwrap_err()
    };
    // Another checkpoint than the first step's, and a log with a step too few.
    let error = follow(&all[1], &log);
    assert!(
        matches!(error, FollowError::Chain { step: 1, steps: 3, found, .. }
        if found == all[1].digest())
    );
    let error = follow(&all[0], &[log[0].clone(), log[2].clone()]);
    assert!(
        matches!(error, FollowError::Chain { step: 2, steps: 2, expected, .. }
        if expected == all[2].digest())
    );
    let error = follow(&all[1], &log[1..2]);
    assert!(
        matches!(
            error,
            FollowError::Target {
                steps: 1,
                what: "weights",
                ..
            }
        ),
        "{error}"
    );
    // A coordinator that changes a number of the last step.
    let mut forged = log.clone();
    forged[2].step.falls[1] += 0.5;
    let error = follow(&all[0], &forged);
    let found = all[3].weights.digest().to_string();
    assert!(
        matches!(&error, FollowError::Target { steps: 3, what: "weights", expected, .. }
            if *expected == found),
        "{error}"
    );
    forged[2].step.falls.pop();
    let error = follow(&all[0], &forged);
    let directions = StepError::Directions {
        found: 1,
        expected: 2,
    };
    assert!(
        matches!(error, FollowError::Step { step: 3, steps: 3, error }
        if error == directions)
    );
    // Without the state that the plan's optimiser has.
    let bare = Checkpoint {
        optimizer: None,
        ..all[2].clone()
    };
    assert!(matches!(follow(&bare, &log[2..]), FollowError::State(_)));
}

#[test]
fn a_checkpoint_is_found_again_and_a_damaged_one_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let cache = ModelCache::new(folder.path());
    let (all, _) = coordinator(&plan(ADAM), 1);
    let target = target(&all[1]);
    assert!(Checkpoint::kept(&cache, &target, CAPS).unwrap().is_none());
    all[1].keep(&cache).unwrap();
    let kept = Checkpoint::kept(&cache, &target, CAPS).unwrap().unwrap();
    assert!(kept.is(&target));
    assert_eq!(kept.digest(), all[1].digest());
    // A file that was changed on the disk, or is longer than any of this model.
    let path = folder.path().join("model/optimizer.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let kept = Checkpoint::kept(&cache, &target, CAPS).unwrap().unwrap();
    assert!(!kept.is(&target));
    assert_ne!(kept.digest(), all[1].digest());
    let caps = [CAPS[0], bytes.len() as u64 - 1];
    assert!(Checkpoint::kept(&cache, &target, caps).unwrap().is_none());
    // With another model both go.
    cache.forget_current().unwrap();
    assert!(!path.exists());
}
