use secagg::{Context, GraphKind, Parameters, ThreatModel};
use secagg_learning::{
    Compression, LocalOptimizer, Parts, ServerOptimizerConfig, TrainingPlan, UpdatePlan, Validation,
};
use secagg_wire::message::DeclineReason;
use serde_json::Value;

use super::*;
use crate::digits::Sheet;
use crate::examples::Image;
use crate::model::{Architecture, MlpSizes, ModelDescription, Sizes};
use crate::participate::round::RoundError;
use crate::store::Split;
use crate::training::DEFAULT_MEMORY;
use crate::vocabulary::Vocabulary;

/// A node's directory with the messages that were added to it.
struct Device {
    folder: tempfile::TempDir,
    model: ModelFiles,
    weights: Weights,
}

impl Device {
    fn new(messages: &[&str]) -> Self {
        tch::set_num_threads(1);
        let vocabulary = Vocabulary::from_text(["see you at the station", "are you home"], 64);
        let vocabulary = vocabulary.unwrap();
        let sizes = Sizes {
            vocabulary: u32::try_from(vocabulary.len()).unwrap(),
            embedding: 4,
            units: 6,
            output_bias: true,
        };
        let description = ModelDescription::cifg_lstm(sizes, 3).unwrap();
        let folder = tempfile::tempdir().unwrap();
        if !messages.is_empty() {
            let store = Store::open_or_create(folder.path()).unwrap();
            let messages: Vec<_> = messages
                .iter()
                .map(|&message| Zeroizing::new(message.to_owned()))
                .collect();
            store.add(&messages, Split::EveryTenth).unwrap();
        }
        Self {
            folder,
            weights: Weights::initial(&description),
            model: ModelFiles::new(description, vocabulary).unwrap(),
        }
    }

    /// The same with a model that classifies images, of these labels.
    fn with_image_model(mut self, labels: &[&str]) -> Self {
        let labels = labels.iter().map(ToString::to_string).collect();
        let vocabulary = Vocabulary::of_labels(labels).unwrap();
        let mlp = Architecture::Mlp(MlpSizes {
            vocabulary: u32::try_from(vocabulary.len()).unwrap(),
            units: 4,
            layers: 1,
        });
        let description = ModelDescription::new(mlp, 3).unwrap();
        self.weights = Weights::initial(&description);
        self.model = ModelFiles::new(description, vocabulary).unwrap();
        self
    }

    fn plan(&self, training: TrainingPlan) -> Plan {
        let update = UpdatePlan {
            parameters: u32::try_from(self.model.description.parameters()).unwrap(),
            clip_norm: 1.0,
            range: 1.0,
            value_bits: 20,
            weight_cap: 1000,
            max_cohort: 3,
            compression: Compression::NONE,
            parts: Parts::ALL,
        };
        let server = ServerOptimizerConfig::FedAvg { rate: 1.0 };
        Plan::new(RoundKind::Train, update, training, server).unwrap()
    }

    fn session(plan: &Plan) -> Session {
        let parameters = Parameters::new(
            ThreatModel::HonestButCurious,
            GraphKind::Complete,
            3..=3,
            plan.layout(),
        );
        let context = Context {
            round: 2,
            nonce: [1; 32],
            model_digest: [2; 32],
            plan_digest: [3; 32],
        };
        Session::new(parameters.unwrap(), context)
    }

    /// What the node would mask, and its events.
    fn compute(&self, plan: &Plan, memory: u64) -> (Result<Encoded, LocalError>, Vec<Value>) {
        let events = self.folder.path().join("events.jsonl");
        let local = LocalRound {
            directory: self.folder.path(),
            model: &self.model,
            plan,
            session: &Self::session(plan),
            weights: &self.weights,
            residual: None,
            seed: [5; 32],
            memory,
            personal: true,
            round: Round {
                round: 2,
                attempt: 1,
            },
            log: &EventLog::to_file(&events).unwrap(),
            hooks: &Hooks::default(),
            cancel: &Cancel::default(),
        };
        let result = local.compute();
        let text = std::fs::read_to_string(events).unwrap();
        let events = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (result, events)
    }

    /// The counters and the update that one node's vector holds; without training it has none.
    fn computed(&self, plan: &Plan) -> (Counters, Vec<f32>) {
        let (encoded, _) = self.compute(plan, DEFAULT_MEMORY);
        let decoded = UpdateCodec::new(plan)
            .decode(&Self::session(plan), &encoded.unwrap().input, 1)
            .unwrap();
        (decoded.counters, decoded.mean_delta.unwrap_or_default())
    }

