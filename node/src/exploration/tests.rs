use std::collections::BTreeSet;

use secagg_learning::{ServerOptimizer, ServerOptimizerConfig};

use super::*;
use crate::evaluation::evaluate;
use crate::model::{ModelDescription, Sizes, Weights};
use crate::vocabulary::{TokenizedText, Vocabulary};

const MESSAGES: [&str; 6] = [
    "see you at the station",
    "see you at the office",
    "are you home",
    "i am home now",
    "at the station now",
    "ok",
];

const SEED: [u8; 32] = [4; 32];

const EVOLUTION: Evolution = Evolution {
    pairs: 3,
    sigma: 0.01,
};

fn setting() -> (Model, Weights, Examples) {
    tch::set_num_threads(1);
    let vocabulary = Vocabulary::from_text(MESSAGES, 40).unwrap();
    let sizes = Sizes {
        vocabulary: u32::try_from(vocabulary.len()).unwrap(),
        embedding: 4,
        units: 6,
        output_bias: true,
    };
    let description = ModelDescription::cifg_lstm(sizes, 1).unwrap();
    let weights = Weights::initial(&description);
    let model = Model::new(&description, &weights).unwrap();
    let text = TokenizedText::new(&vocabulary, MESSAGES, 29).into();
    (model, weights, text)
}

fn task<'a>(
    evolution: &'a Evolution,
    directions: &'a Directions,
    messages: usize,
) -> ExplorationTask<'a> {
    ExplorationTask {
        evolution,
        directions,
        parts: &Parts::ALL,
        messages,
        seed: SEED,
    }
}

fn go_on(_: TrainingProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_fall_is_the_difference_of_two_losses() {
    let (mut model, weights, text) = setting();
    let directions = Directions::from_seed([1; 32]);
    let task = task(&EVOLUTION, &directions, text.len());
    let explored = explore(&mut model, weights.values(), &text, &task, &mut go_on).unwrap();
    assert_eq!(explored.examples, text.len() as u64);
    assert_eq!(explored.loss.tokens, 6 * text.all_targets() as u64);
    for (pair, fall) in (0..).zip(&explored.falls) {
        let [there, back] = [0.01, -0.01].map(|step| {
            let mut values = weights.values().to_vec();
            directions.add(pair, step, &mut values);
            model.load_flat(&values).unwrap();
            evaluate(&model, &text).loss()
        });
        let expected = (back - there) / 0.02;
        // The losses are sums of f32 with errors near 1e-7, and the difference is divided by 0.02.
        assert!(
            (f64::from(*fall) - expected).abs() < 1e-3,
            "{fall} {expected}"
        );
        assert!(fall.abs() > 1e-2, "{fall}");
    }
}

#[test]
fn only_the_chosen_parts_are_moved() {
    let (_, weights, _) = setting();
    let directions = Directions::from_seed([1; 32]);
    let parts = Parts::new([3..5, 9..40]).unwrap();
    let whole = task(&EVOLUTION, &directions, 1);
    let task = ExplorationTask {
        parts: &parts,
        ..whole
    };
    let moved = moved(weights.values(), &task, 0, 0.5);
    for (index, (new, old)) in moved.iter().zip(weights.values()).enumerate() {
        let expected = if (3..5).contains(&index) || (9..40).contains(&index) {
            0.5
        } else {
            0.0
        };
        assert!(
            ((new - old).abs() - expected).abs() < 1e-6,
            "{index}: {old} {new}"
        );
    }
}

#[test]
fn all_messages_come_before_any_comes_again() {
    let mut order = Order::new(5, SEED);
    let first = order.next(3);
    assert_eq!(order.seen(), 3);
    let second = order.next(4);
    assert_eq!(order.seen(), 5);
    let distinct: BTreeSet<_> = first.iter().chain(&second[..2]).collect();
    assert_eq!(distinct.len(), 5);
}

/// The bytes of 32 numbers a round, no gradient, and the loss falls.
#[test]
fn many_rounds_of_few_numbers_train_a_model() {
    let (mut model, weights, text) = setting();
    let before = evaluate(&model, &text).loss();
    let config = ServerOptimizerConfig::FedAdam {
        rate: 0.03,
        beta1: 0.9,
        beta2: 0.99,
        tau: 0.001,
    };
    let mut values = weights.values().to_vec();
    let mut optimizer = ServerOptimizer::new(&config, values.len()).unwrap();
    let evolution = Evolution {
        pairs: 32,
        sigma: 0.02,
    };
    for round in 0..60 {
        let directions = Directions::from_seed([round; 32]);
        let task = task(&evolution, &directions, text.len());
        let explored = explore(&mut model, &values, &text, &task, &mut go_on).unwrap();
        let update = directions.combine(&explored.falls, values.len());
        optimizer.step(&mut values, &update).unwrap();
    }
    model.load_flat(&values).unwrap();
    let after = evaluate(&model, &text).loss();
    assert!(after < before - 0.5, "{before} {after}");
}

#[test]
fn no_text_stopping_and_divergence_are_told() {
    let (mut model, weights, text) = setting();
    let directions = Directions::from_seed([1; 32]);
    let vocabulary = Vocabulary::from_text(MESSAGES, 40).unwrap();
    let nothing = TokenizedText::new(&vocabulary, [], 29).into();
    let task = task(&EVOLUTION, &directions, 2);
    let values = weights.values();
    assert_eq!(
        explore(&mut model, values, &nothing, &task, &mut go_on),
        Err(TrainingError::NoText)
    );
    let mut stop = |progress: TrainingProgress| match progress.step {
        2 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    assert_eq!(
        explore(&mut model, values, &text, &task, &mut stop),
        Err(TrainingError::Stopped)
    );
    // Half of the words are infinitely unlikely.
    let huge: Vec<f32> = (0..values.len())
        .map(|index| if index % 2 == 0 { 3e38 } else { -3e38 })
        .collect();
    assert_eq!(
        explore(&mut model, &huge, &text, &task, &mut go_on),
        Err(TrainingError::Diverged { step: 1 })
    );
}
