use std::f64::consts::LN_2;
use std::ops::ControlFlow;

use secagg_learning::{Budget, LocalOptimizer, TrainingPlan};

use super::*;
use crate::evaluation::evaluate;
use crate::examples::Examples;
use crate::model::{EncoderDecoderSizes, Sizes, Weights};
use crate::training::{TrainingTask, train};
use crate::vocabulary::{TextUnits, TokenizedText, Vocabulary};

fn mixture(share: f64, temperature: f64) -> Mixture {
    Mixture::new(share, temperature).unwrap()
}

/// Loss and gradient of two answers' scores, both 0, of which the second is right, where a teacher has 0
/// and 2·ln 3: at T = 2 it has probabilities of 1/4 and 3/4, and the student of 1/2 each.
///
/// KL = ¼·ln ½ + ¾·ln 1½ = 0.130812, cross entropy = ln 2. The gradient of α·T²·KL is α·T·(q − p), and
/// that of the cross entropy the student's probabilities minus (0, 1).
#[test]
fn loss_and_gradient_are_those_worked_out_by_hand() {
    for (share, temperature, loss, gradient) in [
        (1.0, 2.0, 4.0 * 0.130_812, [0.5, -0.5]),
        (0.0, 2.0, LN_2, [0.5, -0.5]),
        (0.25, 2.0, 0.130_812 + 0.75 * LN_2, [0.5, -0.5]),
        // At T = 1 the teacher has 1/10 and 9/10; KL = 0.1·ln 0.2 + 0.9·ln 1.8.
        (0.5, 1.0, 0.5 * 0.368_064 + 0.5 * LN_2, [0.45, -0.45]),
    ] {
        let student = Tensor::zeros([1, 2], (Kind::Float, tch::Device::Cpu));
        let student = student.set_requires_grad(true);
        let teacher = Tensor::from_slice(&[0.0_f32, 9_f32.ln()]).view([1, 2]);
        let right = Tensor::from_slice(&[1_i64]);
        let found = mixture(share, temperature).loss(&student, &teacher, &right);
        assert!(
            (found.double_value(&[]) - loss).abs() < 1e-5,
            "{found} {loss}"
        );
        found.backward();
        for (place, expected) in (0..).zip(gradient) {
            let found = student.grad().double_value(&[0, place]);
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}

/// Two predictions: the mean of their losses, and nothing where both agree.
#[test]
fn a_batch_has_the_mean_and_agreement_costs_nothing() {
    let scores = Tensor::from_slice(&[0.5_f32, -1.0, 2.0, 0.0, 3.0, 1.0]).view([2, 3]);
    let teacher = Tensor::from_slice(&[1.5_f32, 0.0, 0.5, 0.0, 1.0, 4.0]).view([2, 3]);
    let right = Tensor::from_slice(&[2_i64, 0]);
    let mixture = mixture(0.6, 3.0);
    let of = |row: i64| {
        let [scores, teacher, right] =
            [&scores, &teacher, &right].map(|tensor| tensor.narrow(0, row, 1));
        mixture.loss(&scores, &teacher, &right).double_value(&[])
    };
    let both = mixture.loss(&scores, &teacher, &right).double_value(&[]);
    assert!((both - f64::midpoint(of(0), of(1))).abs() < 1e-6);
    let all = Mixture::new(1.0, 3.0).unwrap();
    let same = all
        .loss(&scores, &(&scores + 7.0), &right)
        .double_value(&[]);
    assert!(same.abs() < 1e-6, "{same}");
}

#[test]
fn shares_and_temperatures_out_of_bounds_are_named() {
    for share in [-0.1, 1.1] {
        let refused = Mixture::new(share, 2.0);
        assert_eq!(refused, Err(DistillationError::Share { share }));
    }
    for temperature in [0.0, 0.05, 101.0] {
        let refused = Mixture::new(0.5, temperature);
        assert_eq!(refused, Err(DistillationError::Temperature { temperature }));
    }
    assert!(Mixture::new(f64::NAN, 2.0).is_err() && Mixture::new(0.5, f64::NAN).is_err());
}

const WORDS: [&str; 8] = ["ash", "bay", "cow", "day", "elm", "fog", "gum", "hay"];

/// So many sentences of a language in which each word is followed by three others, with probabilities of
/// 4/7, 2/7 and 1/7: about eight words each.
fn sentences(count: usize, seed: u64) -> Vec<String> {
    let mut state = seed;
    let mut draw = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    let sentence = |_| {
        let mut word = usize::try_from(draw(8)).unwrap();
        let mut words = vec![WORDS[word]];
        for _ in 0..7 {
            let step = match draw(7) {
                0..=3 => 1,
                4..=5 => 3,
                _ => 6,
            };
            word = (word + step) % 8;
            words.push(WORDS[word]);
        }
        words.join(" ")
    };
    (0..count).map(sentence).collect()
}

fn files(architecture: Architecture, seed: u32) -> ModelFiles {
    let vocabulary = Vocabulary::from_text(WORDS, 64).unwrap();
    let description = ModelDescription::new(architecture, seed).unwrap();
    ModelFiles::new(description, vocabulary).unwrap()
}

fn gru(units: u32) -> Architecture {
    Architecture::Gru(Sizes {
        vocabulary: 12,
        embedding: 8,
        units,
        output_bias: true,
    })
}

fn examples(files: &ModelFiles, sentences: &[String]) -> Examples {
    let sentences = sentences.iter().map(String::as_str);
    TokenizedText::new(&files.vocabulary, sentences, 29).into()
}

/// A model trained for so many steps, by a teacher or alone.
fn trained(
    files: &ModelFiles,
    text: &Examples,
    steps: u32,
    teacher: Option<Distillation<'_>>,
) -> Model {
    let initial = Weights::initial(&files.description);
    let mut model = Model::new(&files.description, &initial).unwrap();
    let plan = TrainingPlan {
        budget: Budget::Steps(steps),
        optimizer: LocalOptimizer::Adam { rate: 0.01 },
        ..TrainingPlan::DEFAULT
    };
    let task = TrainingTask {
        teacher,
        ..TrainingTask::new(&plan, 1, [3; 32])
    };
    let mut go_on = |_| ControlFlow::Continue(());
    train(&mut model, initial.values(), text, &task, &mut go_on).unwrap();
    model
}

/// Twelve sentences show a student little of the language. Its teacher, who has read hundreds, says of
/// each word in them how probable all others were.
#[test]
fn a_student_with_a_teacher_learns_more_of_the_same_text() {
    tch::set_num_threads(1);
    let (large, small) = (files(gru(24), 1), files(gru(10), 2));
    let held_out = examples(&small, &sentences(200, 77));
    let teacher = trained(&large, &examples(&large, &sentences(400, 5)), 250, None);
    let own = examples(&small, &sentences(12, 11));
    let distillation = Distillation::new(&teacher, &large, &small, mixture(0.9, 1.0)).unwrap();
    let loss = |model: &Model| evaluate(model, &held_out).loss();
    let taught = loss(&trained(&small, &own, 300, Some(distillation)));
    let alone = loss(&trained(&small, &own, 300, None));
    let teacher = loss(&teacher);
    println!("teacher {teacher}, taught {taught}, alone {alone}");
    assert!(
        teacher < taught && taught < alone - 0.1,
        "{teacher} {taught} {alone}"
    );
}

#[test]
fn teachers_of_other_words_or_tasks_are_refused() {
    let student = files(gru(4), 1);
    let model = |files: &ModelFiles| {
        Model::new(&files.description, &Weights::initial(&files.description)).unwrap()
    };
    let refused = |teacher: &ModelFiles, student: &ModelFiles| {
        let model = model(teacher);
        let teacher = Distillation::new(&model, teacher, student, mixture(0.5, 2.0));
        teacher.map(|_| ()).unwrap_err()
    };
    let other = Vocabulary::from_text(["ant bee cat dog elk fox gnu hen"], 64).unwrap();
    let other = ModelFiles::new(student.description.clone(), other).unwrap();
    let vocabulary = DistillationError::Vocabulary {
        teacher: 12,
        student: 12,
    };
    assert_eq!(refused(&other, &student), vocabulary);
    let architecture = |context| {
        Architecture::EncoderDecoder(EncoderDecoderSizes {
            vocabulary: 12,
            embedding: 8,
            encoder_layers: 1,
            decoder_layers: 1,
            heads: 2,
            feed_forward: 8,
            context,
            output_bias: true,
        })
    };
    let [short, long] = [8, 9].map(|context| files(architecture(context), 1));
    let task = DistillationError::Task {
        teacher: "encoder-decoder",
        student: "gru",
    };
    assert_eq!(refused(&long, &student), task);
    let context = DistillationError::Context {
        teacher: 8,
        student: 9,
    };
    assert_eq!(refused(&short, &long), context);
    let teacher = model(&long);
    assert!(Distillation::new(&teacher, &long, &short, mixture(0.5, 2.0)).is_ok());
}

/// Letters are no words, however alike the lines of both vocabularies are.
#[test]
fn words_and_characters_are_other_vocabularies() {
    let words = Vocabulary::of(TextUnits::Words, ["a b c"], 64).unwrap();
    let characters = Vocabulary::of(TextUnits::Characters, ["abc"], 64).unwrap();
    assert_ne!(words, characters);
}