    fn refuses(&self, plan: &Plan, memory: u64) -> LocalError {
        self.compute(plan, memory).0.unwrap_err()
    }
}

const TRAINING: TrainingPlan = TrainingPlan {
    optimizer: LocalOptimizer::Sgd { rate: 0.5 },
    batch: 2,
    max_words: 9,
    ..TrainingPlan::DEFAULT
};

fn declined(error: LocalError) -> DeclineReason {
    RoundError::from(error).decline_reason()
}

#[test]
fn a_single_word_is_an_update_of_weight_one() {
    let device = Device::new(&["home"]);
    let (counters, update) = device.computed(&device.plan(TRAINING));
    assert_eq!(counters.value(Counter::Weight), 1);
    assert_eq!(counters.value(Counter::TrainTokens), 2);
    // Nothing is held out of it.
    assert_eq!(counters.validation(), None::<Validation>);
    assert!(update.iter().any(|value| value.abs() > 1e-3));
}

#[test]
fn unknown_words_are_trained_on_like_others() {
    let device = Device::new(&["xyzzy plugh"; 10]);
    let (counters, update) = device.computed(&device.plan(TRAINING));
    assert_eq!(counters.value(Counter::Weight), 9);
    assert_eq!(counters.value(Counter::TrainTokens), 9 * 3);
    assert_eq!(counters.value(Counter::ValidationTokens), 3);
    assert!(update.iter().any(|value| value.abs() > 1e-3));
}

#[test]
fn personal_figures_stand_beside_those_of_the_global_model() {
    let device = Device::new(&["home at eight"; 20]);
    let train = device.plan(TRAINING);
    let evaluate = Plan::new(
        RoundKind::EvaluateOnly,
        *train.update(),
        TRAINING,
        *train.server(),
    )
    .unwrap();
    for plan in [train, evaluate] {
        let (counters, _) = device.computed(&plan);
        let validation = counters.validation().unwrap();
        let personal = validation.personal.unwrap();
        assert!(personal.loss < 0.5 * validation.loss, "{validation:?}");
        assert!(personal.top1 > validation.top1, "{validation:?}");
        assert!(personal.top3 >= personal.top1, "{validation:?}");
    }
}

#[test]
fn messages_without_words_are_no_text_and_so_is_none_at_all() {
    for messages in [&[""; 3][..], &[" \t"; 12], &[]] {
        let device = Device::new(messages);
        let error = device.refuses(&device.plan(TRAINING), DEFAULT_MEMORY);
        assert!(
            matches!(error, LocalError::Training(TrainingError::NoText)),
            "{error}"
        );
        assert_eq!(declined(error), DeclineReason::NoText);
    }
}

#[test]
fn the_weight_is_what_was_seen() {
    let device = Device::new(&["see you home"; 9]);
    for (steps, seen) in [(1, 2), (3, 6), (4, 8), (5, 9), (12, 9)] {
        let plan = device.plan(TrainingPlan {
            budget: Budget::Steps(steps),
            ..TRAINING
        });
        let (counters, _) = device.computed(&plan);
        assert_eq!(counters.value(Counter::Weight), seen, "{steps} steps");
    }
}

#[test]
fn training_that_went_astray_sends_nothing_and_says_so() {
    let device = Device::new(&["see you at the station", "are you home"]);
    let plan = device.plan(TrainingPlan {
        budget: Budget::Steps(50),
        // Each step makes the weights a billion times as large.
        optimizer: LocalOptimizer::Sgd { rate: 1e9 },
        weight_decay: 0.99,
        ..TRAINING
    });
    let error = device.refuses(&plan, DEFAULT_MEMORY);
    assert!(matches!(error, LocalError::Training(_)), "{error}");
    match declined(error) {
        DeclineReason::Other(reason) => {
            assert!(reason.as_str().contains("not finite"), "{reason}");
        }
        other => panic!("another reason: {other:?}"),
    }
}

#[test]
fn a_small_budget_of_memory_is_not_told_with_the_texts_length() {
    let device = Device::new(&["see you at the station", "are you home"]);
    let plan = device.plan(TRAINING);
    let error = device.refuses(&plan, 1 << 20);
    assert!(
        matches!(
            error,
            LocalError::Training(TrainingError::Memory { budget, .. }) if budget == 1 << 20
        ),
        "{error}"
    );
    match declined(error) {
        DeclineReason::Policy(reason) => {
            assert!(reason.as_str().contains("memory"), "{reason}");
            assert!(!reason.as_str().contains(char::is_numeric), "{reason}");
        }
        other => panic!("another reason: {other:?}"),
    }
}

