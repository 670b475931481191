use std::ops::ControlFlow;

use secagg_learning::{Budget, LocalOptimizer, TrainingPlan};
use sha2::{Digest, Sha256};

use super::*;
use crate::evaluation::evaluate;
use crate::training::{TrainingTask, train};
use crate::vocabulary::{BEGIN, END};
use crate::vocabulary::{TokenizedText, Vocabulary};

#[test]
fn a_batch_is_packed_step_by_step() {
    let batch = Batch::messages(&mut [&[BEGIN, 4, END], &[BEGIN, 5, 6, 7, END], &[BEGIN, 8, END]]);
    let Input::Tokens { tokens, active } = batch.input() else {
        panic!("{batch:?}");
    };
    assert_eq!(*active, [3, 3, 1, 1]);
    assert_eq!(
        Vec::<i64>::try_from(tokens).unwrap(),
        [BEGIN, BEGIN, BEGIN, 5, 4, 8, 6, 7].map(i64::from)
    );
    assert_eq!(
        Vec::<i64>::try_from(batch.targets()).unwrap(),
        [5, 4, 8, 6, END, END, 7, END].map(i64::from)
    );
}

/// A tiny one of each kind, for vocabularies of nine tokens.
pub(crate) fn every_kind() -> [Architecture; 6] {
    of_every_kind(9, 4, 5)
}

fn of_every_kind(vocabulary: u32, embedding: u32, units: u32) -> [Architecture; 6] {
    let sizes = Sizes {
        vocabulary,
        embedding,
        units,
        output_bias: true,
    };
    [
        Architecture::CifgLstm(sizes),
        Architecture::Lstm(sizes),
        Architecture::Gru(sizes),
        Architecture::TanhRnn(StackSizes {
            vocabulary,
            embedding,
            units,
            layers: 3,
            output_bias: true,
        }),
        Architecture::Transformer(TransformerSizes {
            vocabulary,
            embedding: 2 * embedding,
            layers: 2,
            heads: 2,
            feed_forward: units + 1,
            context: 16,
            output_bias: true,
        }),
        Architecture::EncoderDecoder(EncoderDecoderSizes {
            vocabulary,
            embedding: 2 * embedding,
            encoder_layers: 2,
            decoder_layers: 1,
            heads: 2,
            feed_forward: units + 1,
            context: 8,
            output_bias: true,
        }),
    ]
}

/// A tiny one of each kind that classifies images, for vocabularies of nine lines: five labels.
pub(crate) fn every_kind_of_images() -> [Architecture; 2] {
    let vocabulary = 9;
    [
        Architecture::Mlp(MlpSizes {
            vocabulary,
            units: 6,
            layers: 2,
        }),
        Architecture::Cnn(CnnSizes {
            vocabulary,
            kernel: 3,
            first_filters: 2,
            second_filters: 3,
            units: 4,
        }),
    ]
}

#[test]
fn flat_weights_go_in_and_come_out() {
    for architecture in every_kind().into_iter().chain(every_kind_of_images()) {
        flat_weights(&ModelDescription::new(architecture, 1).unwrap());
    }
}

fn flat_weights(description: &ModelDescription) {
    let initial = Weights::initial(description);
    let mut model = Model::new(description, &initial).unwrap();
    assert_eq!(model.to_flat(), initial.values());
    let counted: Vec<f32> = (0..description.parameters()).map(|n| n as f32).collect();
    model.load_flat(&counted).unwrap();
    assert_eq!(model.to_flat(), counted);
    let names: Vec<_> = description
        .shapes()
        .iter()
        .map(|shape| shape.name.clone())
        .collect();
    let mut own: Vec<_> = model.variables.variables().into_keys().collect();
    own.sort_unstable();
    assert_eq!(own, names);
    for (variable, shape) in model.ordered.iter().zip(description.shapes()) {
        let size: Vec<usize> = variable
            .size()
            .iter()
            .map(|&size| usize::try_from(size).unwrap())
            .collect();
        assert_eq!(size, shape.dimensions, "{}", shape.name);
    }
}

