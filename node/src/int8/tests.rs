use std::ops::ControlFlow;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use secagg_learning::{Budget, LocalOptimizer, TrainingPlan};

use super::*;
use crate::examples::Examples;
use crate::model::{Model, Sizes, Weights};
use crate::training::{TrainingTask, train};
use crate::vocabulary::{TokenizedText, Vocabulary};

const SIZES: Sizes = Sizes {
    vocabulary: 30,
    embedding: 18,
    units: 21,
    output_bias: true,
};

fn description(output_bias: bool) -> ModelDescription {
    let sizes = Sizes {
        output_bias,
        ..SIZES
    };
    ModelDescription::cifg_lstm(sizes, 1).unwrap()
}

fn int8(description: &ModelDescription, weights: &Weights) -> Int8Model {
    let quantised = Int8Weights::quantise(description, weights).unwrap();
    Int8Model::new(description, quantised).unwrap()
}

fn largest_difference(model: &Model, int8: &Int8Model, tokens: &[Token]) -> f32 {
    let found = int8.log_probabilities(&int8.after(tokens));
    let expected = model.log_probabilities(&model.after(tokens));
    let differences = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}

#[test]
fn the_network_computes_what_libtorch_does_with_the_same_weights() {
    tch::set_num_threads(1);
    for output_bias in [true, false] {
        let description = description(output_bias);
        let weights = Weights::initial(&description);
        let quantised = Int8Weights::quantise(&description, &weights).unwrap();
        let rounded = Weights::new(&description, quantised.dequantised()).unwrap();
        let model = Model::new(&description, &rounded).unwrap();
        let int8 = Int8Model::new(&description, quantised).unwrap();
        for tokens in [&[][..], &[7], &[4, 29, 1, 3, 12, 5]] {
            let difference = largest_difference(&model, &int8, tokens);
            assert!(difference < 1e-5, "{tokens:?}: {difference}");
        }
    }
}

#[test]
fn a_trained_model_scores_almost_the_same_and_answers_the_same() {
    tch::set_num_threads(1);
    let messages = [
        "see you at the station!",
        "are you home",
        "call me when you are home",
        "i will be at the station on friday",
    ];
    let vocabulary = Vocabulary::from_text(messages, 30).unwrap();
    let sizes = Sizes {
        vocabulary: u32::try_from(vocabulary.len()).unwrap(),
        ..SIZES
    };
    let description = ModelDescription::cifg_lstm(sizes, 1).unwrap();
    let initial = Weights::initial(&description);
    let mut model = Model::new(&description, &initial).unwrap();
    let text = Examples::from(TokenizedText::new(&vocabulary, messages, 29));
    let plan = TrainingPlan {
        budget: Budget::Epochs(60),
        batch: 4,
        optimizer: LocalOptimizer::Adam { rate: 0.02 },
        gradient_clip: 5.0,
        max_words: 29,
        ..TrainingPlan::DEFAULT
    };
    let task = TrainingTask::new(&plan, 1, [1; 32]);
    let mut go_on = |_| ControlFlow::Continue(());
    train(&mut model, initial.values(), &text, &task, &mut go_on).unwrap();
    let int8 = int8(&description, &model.to_weights().unwrap());
    let top = |scores: Vec<f32>| {
        let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        best.unwrap()
    };
    let text = text.text().unwrap();
    let mut positions = 0;
    for message in 0..text.len() {
        let words = &text.message(message)[1..];
        for count in 0..words.len() {
            let tokens = &words[..count];
            // Nats. Half a step of 1/127 in each weight, through all words of a message.
            let difference = largest_difference(&model, &int8, tokens);
            assert!(difference < 0.25, "{tokens:?}: {difference}");
            let found = top(int8.log_probabilities(&int8.after(tokens)));
            let expected = top(model.log_probabilities(&model.after(tokens)));
            assert_eq!(found, expected, "{tokens:?}");
            positions += 1;
        }
    }
    assert!(positions > 20);
}

#[test]
fn a_file_gives_back_what_was_written_in_a_quarter_of_the_size() {
    let sizes = Sizes {
        vocabulary: 500,
        embedding: 64,
        units: 80,
        output_bias: true,
    };
    let description = ModelDescription::cifg_lstm(sizes, 1).unwrap();
    let weights = Weights::initial(&description);
    let quantised = Int8Weights::quantise(&description, &weights).unwrap();
    let file = quantised.to_safetensors();
    assert!(Int8Weights::are_in(&file));
    assert!(!Int8Weights::are_in(&weights.to_safetensors()));
    assert!(!Int8Weights::are_in(b"something else"));
    let read = Int8Weights::from_safetensors(&file, &description);
    assert_eq!(read, Ok(quantised));
    let ratio = file.len() as f64 / weights.to_safetensors().len() as f64;
    assert!(ratio < 0.3, "{ratio}");
}

/// A file of int8 weights in which one tensor is replaced, or another one added.
fn changed(name: &str, kind: Dtype, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let description = description(true);
    let weights = Weights::initial(&description);
    let file = Int8Weights::quantise(&description, &weights).unwrap();
    let file = file.to_safetensors();
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    let parsed = SafeTensors::deserialize(&file).unwrap();
    let mut tensors = parsed.tensors();
    tensors.retain(|(other, _)| other != name);
    if !data.is_empty() {
        let view = TensorView::new(kind, shape.to_vec(), data).unwrap();
        tensors.push((name.to_owned(), view));
    }
    safetensors::serialize(tensors, header.metadata().clone()).unwrap()
}

#[test]
fn a_file_of_another_model_or_with_bad_values_is_refused() {
    let read = |bytes: &[u8]| Int8Weights::from_safetensors(bytes, &description(true)).unwrap_err();
    let name = |name: &str| name.to_owned();
    assert_eq!(
        read(&changed("projection.scale", Dtype::F32, &[], &[])),
        Int8Error::Missing {
            name: name("projection.scale")
        }
    );
    assert_eq!(
        read(&changed("extra", Dtype::I8, &[2], &[1, 2])),
        Int8Error::Unexpected {
            name: name("extra")
        }
    );
    assert_eq!(
        read(&changed("projection", Dtype::I8, &[21, 18], &[0; 378])),
        Int8Error::Shape {
            name: name("projection"),
            found: "I8 [21, 18]".to_owned(),
            expected: "I8 [18, 21]".to_owned(),
        }
    );
    for value in [-1.0, f32::NAN, f32::INFINITY] {
        let mut scales = [0.5_f32; 18];
        scales[3] = value;
        let bytes: Vec<u8> = scales
            .iter()
            .flat_map(|scale| scale.to_le_bytes())
            .collect();
        assert_eq!(
            read(&changed("projection.scale", Dtype::F32, &[18], &bytes)),
            Int8Error::Value {
                name: name("projection.scale"),
                index: 3,
                value: value.to_string(),
            }
        );
    }
    let f32_file = Weights::initial(&description(true)).to_safetensors();
    assert_eq!(
        read(&f32_file),
        Int8Error::Version {
            found: String::new()
        }
    );
    assert!(matches!(read(b"nothing"), Int8Error::Syntax { .. }));
}
