use secagg_learning::{LocalOptimizer, Parts, Schedule};

use super::*;
use crate::evaluation::evaluate;
use crate::model::{ModelDescription, Sizes, TensorShape, Weights};
use crate::vocabulary::{TokenizedText, Vocabulary};

const SEED: [u8; 32] = [9; 32];

const MESSAGES: [&str; 6] = [
    "see you at the station",
    "see you at the office",
    "are you home",
    "i am home now",
    "at the station now",
    "ok",
];

fn setting() -> (Model, Weights, Examples) {
    tch::set_num_threads(1);
    let vocabulary = Vocabulary::from_text(MESSAGES, 64).unwrap();
    let words = u32::try_from(vocabulary.len()).unwrap();
    let sizes = Sizes {
        vocabulary: words,
        embedding: 8,
        units: 12,
        output_bias: true,
    };
    let description = ModelDescription::cifg_lstm(sizes, 5).unwrap();
    let initial = Weights::initial(&description);
    let text = TokenizedText::new(&vocabulary, MESSAGES, 29).into();
    (Model::new(&description, &initial).unwrap(), initial, text)
}

fn plan(optimizer: LocalOptimizer) -> TrainingPlan {
    TrainingPlan {
        budget: Budget::Epochs(30),
        batch: 2,
        optimizer,
        gradient_clip: 5.0,
        max_words: 29,
        ..TrainingPlan::DEFAULT
    }
}

fn run(
    model: &mut Model,
    initial: &Weights,
    text: &Examples,
    plan: &TrainingPlan,
) -> Result<Trained, TrainingError> {
    let task = TrainingTask::new(plan, 1, SEED);
    train(model, initial.values(), text, &task, &mut go_on)
}

