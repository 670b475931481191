//! For tests: networks computed from their formulas in f64, one number at a time.

use std::collections::BTreeMap;

use super::{Architecture, Batch, Dropout, Model, ModelDescription, Weights};
use crate::examples::PIXELS;
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

    /// Bias, plus a matrix times a vector.
    pub(super) fn dense(&self, name: &str, vector: &[f64]) -> Vec<f64> {
        let products = self.product(&format!("{name}_weight"), vector);
        let bias = self.tensor(&format!("{name}_bias")).iter();
        bias.zip(products)
            .map(|(bias, product)| bias + product)
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
    // Other than the initial weights, so that every bias and gate matters.
    let (model, weights) = model(architecture, |index, value| {
        value * 1.5 + 0.05 + 0.02 * (index % 7) as f32
    });
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
            assert_close(rows.next().unwrap(), expected, &place);
        }
    }
    assert!(rows.next().is_none());
}

/// A network with initial weights that were changed, element by element.
pub(super) fn model(
    architecture: Architecture,
    change: impl Fn(usize, f32) -> f32,
) -> (Model, Weights) {
    tch::set_num_threads(1);
    let description = ModelDescription::new(architecture, 3).unwrap();
    let initial = Weights::initial(&description);
    let values = initial.values().iter().enumerate();
    let values = values.map(|(index, &value)| change(index, value)).collect();
    let weights = Weights::new(&description, values).unwrap();
    (Model::new(&description, &weights).unwrap(), weights)
}

/// The first masks of a dropout in one pass, for tensors of these sizes: what their rows are multiplied by.
pub(super) fn masks<const N: usize>(dropout: &Dropout, sizes: [[i64; 2]; N]) -> [Vec<Vec<f64>>; N] {
    sizes.map(|size| {
        let options = (tch::Kind::Float, tch::Device::Cpu);
        let mask = dropout.apply(tch::Tensor::ones(size, options));
        let rows = Vec::<Vec<f32>>::try_from(mask).unwrap().into_iter();
        rows.map(|row| row.into_iter().map(f64::from).collect())
            .collect()
    })
}

/// Elements of two vectors, multiplied.
pub(super) fn times(left: &[f64], right: &[f64]) -> Vec<f64> {
    left.iter().zip(right).map(|(a, b)| a * b).collect()
}

pub(super) fn assert_close(found: &[f32], expected: &[f64], place: &str) {
    assert_eq!(found.len(), expected.len(), "{place}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (f64::from(*found) - expected).abs() < 2e-5 * (1.0 + expected.abs()),
            "{place}: {found}, by hand {expected}"
        );
    }
}

/// Holds the network's scores against those by hand for a few images, whose pixels are given from 0 to
/// 1, with vocabularies of nine lines: five labels.
pub(super) fn compare_images(
    architecture: Architecture,
    by_hand: impl Fn(&Hand, &[f64]) -> Vec<f64>,
) {
    // Biases that matter; some units are off and some are on.
    let (model, weights) = model(architecture, |index, value| {
        value + 0.02 * ((index % 7) as f32 - 3.0)
    });
    let images: Vec<Vec<u8>> = (0..3_usize)
        .map(|image| {
            let pixel = |index: usize| (index * (7 + image) + index * index / 31) % 256;
            let pixels = (0..PIXELS).map(|index| u8::try_from(pixel(index)).unwrap());
            pixels.collect()
        })
        .collect();
    let scores = model.logits(&Batch::images(&images.concat(), &[0, 1, 2]));
    assert_eq!(scores.size(), [3, 5]);
    let mut found = vec![0.0_f32; scores.numel()];
    let length = found.len();
    scores.copy_data(&mut found, length);
    let hand = Hand::new(&weights);
    for (index, (image, found)) in images.iter().zip(found.chunks(5)).enumerate() {
        let pixels: Vec<f64> = image
            .iter()
            .map(|&pixel| f64::from(pixel) / 255.0)
            .collect();
        let expected = by_hand(&hand, &pixels);
        assert_close(found, &expected, &format!("image {index}"));
        assert!(
            expected.iter().any(|score| score.abs() > 0.01),
            "{expected:?}"
        );
    }
}

pub(super) fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
