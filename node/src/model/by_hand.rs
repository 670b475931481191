//! For tests: networks computed from their formulas in f64, one number at a time.

use std::collections::BTreeMap;

use super::{Architecture, Batch, Model, ModelDescription, Weights};
use crate::vocabulary::{BEGIN, END, Token};

/// Weights by name, as numbers of 64 bits.
pub(super) struct Hand {
    tensors: BTreeMap<String, (Vec<f64>, usize)>,
}

impl Hand {
    pub(super) fn new(weights: &Weights) -> Self {
        let mut rest = weights.values();
        let mut tensors = BTreeMap::new();
        for shape in weights.shapes() {
            let (values, after) = rest.split_at(shape.elements());
            rest = after;
            let values = values.iter().map(|&value| f64::from(value)).collect();
            let columns = *shape.dimensions.last().unwrap();
            tensors.insert(shape.name.clone(), (values, columns));
        }
        Self { tensors }
    }

    /// All elements of a tensor.
    pub(super) fn tensor(&self, name: &str) -> &[f64] {
        &self.tensors[name].0
    }

    /// One row of a matrix.
    pub(super) fn row(&self, name: &str, row: usize) -> &[f64] {
        let (values, columns) = &self.tensors[name];
        &values[row * columns..][..*columns]
    }

    /// A matrix times a vector.
    pub(super) fn product(&self, name: &str, vector: &[f64]) -> Vec<f64> {
        let (values, columns) = &self.tensors[name];
        assert_eq!(*columns, vector.len(), "{name}");
        values
            .chunks(*columns)
            .map(|row| dot(row, vector))
            .collect()
    }

    /// Bias, plus the input's matrix times the input, plus the recurrent matrix times the state.
    pub(super) fn gates(&self, prefix: &str, input: &[f64], state: &[f64]) -> Vec<f64> {
        let tensor = |name: &str| format!("{prefix}_{name}");
        let input = self.product(&tensor("input"), input);
        let recurrent = self.product(&tensor("recurrent"), state);
        let bias = self.tensor(&tensor("bias")).iter();
        bias.zip(input)
            .zip(recurrent)
            .map(|((bias, input), recurrent)| bias + input + recurrent)
            .collect()
    }

    /// The scores of all tokens by the embedding, and the bias where there is one.
    pub(super) fn scores(&self, state: &[f64]) -> Vec<f64> {
        let mut scores = self.product("embedding", state);
        if let Some((bias, _)) = self.tensors.get("output_bias") {
            for (score, bias) in scores.iter_mut().zip(bias) {
                *score += bias;
            }
        }
        scores
    }
}

/// Holds the network's scores against those by hand, at every position of a batch of messages of
/// different lengths, with vocabularies of nine tokens.
pub(super) fn compare(
    architecture: Architecture,
    by_hand: impl Fn(&Hand, &[usize]) -> Vec<Vec<f64>>,
) {
    tch::set_num_threads(1);
    let description = ModelDescription::new(architecture, 3).unwrap();
    let weights = other_than_initial(&description);
    let model = Model::new(&description, &weights).unwrap();
    let messages: [&[Token]; 4] = [
        &[BEGIN, 4, END],
        &[BEGIN, 5, 8, 4, 4, 7, 6, END],
        &[BEGIN, 8, 5, END],
        &[BEGIN, 6, 7, 1, END],
    ];
    let mut sorted = messages;
    let batch = Batch::messages(&mut sorted);
    let scores = model.logits(&batch);
    let mut found = vec![0.0_f32; scores.numel()];
    let length = found.len();
    scores.copy_data(&mut found, length);
    let mut rows = found.chunks(9);
    let hand = Hand::new(&weights);
    let expected: Vec<Vec<Vec<f64>>> = sorted
        .iter()
        .map(|message| {
            let read: Vec<usize> = message[..message.len() - 1]
                .iter()
                .map(|&token| token as usize)
                .collect();
            by_hand(&hand, &read)
        })
        .collect();
    for step in 0..expected[0].len() {
        for (message, expected) in expected.iter().enumerate() {
            let Some(expected) = expected.get(step) else {
                continue;
            };
            let place = format!("message {message}, step {step}");
            close_to(rows.next().unwrap(), expected, &place);
        }
    }
    assert!(rows.next().is_none());
}

/// Weights other than the initial ones, so that every bias and gate matters.
pub(super) fn other_than_initial(description: &ModelDescription) -> Weights {
    let initial = Weights::initial(description);
    let values = initial.values().iter().enumerate();
    let values = values.map(|(index, value)| value * 1.5 + 0.05 + 0.02 * (index % 7) as f32);
    Weights::new(description, values.collect()).unwrap()
}

/// Holds scores against those by hand.
pub(super) fn close_to(found: &[f32], expected: &[f64], place: &str) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (f64::from(*found) - expected).abs() < 2e-5 * (1.0 + expected.abs()),
            "{place}: {found}, by hand {expected}"
        );
    }
}

pub(super) fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