#[test]
fn the_log_says_what_training_took() {
    let device = Device::new(&["see you at the station", "are you home"]);
    let (input, events) = device.compute(&device.plan(TRAINING), DEFAULT_MEMORY);
    input.unwrap();
    let memory = events.iter().find(|event| event["event"] == "memory");
    let memory = memory.expect("Linux says what memory a process takes");
    assert_eq!(memory["round"], 2);
    let bytes = |name: &str| memory[name].as_u64().unwrap();
    assert!(bytes("peak_bytes") > bytes("growth_bytes"));
    assert!(bytes("estimated_bytes") > 0);
}

/// What the node sends is what its text says of the round's directions, and the server makes the update
/// of all parameters of it.
#[test]
fn a_node_that_explores_sends_a_number_a_direction() {
    let device = Device::new(&["see you at the station", "are you home", "see you"]);
    let evolution = Evolution {
        pairs: 4,
        sigma: 0.01,
    };
    let training = TrainingPlan {
        batch: 3,
        ..TRAINING
    };
    let plan = device.plan(training);
    let plan = plan.with_evolution(Some(evolution)).unwrap();
    let (encoded, _) = device.compute(&plan, DEFAULT_MEMORY);
    let input = encoded.unwrap().input;
    assert_eq!(input.layout().segments()[0].len(), 4);
    let (counters, update) = device.computed(&plan);
    assert_eq!(counters.value(Counter::Weight), 3);

    let mut model = Model::new(&device.model.description, &device.weights).unwrap();
    let text = load_text(device.folder.path()).unwrap();
    let words = text.training.iter().map(|message| message.as_str());
    let text = Examples::new(&device.model, words, 9).unwrap();
    let directions = Directions::new(&Device::session(&plan));
    let task = ExplorationTask {
        evolution: &evolution,
        directions: &directions,
        parts: &Parts::ALL,
        messages: 3,
        seed: [5; 32],
    };
    let mut go_on = |_| ControlFlow::Continue(());
    let explored = explore(
        &mut model,
        device.weights.values(),
        &text,
        &task,
        &mut go_on,
    )
    .unwrap();
    // They are clipped as any update is.
    let squares: f32 = explored.falls.iter().map(|fall| fall * fall).sum();
    let clip = plan.update().clip_norm / squares.sqrt();
    let falls: Vec<f32> = explored
        .falls
        .iter()
        .map(|fall| fall * clip.min(1.0))
        .collect();
    let expected = directions.combine(&falls, update.len());
    let bound = UpdateCodec::new(&plan).error_bound(1, 3) + 1e-4;
    for (found, expected) in update.iter().zip(&expected) {
        assert!(
            (f64::from(found - expected)).abs() < bound,
            "{found} {expected} {bound}"
        );
    }
    assert!(
        expected
            .iter()
            .any(|element| f64::from(element.abs()) > 2.0 * bound)
    );
}

#[test]
fn images_count_as_one_prediction_each() {
    let sheet = Sheet {
        seed: 1,
        images: 20,
        alpha: None,
    };
    let lines: Vec<_> = sheet.person(0).iter().map(Image::to_line).collect();
    let lines: Vec<&str> = lines.iter().map(|line| line.as_str()).collect();
    let digits = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let device = Device::new(&lines).with_image_model(&digits);
    let (counters, update) = device.computed(&device.plan(TRAINING));
    assert_eq!(counters.value(Counter::Weight), 18);
    assert_eq!(counters.value(Counter::ValidationTokens), 2);
    assert!(counters.value(Counter::ValidationTop1) <= 2);
    assert!(update.iter().any(|element| *element != 0.0));
}

/// What is wrong stands in the node's own log, and the coordinator hears nothing of it.
#[test]
fn lines_that_are_no_images_are_refused_and_not_told() {
    let device = Device::new(&["see you at the station"]).with_image_model(&["0", "1"]);
    let plan = device.plan(TRAINING);
    let error = device.compute(&plan, DEFAULT_MEMORY).0.unwrap_err();
    assert!(
        matches!(
            error,
            LocalError::Examples(ExampleError::Image { place: 1, .. })
        ),
        "{error}"
    );
    assert!(error.to_string().contains("example 1"), "{error}");
    let DeclineReason::Other(reason) = RoundError::from(error).decline_reason() else {
        panic!("another reason");
    };
    assert_eq!(
        reason.to_string(),
        "what this node has is not what the model learns from"
    );
}
