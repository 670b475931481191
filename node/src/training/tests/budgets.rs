//! When training ends, and how many messages it has seen then.

use std::cell::Cell;

use super::*;

fn trained(budget: Budget, batch: u32) -> (Trained, Vec<TrainingProgress>) {
    let (mut model, initial, text) = setting();
    let plan = TrainingPlan {
        budget,
        batch,
        ..plan(LocalOptimizer::Sgd { rate: 0.5 })
    };
    let mut seen = Vec::new();
    let mut progress = |now| {
        seen.push(now);
        ControlFlow::Continue(())
    };
    let task = TrainingTask::new(&plan, 1, SEED);
    let trained = train(&mut model, initial.values(), &text, &task, &mut progress).unwrap();
    (trained, seen)
}

#[test]
fn steps_may_end_within_an_epoch_and_go_on_into_the_next() {
    for (steps, examples) in [(1, 4), (2, 6), (3, 6), (5, 6)] {
        let (trained, seen) = trained(Budget::Steps(steps), 4);
        assert_eq!(trained.examples, examples, "{steps} steps");
        assert_eq!(seen.len(), steps as usize);
        assert!(seen.iter().all(|now| now.steps == Some(steps.into())));
        assert!(trained.delta.iter().any(|change| *change != 0.0));
    }
}

#[test]
fn steps_of_whole_epochs_are_epochs() {
    let (steps, _) = trained(Budget::Steps(6), 2);
    let (epochs, seen) = trained(Budget::Epochs(2), 2);
    assert_eq!(steps, epochs);
    assert_eq!(seen.len(), 6);
}

/// The loss of each step, where the weights hardly move, so that a message is known by it.
fn losses(plan: &TrainingPlan, seed: [u8; 32]) -> (Trained, Vec<String>) {
    let (mut model, initial, text) = setting();
    let mut losses = Vec::new();
    let mut progress = |now: TrainingProgress| {
        losses.push(format!("{:.5}", now.loss));
        ControlFlow::Continue(())
    };
    let task = TrainingTask::new(plan, 1, seed);
    let trained = train(&mut model, initial.values(), &text, &task, &mut progress).unwrap();
    (trained, losses)
}

#[test]
fn each_epoch_has_an_order_of_its_own() {
    let plan = TrainingPlan {
        budget: Budget::Epochs(4),
        batch: 1,
        ..plan(LocalOptimizer::Sgd { rate: 1e-9 })
    };
    let (_, losses) = losses(&plan, SEED);
    let epochs: Vec<&[String]> = losses.chunks(MESSAGES.len()).collect();
    let sorted = |epoch: &[String]| {
        let mut epoch = epoch.to_vec();
        epoch.sort();
        epoch
    };
    assert!(
        epochs
            .iter()
            .all(|epoch| sorted(epoch) == sorted(epochs[0]))
    );
    assert!(epochs.iter().any(|epoch| *epoch != epochs[0]));
}

/// Trains for so many seconds where each step takes as long as `step` says.
fn seconds(seconds: u32, step: Duration) -> Trained {
    let (mut model, initial, text) = setting();
    let plan = TrainingPlan {
        budget: Budget::Seconds(seconds),
        batch: 4,
        ..plan(LocalOptimizer::Sgd { rate: 0.5 })
    };
    let now = Cell::new(Duration::from_secs(1_000));
    let clock = || now.get();
    let task = TrainingTask {
        clock: Clock::new(&clock),
        ..TrainingTask::new(&plan, 1, SEED)
    };
    let mut progress = |progress: TrainingProgress| {
        assert_eq!(progress.steps, None);
        now.set(now.get() + step);
        ControlFlow::Continue(())
    };
    train(&mut model, initial.values(), &text, &task, &mut progress).unwrap()
}

#[test]
fn seconds_end_after_the_step_that_is_under_way() {
    // 2.5 seconds in steps of 1: three of them, four messages, two, four.
    let three = seconds(3, Duration::from_secs(1));
    assert_eq!(three, trained(Budget::Steps(3), 4).0);
    assert_eq!(seconds(3, Duration::from_millis(1_400)), three);
    // At least one, however long it takes.
    let one = seconds(1, Duration::from_secs(100));
    assert_eq!(one, trained(Budget::Steps(1), 4).0);
    assert_eq!(one.examples, 4);
}

/// Each round takes others, every epoch of it the same ones, and they are the client's weight.
#[test]
fn so_many_examples_are_drawn_for_a_round() {
    let drawn = |max_examples, seed| {
        let plan = TrainingPlan {
            budget: Budget::Epochs(3),
            batch: 1,
            max_examples,
            ..plan(LocalOptimizer::Sgd { rate: 1e-9 })
        };
        let (trained, losses) = losses(&plan, [seed; 32]);
        let epochs: Vec<Vec<String>> = losses
            .chunks(losses.len() / 3)
            .map(|epoch| {
                let mut epoch = epoch.to_vec();
                epoch.sort();
                epoch
            })
            .collect();
        assert!(epochs.iter().all(|epoch| *epoch == epochs[0]));
        let [first, ..] = &epochs[..] else {
            panic!("three epochs");
        };
        (trained.examples, first.clone())
    };
    let whole = drawn(0, 1);
    assert_eq!(whole.0, MESSAGES.len() as u64);
    for most in [6, 7, u32::MAX] {
        assert_eq!(drawn(most, 1), whole);
    }
    let (weight, first) = drawn(2, 1);
    assert_eq!((weight, first.len()), (2, 2));
    assert_eq!(drawn(2, 1).1, first);
    assert!(first.iter().all(|loss| whole.1.contains(loss)));
    let others = (2..12).map(|seed| drawn(2, seed).1);
    let mut seen: Vec<String> = others.chain([first]).flatten().collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, whole.1, "each one is drawn sooner or later");
}
