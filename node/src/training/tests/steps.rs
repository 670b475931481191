//! Steps against the papers' formulas, computed slowly in plain Rust from single gradients.

use proptest::prelude::*;

use super::*;

/// More than there are messages.
const ALL: u32 = 64;

/// A plan of so many steps, each over all messages.
fn steps(steps: u32, optimizer: LocalOptimizer) -> TrainingPlan {
    TrainingPlan {
        budget: Budget::Steps(steps),
        batch: ALL,
        optimizer,
        gradient_clip: 1e9,
        max_words: 29,
        ..TrainingPlan::DEFAULT
    }
}

/// The gradient of the mean loss over all messages at `weights`: what a step at rate 1 takes away.
fn gradient(model: &mut Model, text: &Examples, weights: &[f64]) -> Vec<f64> {
    #[expect(clippy::cast_possible_truncation, reason = "weights have 32 bits")]
    let at: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
    let plan = steps(1, LocalOptimizer::Sgd { rate: 1.0 });
    let task = TrainingTask::new(&plan, 1, SEED);
    let trained = train(model, &at, text, &task, &mut go_on).unwrap();
    trained.delta.iter().map(|&d| -f64::from(d)).collect()
}

fn clipped(mut gradient: Vec<f64>, clip: f64) -> Vec<f64> {
    let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    let factor = (clip / norm).min(1.0);
    gradient.iter_mut().for_each(|g| *g *= factor);
    gradient
}

/// Holds trained weights against a reference that gets a gradient and changes the weights, so often
/// as the plan has steps.
fn check(plan: &TrainingPlan, mut reference: impl FnMut(u32, &mut [f64], &[f64])) {
    let (mut model, initial, text) = setting();
    let trained = run(&mut model, &initial, &text, plan).unwrap();
    let Budget::Steps(count) = plan.budget else {
        panic!("a budget of steps");
    };
    let start: Vec<f64> = initial.values().iter().map(|&w| f64::from(w)).collect();
    let mut weights = start.clone();
    for step in 1..=count {
        let gradient = gradient(&mut model, &text, &weights);
        let gradient = clipped(gradient, plan.gradient_clip.into());
        reference(step, &mut weights, &gradient);
    }
    let moved = weights.iter().zip(&start).map(|(w, s)| (w - s).abs());
    assert!(moved.fold(0.0, f64::max) > 0.01, "nothing moved");
    for (found, expected) in trained.weights.iter().zip(&weights) {
        let difference = (f64::from(*found) - expected).abs();
        assert!(difference < 2e-6, "{found} {expected}");
    }
}

#[test]
fn momentum_is_a_running_sum_of_gradients() {
    let plan = steps(
        4,
        LocalOptimizer::Momentum {
            rate: 0.25,
            beta: 0.75,
        },
    );
    let mut sum = Vec::new();
    check(&plan, |_, weights, gradient| {
        sum.resize(gradient.len(), 0.0);
        for ((weight, sum), gradient) in weights.iter_mut().zip(&mut sum).zip(gradient) {
            *sum = 0.75 * *sum + gradient;
            *weight -= 0.25 * *sum;
        }
    });
}

#[test]
fn fedprox_pulls_back_after_the_clip() {
    let (_, initial, _) = setting();
    let received: Vec<f64> = initial.values().iter().map(|&w| f64::from(w)).collect();
    let plan = TrainingPlan {
        proximal: 0.5,
        gradient_clip: 0.125,
        ..steps(5, LocalOptimizer::Sgd { rate: 0.5 })
    };
    check(&plan, |_, weights, gradient| {
        for ((weight, received), gradient) in weights.iter_mut().zip(&received).zip(gradient) {
            *weight -= 0.5 * (gradient + 0.5 * (*weight - received));
        }
    });
}