fn go_on(_: TrainingProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn training_lowers_the_loss_with_either_optimiser() {
    for optimizer in [
        LocalOptimizer::Sgd { rate: 1.0 },
        LocalOptimizer::Adam { rate: 0.01 },
    ] {
        let (mut model, initial, text) = setting();
        let before = evaluate(&model, &text);
        let trained = run(&mut model, &initial, &text, &plan(optimizer)).unwrap();
        let after = evaluate(&model, &text);
        assert!(
            after.loss() < before.loss() - 0.3,
            "{optimizer:?}: {before:?} {after:?}"
        );
        assert_eq!(trained.examples, 6);
        assert_eq!(trained.loss.tokens, 30 * text.all_targets() as u64);
        assert!(trained.loss.sum / (trained.loss.tokens as f64) < before.loss());
    }
}

#[test]
fn the_same_seed_gives_the_same_weights_to_the_bit() {
    let weights = |seed| {
        let (mut model, initial, text) = setting();
        let plan = plan(LocalOptimizer::Adam { rate: 0.01 });
        let task = TrainingTask::new(&plan, 1, [seed; 32]);
        let trained = train(&mut model, initial.values(), &text, &task, &mut go_on).unwrap();
        trained
            .weights
            .iter()
            .map(|weight| weight.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(weights(1), weights(1));
    assert_ne!(weights(1), weights(2));
}

#[test]
fn no_state_is_left_for_the_next_round() {
    let (mut model, initial, text) = setting();
    let plan = plan(LocalOptimizer::Adam { rate: 0.01 });
    let first = run(&mut model, &initial, &text, &plan).unwrap();
    let second = run(&mut model, &initial, &text, &plan).unwrap();
    assert_eq!(first, second);
}

#[test]
fn the_delta_is_the_difference_and_every_tensor_has_one() {
    let (mut model, initial, text) = setting();
    let plan = plan(LocalOptimizer::Sgd { rate: 0.5 });
    let trained = run(&mut model, &initial, &text, &plan).unwrap();
    assert_eq!(trained.weights, model.to_flat());
    let mut offset = 0;
    for shape in initial.shapes() {
        let range = offset..offset + shape.elements();
        offset = range.end;
        assert!(
            trained.delta[range].iter().any(|change| *change != 0.0),
            "{}",
            shape.name
        );
    }
    for ((new, old), change) in trained
        .weights
        .iter()
        .zip(initial.values())
        .zip(&trained.delta)
    {
        assert_eq!((new - old).to_bits(), change.to_bits());
    }
}

#[test]
fn gradients_are_clipped() {
    let (mut model, initial, text) = setting();
    let plan = TrainingPlan {
        budget: Budget::Epochs(1),
        batch: 6,
        gradient_clip: 0.001,
        ..plan(LocalOptimizer::Sgd { rate: 1.0 })
    };
    let trained = run(&mut model, &initial, &text, &plan).unwrap();
    let norm = trained
        .delta
        .iter()
        .map(|d| f64::from(*d).powi(2))
        .sum::<f64>()
        .sqrt();
    assert!((norm - 0.001).abs() < 1e-5, "{norm}");
}

#[test]
fn values_out_of_range_are_named() {
    let (mut model, initial, text) = setting();
    let good = plan(LocalOptimizer::Sgd { rate: 1.0 });
    for (bad, expected) in [
        (
            TrainingPlan {
                budget: Budget::Epochs(0),
                ..good
            },
            "training.epochs is 0",
        ),
        (TrainingPlan { batch: 0, ..good }, "training.batch is 0"),
        (
            TrainingPlan {
                optimizer: LocalOptimizer::Adam { rate: f32::NAN },
                ..good
            },
            "training.optimizer.adam.rate is NaN",
        ),
        (
            TrainingPlan {
                gradient_clip: 0.0,
                ..good
            },
            "training.gradient_clip is 0",
        ),
    ] {
        match run(&mut model, &initial, &text, &bad) {
            Err(error @ TrainingError::Plan(_)) => {
                assert!(error.to_string().contains(expected), "{error}");
            }
            other => panic!("expected {expected}, not {other:?}"),
        }
    }
}

#[test]
fn no_text_stopping_and_divergence_are_told_apart() {
    let (mut model, initial, text) = setting();
    let plan = plan(LocalOptimizer::Sgd { rate: 1.0 });
    let vocabulary = Vocabulary::from_text(MESSAGES, 64).unwrap();
    let none = TokenizedText::new(&vocabulary, [], 29).into();
    assert_eq!(
        run(&mut model, &initial, &none, &plan),
        Err(TrainingError::NoText)
    );
    let mut seen = Vec::new();
    let mut stop = |now: TrainingProgress| {
        seen.push((now.step, now.steps));
        if now.step == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    assert_eq!(
        train(
            &mut model,
            initial.values(),
            &text,
            &TrainingTask::new(&plan, 1, SEED),
            &mut stop
        ),
        Err(TrainingError::Stopped)
    );
    assert_eq!(seen, [(1, Some(90)), (2, Some(90))]);
    let wild = TrainingPlan {
        optimizer: LocalOptimizer::Sgd { rate: 1e9 },
        // Each step makes the weights a billion times as large.
        weight_decay: 0.99,
        ..plan
    };
    assert!(matches!(
        run(&mut model, &initial, &text, &wild),
        Err(TrainingError::Diverged { step: 2..=5 })
    ));
}

#[test]
fn only_the_chosen_tensors_change() {
    for optimizer in [
        LocalOptimizer::Sgd { rate: 1.0 },
        LocalOptimizer::Adam { rate: 0.01 },
    ] {
        let (mut model, initial, text) = setting();
        let last = initial.shapes().len() - 1;
        let start: usize = initial.shapes()[..last]
            .iter()
            .map(TensorShape::elements)
            .sum();
        let bounds = [start, initial.values().len()].map(|bound| u32::try_from(bound).unwrap());
        let before = evaluate(&model, &text);
        model.train_only(&Parts::new(Some(bounds[0]..bounds[1])).unwrap());
        let trained = run(&mut model, &initial, &text, &plan(optimizer)).unwrap();
        let (frozen, changed) = trained.delta.split_at(start);
        assert!(frozen.iter().all(|element| *element == 0.0));
        assert!(changed.iter().all(|element| *element != 0.0), "{changed:?}");
        assert!(evaluate(&model, &text).loss() < before.loss());
    }
}
mod budgets;
mod precision;
mod rows;
mod steps;
mod texts;