#[test]
fn bad_flat_weights_leave_the_model_as_it_was() {
    let sizes = Sizes {
        vocabulary: 6,
        embedding: 2,
        units: 3,
        output_bias: false,
    };
    let description = ModelDescription::cifg_lstm(sizes, 1).unwrap();
    let initial = Weights::initial(&description);
    let mut model = Model::new(&description, &initial).unwrap();
    let mut bad = vec![0.5; description.parameters()];
    bad[3] = f32::NAN;
    let error = model.load_flat(&bad).unwrap_err();
    assert!(
        matches!(error, WeightsError::NotFinite { index: 3, .. }),
        "{error}"
    );
    let error = model.load_flat(&bad[1..]).unwrap_err();
    assert!(matches!(error, WeightsError::Length { .. }), "{error}");
    assert_eq!(model.to_flat(), initial.values());
}

/// The coordinator's initial weights and those of a simulator must be the same ones.
#[test]
fn initial_weights_are_as_recorded() {
    let recorded = [
        "6c037a98dcc161796229d8673d2eed2d4d7dfa75d688d92ba6a89024586d7db4",
        "0537fde364427608feddc52dc3f55daa3ba83b98241d87c2c3ca1d0d1dd7e0f5",
        "80d1283d7e75840e7e6fb3e7b52b7698e3dff2e283b6b49d55b3defc43a9e0bb",
        "16ef5ddc501551641a330bda815dfe1ee48d459459554c3ddcecef1421857936",
        "1d54eedc4c6d8e2ce879666122ed8651fc942024fec50ea97e44648220416196",
        "eca89a17c9952c1cfdfe31262289dd984f4aa47aee8e439cdb34b96dc03b047b",
    ];
    let found = every_kind().map(|architecture| {
        let description = ModelDescription::new(architecture, 3).unwrap();
        hex::encode(Sha256::digest(
            Weights::initial(&description).to_safetensors(),
        ))
    });
    assert_eq!(found, recorded);
    let recorded = [
        "2a1aaf33ab5fdb7f9cd0cc2d9038a4c56477f80adbe1c1fc6ea3f919269d90e3",
        "afc03cb6ee344b706c076632a67ab8d115f998566440accf7133aae2c9d4ae4b",
    ];
    let found = every_kind_of_images().map(|architecture| {
        let description = ModelDescription::new(architecture, 3).unwrap();
        let weights = Weights::initial(&description).to_safetensors();
        hex::encode(Sha256::digest(weights))
    });
    assert_eq!(found, recorded);
    // As they were before there were other kinds.
    let sizes = Sizes {
        vocabulary: 12,
        embedding: 8,
        units: 12,
        output_bias: true,
    };
    let description = ModelDescription::cifg_lstm(sizes, 3).unwrap();
    let digest = Sha256::digest(Weights::initial(&description).to_safetensors());
    assert_eq!(
        hex::encode(digest),
        "f895ad67628b5747aff722d864c6266a30c32b9a8f1cdb4ac3b4e4fcfc85940e"
    );
}

/// The initial values of a tensor.
fn start(architecture: Architecture, name: &str) -> Vec<f32> {
    let description = ModelDescription::new(architecture, 3).unwrap();
    let weights = Weights::initial(&description);
    let mut rest = weights.values();
    for shape in description.shapes() {
        let (values, after) = rest.split_at(shape.elements());
        if shape.name == name {
            return values.to_vec();
        }
        rest = after;
    }
    panic!("no tensor {name}");
}

#[test]
fn gains_and_the_forget_gate_start_at_one() {
    let [cifg, lstm, _, rnn, transformer, encoder_decoder] = every_kind();
    assert_eq!(start(cifg, "cell_bias"), [0.0; 15]);
    let mut gates = [0.0; 20];
    gates[5..10].fill(1.0);
    assert_eq!(start(lstm, "cell_bias"), gates);
    assert_eq!(start(rnn, "layer_02_bias"), [0.0; 5]);
    assert_eq!(start(transformer, "norm_gain"), [1.0; 8]);
    assert_eq!(start(transformer, "block_01_feed_norm_bias"), [0.0; 8]);
    let added = start(transformer, "block_01_feed_output");
    // √3 / √(2 · 2 parts) / √(6 columns).
    let bound = 3_f32.sqrt() / 2.0 / 6_f32.sqrt();
    assert!(
        added.iter().all(|weight| weight.abs() <= bound),
        "{added:?}"
    );
    assert!(added.iter().any(|weight| weight.abs() > bound / 2.0));
    for (name, parts) in [
        ("encoder_01_attention_output", 4_f32),
        ("decoder_00_cross_output", 3.0),
    ] {
        let added = start(encoder_decoder, name);
        // √3 / √parts / √(8 columns).
        let bound = (3.0 / parts / 8.0).sqrt();
        let largest = added
            .iter()
            .fold(0_f32, |largest, weight| largest.max(weight.abs()));
        assert!(
            largest <= bound && largest > 0.9 * bound,
            "{name}: {largest}"
        );
    }
    assert_eq!(
        start(encoder_decoder, "decoder_00_cross_norm_gain"),
        [1.0; 8]
    );
    assert_eq!(start(encoder_decoder, "encoder_norm_bias"), [0.0; 8]);
}

