//! Mixed precision: the network in bf16, the weights in f32.

use secagg_learning::Precision;
use secagg_learning::download::{from_bf16, to_bf16};

use super::*;

fn bf16(plan: TrainingPlan) -> TrainingPlan {
    TrainingPlan {
        precision: Precision::Bf16,
        ..plan
    }
}

fn norm(elements: impl Iterator<Item = f32>) -> f64 {
    elements.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn training_in_bf16_ends_where_training_in_f32_does() {
    for optimizer in [
        LocalOptimizer::Sgd { rate: 1.0 },
        LocalOptimizer::Adam { rate: 0.01 },
    ] {
        let (mut model, initial, text) = setting();
        let before = evaluate(&model, &text).loss();
        let mut losses = [plan(optimizer), bf16(plan(optimizer))].map(|plan| {
            run(&mut model, &initial, &text, &plan).unwrap();
            evaluate(&model, &text).loss()
        });
        let [whole, half] = &mut losses;
        assert!(*half < before - 0.3, "{optimizer:?}: {before} {half}");
        // A fiftieth of what training brought.
        let margin = 0.02 * (before - *whole);
        assert!((*half - *whole).abs() < margin, "{optimizer:?}: {losses:?}");
    }
}

/// Steps of which each is too small for a bf16 of the weights: were the optimiser's weights in bf16, none
/// of them would change.
#[test]
fn small_changes_add_up_in_the_masters() {
    let rounded = |weight: f32| from_bf16(to_bf16(weight));
    let (mut model, initial, text) = setting();
    let steps = |steps| TrainingPlan {
        budget: Budget::Steps(steps),
        batch: 6,
        ..bf16(plan(LocalOptimizer::Sgd { rate: 1e-4 }))
    };
    let from: Vec<f32> = initial.values().iter().map(|&w| rounded(w)).collect();
    let mut trained = |plan: &TrainingPlan| {
        let task = TrainingTask::new(plan, 1, SEED);
        train(&mut model, &from, &text, &task, &mut go_on).unwrap()
    };
    let one = trained(&steps(1));
    let pairs = one.weights.iter().zip(&from);
    // Biases begin at 0, where every change shows.
    let large = pairs.filter(|(_, old)| old.abs() > 0.01);
    let lost = large.filter(|(new, old)| rounded(**new).to_bits() == old.to_bits() && new != old);
    assert!(lost.count() > initial.values().len() / 2);
    let many = trained(&steps(200));
    let in_f32 = trained(&TrainingPlan {
        precision: Precision::F32,
        ..steps(200)
    });
    let off = norm(many.delta.iter().zip(&in_f32.delta).map(|(a, b)| a - b));
    let whole = norm(in_f32.delta.iter().copied());
    assert!(off < 0.05 * whole, "off by {off} of {whole}");
    let single = norm(one.delta.iter().copied());
    assert!(
        whole > 150.0 * single,
        "{whole} after 200 steps of {single}"
    );
}

#[test]
fn bf16_gives_the_same_to_the_bit_and_something_else_than_f32() {
    let (mut model, initial, text) = setting();
    let plan = plan(LocalOptimizer::Adam { rate: 0.01 });
    let mut run = |plan: &TrainingPlan| run(&mut model, &initial, &text, plan).unwrap();
    let half = run(&bf16(plan));
    assert_eq!(half, run(&bf16(plan)));
    assert_ne!(half, run(&plan));
}

/// What is not trained stays, in the copy and in the masters; FedProx and decay work on the masters.
#[test]
fn parts_pull_and_pieces_go_with_bf16() {
    let (mut model, initial, text) = setting();
    let large = TrainingPlan {
        proximal: 0.5,
        weight_decay: 0.01,
        budget: Budget::Steps(5),
        batch: 6,
        ..bf16(plan(LocalOptimizer::Sgd { rate: 0.5 }))
    };
    let small = TrainingPlan {
        batch: 2,
        accumulate: 3,
        ..large
    };
    let last = initial.shapes().len() - 1;
    let start: usize = initial.shapes()[..last]
        .iter()
        .map(TensorShape::elements)
        .sum();
    let bounds = [start, initial.values().len()].map(|bound| u32::try_from(bound).unwrap());
    for parts in [Parts::ALL, Parts::new(Some(bounds[0]..bounds[1])).unwrap()] {
        model.train_only(&parts);
        let [whole, pieces] =
            [large, small].map(|plan| run(&mut model, &initial, &text, &plan).unwrap());
        let (frozen, changed) = pieces.delta.split_at(start);
        let is_frozen = frozen.iter().all(|change| *change == 0.0);
        assert_eq!(is_frozen, parts != Parts::ALL);
        let norm_of = norm(changed.iter().copied());
        let off = norm(
            changed
                .iter()
                .zip(&whole.delta[start..])
                .map(|(a, b)| a - b),
        );
        assert!(off < 0.05 * norm_of, "off by {off} of {norm_of}");
    }
}
