//! The networks beside their formulas, one number at a time.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use secagg_learning::{Budget, LocalOptimizer, TrainingPlan};

use crate::evaluation::evaluate;
use crate::model::{Batch, Model, ModelDescription, ModelKind, Sizes, Weights};
use crate::training::{TrainingTask, train};
use crate::vocabulary::{BEGIN, END, Token, TokenizedText, Vocabulary};

/// Weights by the tensors' names, row by row.
struct Tensors(BTreeMap<String, (usize, Vec<f64>)>);

impl Tensors {
    fn new(weights: &Weights) -> Self {
        let mut rest = weights.values();
        let tensors = weights.shapes().iter().map(|shape| {
            let (values, after) = rest.split_at(shape.elements());
            rest = after;
            let columns = shape.dimensions.get(1).copied().unwrap_or(1);
            let values = values.iter().map(|&value| f64::from(value)).collect();
            (shape.name.clone(), (columns, values))
        });
        Self(tensors.collect())
    }

    fn row(&self, name: &str, row: usize) -> &[f64] {
        let (columns, values) = &self.0[name];
        &values[row * columns..][..*columns]
    }

    /// A row of a matrix times a vector.
    fn times(&self, name: &str, row: usize, vector: &[f64]) -> f64 {
        let row = self.row(name, row);
        assert_eq!(row.len(), vector.len(), "{name}");
        row.iter().zip(vector).map(|(a, b)| a * b).sum()
    }