#[test]
fn a_stronger_pull_ends_nearer_to_the_received_weights() {
    let (mut model, initial, text) = setting();
    let mut last = f64::INFINITY;
    for proximal in [0.0, 0.1, 1.0] {
        let plan = TrainingPlan {
            proximal,
            ..steps(20, LocalOptimizer::Sgd { rate: 0.5 })
        };
        let trained = run(&mut model, &initial, &text, &plan).unwrap();
        let norm = trained.delta.iter().map(|d| f64::from(*d).powi(2));
        let norm = norm.sum::<f64>().sqrt();
        assert!(norm < 0.9 * last, "{proximal}: {norm} {last}");
        last = norm;
    }
}

#[test]
fn decay_is_part_of_the_gradient_without_adam() {
    let plan = TrainingPlan {
        weight_decay: 0.125,
        gradient_clip: 0.25,
        ..steps(3, LocalOptimizer::Sgd { rate: 0.5 })
    };
    check(&plan, |_, weights, gradient| {
        for (weight, gradient) in weights.iter_mut().zip(gradient) {
            *weight -= 0.5 * (gradient + 0.125 * *weight);
        }
    });
}

#[test]
fn adam_decays_apart_from_the_gradient() {
    let plan = TrainingPlan {
        weight_decay: 0.5,
        ..steps(1, LocalOptimizer::Adam { rate: 0.02 })
    };
    let (mut model, initial, text) = setting();
    let trained = run(&mut model, &initial, &text, &plan).unwrap();
    let weights: Vec<f64> = initial.values().iter().map(|&w| f64::from(w)).collect();
    let gradient = gradient(&mut model, &text, &weights);
    let mut compared = 0;
    for ((found, weight), gradient) in trained.weights.iter().zip(&weights).zip(&gradient) {
        // The first step is the gradient's sign, and that of one that is almost zero is noise.
        if gradient.abs() > 1e-4 {
            let expected = weight - 0.02 * 0.5 * weight - 0.02 * gradient.signum();
            assert!((f64::from(*found) - expected).abs() < 1e-5);
            compared += 1;
        }
    }
    assert!(compared > weights.len() / 2, "{compared} compared");
}

#[test]
fn pooled_training_counts_its_own_steps() {
    let plan = TrainingPlan {
        schedule: Schedule::Cosine {
            steps: 4,
            floor: 0.5,
        },
        ..steps(3, LocalOptimizer::Sgd { rate: 0.5 })
    };
    let (mut model, initial, text) = setting();
    let task = TrainingTask {
        schedule: SchedulePoint::Steps,
        ..TrainingTask::new(&plan, 1, SEED)
    };
    let trained = train(&mut model, initial.values(), &text, &task, &mut go_on).unwrap();
    let mut weights: Vec<f64> = initial.values().iter().map(|&w| f64::from(w)).collect();
    for factor in [1.0, 0.5 + 0.25 * (1.0 + 0.5_f64.sqrt()), 0.75] {
        let gradient = gradient(&mut model, &text, &weights);
        for (weight, gradient) in weights.iter_mut().zip(&gradient) {
            *weight -= 0.5 * factor * gradient;
        }
    }
    for (found, expected) in trained.weights.iter().zip(&weights) {
        assert!((f64::from(*found) - expected).abs() < 2e-6);
    }
}

#[test]
fn in_a_round_the_schedule_counts_rounds() {
    let (mut model, initial, text) = setting();
    let halved = TrainingPlan {
        schedule: Schedule::Step {
            every: 2,
            factor: 0.5,
        },
        ..steps(3, LocalOptimizer::Sgd { rate: 0.5 })
    };
    let mut weights = |plan: &TrainingPlan, round| {
        let task = TrainingTask::new(plan, round, SEED);
        let trained = train(&mut model, initial.values(), &text, &task, &mut go_on);
        trained.unwrap().weights
    };
    let plain = |rate| steps(3, LocalOptimizer::Sgd { rate });
    assert_eq!(weights(&halved, 2), weights(&plain(0.5), 7));
    assert_eq!(weights(&halved, 3), weights(&plain(0.25), 7));
    assert_ne!(weights(&halved, 3), weights(&halved, 2));
}