/// Nats a token before and after twenty epochs on a few messages.
fn learnt(architecture: Architecture) -> (f64, f64) {
    const MESSAGES: [&str; 4] = [
        "see you at the station",
        "are you home",
        "call me when you are at the station",
        "home at two",
    ];
    tch::set_num_threads(1);
    let description = ModelDescription::new(architecture, 1).unwrap();
    let vocabulary = Vocabulary::from_text(MESSAGES, 64).unwrap();
    assert_eq!(vocabulary.len(), description.vocabulary() as usize);
    let text = TokenizedText::new(&vocabulary, MESSAGES, 29).into();
    let initial = Weights::initial(&description);
    let mut model = Model::new(&description, &initial).unwrap();
    let before = evaluate(&model, &text).loss();
    let plan = TrainingPlan {
        budget: Budget::Epochs(20),
        batch: 2,
        optimizer: LocalOptimizer::Adam { rate: 0.02 },
        gradient_clip: 5.0,
        max_words: 29,
        ..TrainingPlan::DEFAULT
    };
    let task = TrainingTask::new(&plan, 1, [1; 32]);
    let mut go_on = |_| ControlFlow::Continue(());
    let trained = train(&mut model, initial.values(), &text, &task, &mut go_on).unwrap();
    assert!(trained.delta.iter().any(|change| *change != 0.0));
    (before, evaluate(&model, &text).loss())
}

/// He et al. 2015: a variance of 2/inputs, which is that of the uniform distribution in ±√(6/inputs).
#[test]
fn rectified_units_start_with_the_variance_of_he() {
    let [mlp, cnn] = every_kind_of_images();
    for (architecture, name, inputs) in [
        (mlp, "layer_00_weight", 784.0),
        (mlp, "layer_01_weight", 6.0),
        (cnn, "convolution_2_weight", 2.0 * 9.0),
        (cnn, "hidden_weight", 3.0 * 49.0),
        (cnn, "output_weight", 4.0),
    ] {
        let weights = start(architecture, name);
        let bound = (6.0_f32 / inputs).sqrt();
        let largest = weights
            .iter()
            .map(|weight| weight.abs())
            .fold(0.0, f32::max);
        assert!(largest <= bound * 1.0001, "{name}: {largest}, {bound}");
        assert!(largest > 0.85 * bound, "{name}: {largest}, {bound}");
    }
    assert_eq!(start(mlp, "output_bias"), [0.0; 5]);
    assert_eq!(start(cnn, "convolution_1_bias"), [0.0; 2]);
}

#[test]
#[should_panic(expected = "a model of another task")]
fn examples_of_another_task_are_refused() {
    let [mlp, _] = every_kind_of_images();
    let description = ModelDescription::new(mlp, 1).unwrap();
    let model = Model::new(&description, &Weights::initial(&description)).unwrap();
    let vocabulary = Vocabulary::from_text(["a b c d e"], 9).unwrap();
    let text = TokenizedText::new(&vocabulary, ["a b"], 29);
    let _ = evaluate(&model, &text.into());
}

#[test]
fn each_kind_learns_a_text_by_heart() {
    let language = of_every_kind(15, 12, 16).into_iter();
    for architecture in language.filter(|kind| kind.kind().task() == Task::NextToken) {
        let (before, after) = learnt(architecture);
        println!("{architecture:?}: {before} {after}");
        assert!(
            after < 0.3 * before,
            "{architecture:?}: {before} nats a token, {after} after training"
        );
    }
}