    fn number(&self, name: &str, index: usize) -> f64 {
        self.0.get(name).map_or(0.0, |(_, values)| values[index])
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The logarithms of the probabilities of the word after these tokens.
fn by_hand(description: &ModelDescription, weights: &Weights, tokens: &[Token]) -> Vec<f64> {
    let tensors = Tensors::new(weights);
    let sizes = description.sizes();
    let [vocabulary, embedding, units] =
        [sizes.vocabulary, sizes.embedding, sizes.units].map(|size| size as usize);
    let projected = |hidden: &[f64]| -> Vec<f64> {
        (0..embedding)
            .map(|row| tensors.times("projection", row, hidden))
            .collect()
    };
    let layers = description.layers() as usize;
    let mut hidden = vec![vec![0.0; units]; layers];
    let mut cell = vec![0.0; units];
    let mut output = vec![0.0; embedding];
    for &token in tokens {
        let word = tensors.row("embedding", token as usize);
        let into =
            |row: usize| tensors.number("cell_bias", row) + tensors.times("cell_input", row, word);
        match description.kind() {
            ModelKind::CifgLstm | ModelKind::Lstm => {
                let gate = |row| into(row) + tensors.times("cell_recurrent", row, &output);
                let mut next = vec![0.0; units];
                for unit in 0..units {
                    let (enter, forget, out, candidate) = if description.kind()
                        == ModelKind::CifgLstm
                    {
                        let forget = sigmoid(gate(unit));
                        (
                            1.0 - forget,
                            forget,
                            gate(units + unit),
                            gate(2 * units + unit),
                        )
                    } else {
                        let [enter, forget] = [unit, units + unit].map(|row| sigmoid(gate(row)));
                        (
                            enter,
                            forget,
                            gate(2 * units + unit),
                            gate(3 * units + unit),
                        )
                    };
                    cell[unit] = forget * cell[unit] + enter * candidate.tanh();
                    next[unit] = sigmoid(out) * cell[unit].tanh();
                }
                output = projected(&next);
            }
            ModelKind::Gru => {
                let before = |row| tensors.times("cell_recurrent", row, &hidden[0]);
                let next = (0..units).map(|unit| {
                    let reset = sigmoid(into(unit) + before(unit));
                    let update = sigmoid(into(units + unit) + before(units + unit));
                    let candidate = into(2 * units + unit) + reset * before(2 * units + unit);
                    (1.0 - update) * candidate.tanh() + update * hidden[0][unit]
                });
                hidden[0] = next.collect();
                output = projected(&hidden[0]);
            }
            ModelKind::TanhRnn => {
                let mut below = word.to_vec();
                for (layer, state) in hidden.iter_mut().enumerate() {
                    let name = |part: &str| format!("layer{layer}_{part}");
                    let next = (0..units).map(|unit| {
                        let from_below = tensors.times(&name("input"), unit, &below);
                        let from_before = tensors.times(&name("recurrent"), unit, state);
                        (tensors.number(&name("bias"), unit) + from_below + from_before).tanh()
                    });
                    let next: Vec<f64> = next.collect();
                    *state = next.clone();
                    below = next;
                }
                output = projected(&below);
            }
        }
    }
    let scores: Vec<f64> = (0..vocabulary)
        .map(|word| tensors.number("output_bias", word) + tensors.times("embedding", word, &output))
        .collect();
    let sum = scores.iter().map(|score| score.exp()).sum::<f64>();
    scores.iter().map(|score| score - sum.ln()).collect()
}

fn descriptions(vocabulary: u32, embedding: u32, units: u32) -> Vec<ModelDescription> {
    let mut descriptions = Vec::new();
    for output_bias in [true, false] {
        let sizes = Sizes {
            vocabulary,
            embedding,
            units,
            output_bias,
        };
        for kind in ModelKind::ALL {
            descriptions.push(ModelDescription::recurrent(kind, sizes, None, 3).unwrap());
        }
        let two = ModelDescription::recurrent(ModelKind::TanhRnn, sizes, Some(2), 3);
        descriptions.push(two.unwrap());
    }
    descriptions
}

/// Larger than the initial weights and without a zero, so that every gate matters.
fn weights(description: &ModelDescription) -> Weights {
    let initial = Weights::initial(description);
    let values = (0..)
        .zip(initial.values())
        .map(|(index, value)| value * 2.0 + 0.05 * ((index % 7) as f32 - 3.2))
        .collect();
    Weights::new(description, values).unwrap()
}

#[test]
fn every_network_computes_its_formulas_for_messages_of_all_lengths() {
    tch::set_num_threads(1);
    let messages: [&[Token]; 4] = [
        &[BEGIN, 5, END],
        &[BEGIN, 8, 4, 5, 7, END],
        &[BEGIN, 4, 6, END],
        &[BEGIN, 7, 7, 8, 8, END],
    ];
    for description in descriptions(9, 4, 5) {
        let weights = weights(&description);
        let model = Model::new(&description, &weights).unwrap();
        let mut sorted = messages;
        let batch = Batch::new(&mut sorted);
        let scores = model.logits(&batch).log_softmax(-1, tch::Kind::Float);
        let mut rows = vec![0.0_f32; scores.numel()];
        let length = rows.len();
        scores.copy_data(&mut rows, length);
        let mut rows = rows.chunks_exact(9);
        // Step by step, as a batch packs them.
        for step in 0..5 {
            for message in sorted.iter().filter(|message| message.len() > step + 1) {
                let expected = by_hand(&description, &weights, &message[..=step]);
                let found = rows.next().unwrap();
                for (found, expected) in found.iter().zip(&expected) {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(error < 1e-5, "{}: {found} {expected}", description.kind());
                }
            }
        }
        assert!(rows.next().is_none());
    }
}

#[test]
fn every_network_learns_a_tiny_text() {
    tch::set_num_threads(1);
    let messages = [
        "see you at the station",
        "see you at the office",
        "are you home",
        "i am home now",
        "at the station now",
        "ok",
    ];
    let vocabulary = Vocabulary::from_text(messages, 40).unwrap();
    let text = TokenizedText::new(&vocabulary, messages, 29);
    let words = u32::try_from(vocabulary.len()).unwrap();
    let plan = TrainingPlan {
        budget: Budget::Epochs(40),
        batch: 2,
        optimizer: LocalOptimizer::Adam { rate: 0.02 },
        ..TrainingPlan::DEFAULT
    };
    for description in descriptions(words, 8, 12) {
        let initial = Weights::initial(&description);
        let mut model = Model::new(&description, &initial).unwrap();
        let before = evaluate(&model, &text).loss();
        let task = TrainingTask::new(&plan, 1, [1; 32]);
        let mut go_on = |_| ControlFlow::Continue(());
        train(&mut model, initial.values(), &text, &task, &mut go_on).unwrap();
        let after = evaluate(&model, &text).loss();
        // Even odds after "the" and at a message's beginning are left.
        assert!(
            after < 0.9 && after < before - 1.5,
            "{description:?}: {before} {after}"
        );
    }
}