fn trained(plan: &TrainingPlan, memory: u64) -> Trained {
    let (mut model, initial, text) = setting();
    let task = TrainingTask {
        memory,
        ..TrainingTask::new(plan, 1, SEED)
    };
    train(&mut model, initial.values(), &text, &task, &mut go_on).unwrap()
}

fn assert_near(found: &Trained, expected: &Trained) {
    for (found, expected) in found.weights.iter().zip(&expected.weights) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
    assert_eq!(found.loss.tokens, expected.loss.tokens);
    assert!((found.loss.sum - expected.loss.sum).abs() < 1e-3);
    assert_eq!(found.examples, expected.examples);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The messages have from 1 to 5 words: a mean of the batches' means would be another one.
    #[test]
    fn accumulated_batches_are_one_large_batch(
        batch in 1_u32..4,
        accumulate in 1_u32..5,
        count in 1_u32..5,
        clip in prop_oneof![Just(0.05_f32), Just(5.0)],
    ) {
        let large = TrainingPlan {
            batch: batch * accumulate,
            gradient_clip: clip,
            proximal: 0.5,
            ..steps(count, LocalOptimizer::Momentum { rate: 0.5, beta: 0.5 })
        };
        let small = TrainingPlan { batch, accumulate, ..large };
        assert_near(&trained(&small, DEFAULT_MEMORY), &trained(&large, DEFAULT_MEMORY));
    }
}

#[test]
fn a_batch_that_does_not_fit_into_memory_is_worked_through_in_pieces() {
    let plan = TrainingPlan {
        proximal: 0.5,
        ..steps(4, LocalOptimizer::Sgd { rate: 0.5 })
    };
    let (mut model, initial, text) = setting();
    let estimate = Estimate::new(model.description(), &plan);
    let whole = trained(&plan, DEFAULT_MEMORY);
    assert_eq!(whole.memory, estimate.bytes(text.all_targets() as u64));
    // The longest message has six positions.
    for positions in [6, 7, 11] {
        let budget = estimate.bytes(positions);
        let pieces = trained(&plan, budget);
        assert!(pieces.memory <= budget, "{}", pieces.memory);
        assert_near(&pieces, &whole);
    }
    let budget = estimate.bytes(6) - 1;
    let task = TrainingTask {
        memory: budget,
        ..TrainingTask::new(&plan, 1, SEED)
    };
    assert_eq!(
        train(&mut model, initial.values(), &text, &task, &mut go_on),
        Err(TrainingError::Memory {
            needed: estimate.bytes(6),
            budget
        })
    );
}

/// The masks of a training are its seed's, and the order of the examples stays as it is without them.
#[test]
fn dropout_follows_the_seed() {
    let (mut model, initial, text) = setting();
    let with = |dropout| TrainingPlan {
        dropout,
        ..steps(7, LocalOptimizer::Adam { rate: 0.02 })
    };
    let none = run(&mut model, &initial, &text, &with(0.0)).unwrap();
    let some = run(&mut model, &initial, &text, &with(0.5)).unwrap();
    assert_ne!(none.weights, some.weights);
    assert_eq!(run(&mut model, &initial, &text, &with(0.5)).unwrap(), some);
    // So small a share that nothing falls: the order of the batches is seen in the last digits.
    let few = run(&mut model, &initial, &text, &with(1e-12)).unwrap();
    assert_eq!(few.weights, none.weights);
}

/// With half of all numbers missing nobody learns by heart.
#[test]
fn dropout_leaves_more_loss_on_the_text_that_is_trained_on() {
    let (mut model, initial, text) = setting();
    let mut last = 0.0;
    for dropout in [0.0, 0.25, 0.5] {
        let plan = TrainingPlan {
            dropout,
            ..steps(60, LocalOptimizer::Adam { rate: 0.02 })
        };
        let trained = run(&mut model, &initial, &text, &plan).unwrap();
        model.load_flat(&trained.weights).unwrap();
        let loss = evaluate(&model, &text).loss();
        assert!(loss > last, "{dropout}: {loss}, after {last}");
        last = loss;
    }
}
