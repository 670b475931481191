//! Some rows of a tensor are trained, and the others stay as they are to the bit.

use std::ops::Range;

use super::*;

/// Two of the embedding's rows and one element of the output's bias, by their places in the flat vector.
fn chosen(initial: &Weights) -> (Parts, Vec<Range<usize>>) {
    let mut start = 0;
    let mut ranges = Vec::new();
    for shape in initial.shapes() {
        let row = shape.row();
        match shape.name.as_str() {
            // `<end>` and the first word.
            "embedding" => ranges.push(start + 3 * row..start + 5 * row),
            "output_bias" => ranges.push(start + 3..start + 4),
            _ => {}
        }
        start += shape.elements();
    }
    assert_eq!(ranges.len(), 2, "{:?}", initial.shapes());
    let bounds = |range: &Range<usize>| {
        let [start, end] = [range.start, range.end].map(|bound| u32::try_from(bound).unwrap());
        start..end
    };
    (Parts::new(ranges.iter().map(bounds)).unwrap(), ranges)
}

/// What changed outside and inside of these ranges.
fn split(delta: &[f32], ranges: &[Range<usize>]) -> (Vec<f32>, Vec<f32>) {
    let (mut outside, mut inside) = (Vec::new(), Vec::new());
    for (place, change) in delta.iter().enumerate() {
        if ranges.iter().any(|range| range.contains(&place)) {
            inside.push(*change);
        } else {
            outside.push(*change);
        }
    }
    (outside, inside)
}

#[test]
fn only_the_chosen_rows_change_whatever_the_method() {
    for optimizer in [
        LocalOptimizer::Sgd { rate: 0.5 },
        LocalOptimizer::Momentum {
            rate: 0.1,
            beta: 0.9,
        },
        LocalOptimizer::Adam { rate: 0.01 },
    ] {
        for (weight_decay, proximal) in [(0.0, 0.0), (0.01, 0.0), (0.0, 0.3), (0.01, 0.3)] {
            let (mut model, initial, text) = setting();
            let (parts, ranges) = chosen(&initial);
            model.train_only(&parts);
            let plan = TrainingPlan {
                weight_decay,
                proximal,
                ..plan(optimizer)
            };
            let before = evaluate(&model, &text).loss();
            let trained = run(&mut model, &initial, &text, &plan).unwrap();
            let (outside, inside) = split(&trained.delta, &ranges);
            assert!(outside.iter().all(|change| *change == 0.0), "{plan:?}");
            assert!(inside.iter().all(|change| *change != 0.0), "{plan:?}");
            let same = |(new, old): (&f32, &f32)| new.to_bits() == old.to_bits();
            let unchanged = trained.weights.iter().zip(initial.values());
            let unchanged = unchanged.filter(|&pair| same(pair)).count();
            assert_eq!(unchanged, outside.len(), "{plan:?}");
            assert!(evaluate(&model, &text).loss() < before, "{plan:?}");
        }
    }
}

#[test]
fn a_clip_counts_the_chosen_rows_alone() {
    let (mut model, initial, text) = setting();
    let (parts, ranges) = chosen(&initial);
    model.train_only(&parts);
    let plan = TrainingPlan {
        budget: Budget::Steps(1),
        gradient_clip: 1e-3,
        ..plan(LocalOptimizer::Sgd { rate: 1.0 })
    };
    let trained = run(&mut model, &initial, &text, &plan).unwrap();
    let (_, inside) = split(&trained.delta, &ranges);
    let norm = inside
        .iter()
        .map(|change| change * change)
        .sum::<f32>()
        .sqrt();
    assert!((norm / 1e-3 - 1.0).abs() < 0.01, "{norm}");
}

#[test]
fn all_rows_are_trained_again_after_some_were() {
    let (mut model, initial, text) = setting();
    let (parts, _) = chosen(&initial);
    let whole = plan(LocalOptimizer::Sgd { rate: 0.5 });
    let expected = run(&mut model, &initial, &text, &whole).unwrap();
    model.train_only(&parts);
    let of_rows = run(&mut model, &initial, &text, &whole).unwrap();
    // The frozen rows are held twice.
    assert!(of_rows.memory > expected.memory);
    model.train_only(&Parts::ALL);
    assert_eq!(run(&mut model, &initial, &text, &whole).unwrap(), expected);
}
