//! What training takes, beside what is estimated. A process of its own: its peak is what counts.

use std::ops::ControlFlow;

use secagg_learning::{Budget, LocalOptimizer, TrainingPlan};
use secagg_node::memory::PeakMemory;
use secagg_node::model::{Model, ModelDescription, Sizes, Weights};
use secagg_node::training::{DEFAULT_MEMORY, Estimate, TrainingTask, train};
use secagg_node::vocabulary::{TokenizedText, Vocabulary};

const WORDS: u32 = 4_996;
const MESSAGES: u32 = 192;

/// Below this, what the library holds anyway hides what training takes.
const TELLING: u64 = 64 << 20;

/// 192 messages of 20 words each, from all over the vocabulary.
fn messages() -> Vec<String> {
    let word = |n: u32| format!("w{}", n % WORDS);
    (0..MESSAGES)
        .map(|message| {
            let words: Vec<String> = (0..20).map(|n| word(message * 131 + n * 17)).collect();
            words.join(" ")
        })
        .collect()
}

#[test]
fn the_estimate_is_never_below_and_not_far_above_what_training_takes() {
    tch::set_num_threads(1);
    let all: Vec<String> = (0..WORDS).map(|n| format!("w{n}")).collect();
    let vocabulary = Vocabulary::from_text(all.iter().map(String::as_str), 5_000).unwrap();
    let sizes = Sizes {
        vocabulary: u32::try_from(vocabulary.len()).unwrap(),
        embedding: 96,
        units: 256,
        output_bias: true,
    };
    let description = ModelDescription::cifg_lstm(sizes, 1).unwrap();
    let initial = Weights::initial(&description);
    let messages = messages();
    let text = TokenizedText::new(&vocabulary, messages.iter().map(String::as_str), 29);
    let mut model = Model::new(&description, &initial).unwrap();
    let mut measured = |batch: u32, memory: u64, proximal: f32, optimizer: LocalOptimizer| {
        let plan = TrainingPlan {
            budget: Budget::Steps(2),
            batch,
            optimizer,
            proximal,
            ..TrainingPlan::DEFAULT
        };
        let task = TrainingTask {
            memory,
            ..TrainingTask::new(&plan, 1, [1; 32])
        };
        let peak = PeakMemory::start();
        let mut go_on = |_| ControlFlow::Continue(());
        let trained = train(&mut model, initial.values(), &text, &task, &mut go_on).unwrap();
        let growth = peak.finish().unwrap().growth_bytes;
        let estimate = trained.memory;
        println!("batch {batch}, budget {memory}: {growth} measured, {estimate} estimated");
        (growth, estimate)
    };
    // From small to large: what libtorch has freed may stay with the process.
    let adam = LocalOptimizer::Adam { rate: 0.002 };
    let budget = 160 << 20;
    let all = [
        measured(2, DEFAULT_MEMORY, 0.0, LocalOptimizer::Sgd { rate: 1.0 }),
        measured(16, DEFAULT_MEMORY, 0.1, adam),
        measured(MESSAGES, budget / 2, 0.1, adam),
        measured(MESSAGES, budget / 4 * 3, 0.1, adam),
        measured(MESSAGES, budget, 0.1, adam),
        measured(MESSAGES, DEFAULT_MEMORY, 0.1, adam),
    ];
    for (growth, estimate) in all {
        assert!(
            growth <= estimate,
            "{growth} measured, {estimate} estimated"
        );
        assert!(
            growth <= TELLING || estimate <= Estimate::FACTOR * growth,
            "{growth} measured, {estimate} estimated"
        );
    }
    let [.., (within, _), (beyond, _)] = all;
    assert!(within <= budget && budget < beyond, "{within} {beyond}");
}
