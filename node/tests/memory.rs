//! What training takes, beside what is estimated. A process of its own: its peak is what counts.

use std::ops::ControlFlow;
use std::process::Command;

use secagg_learning::{Budget, LocalOptimizer, Precision, TrainingPlan};
use secagg_node::digits::Sheet;
use secagg_node::examples::{Examples, Image, Images, Pairs};
use secagg_node::memory::PeakMemory;
use secagg_node::model::{
    Architecture, CnnSizes, EncoderDecoderSizes, MlpSizes, Model, ModelDescription, Sizes,
    StackSizes, Task, TransformerSizes, Weights,
};
use secagg_node::training::{DEFAULT_MEMORY, Estimate, TrainingTask, train};
use secagg_node::vocabulary::{TokenizedText, Vocabulary};

const WORDS: u32 = 4_996;
const MESSAGES: u32 = 192;
const IMAGES: u32 = 512;

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

/// Which kind a process of the test of all kinds measures.
const KIND: &str = "SECAGG_TEST_KIND";
/// And in which precision, and with how much dropout.
const PRECISION: &str = "SECAGG_TEST_PRECISION";
const DROPOUT: &str = "SECAGG_TEST_DROPOUT";

fn kind(name: &str) -> Architecture {
    let sizes = Sizes {
        vocabulary: 5_000,
        embedding: 96,
        units: 256,
        output_bias: true,
    };
    // Small vocabularies, so that it is not only the scores that count.
    let few = 600;
    match name {
        "lstm" => Architecture::Lstm(Sizes {
            vocabulary: few,
            ..sizes
        }),
        "gru" => Architecture::Gru(Sizes {
            vocabulary: few,
            ..sizes
        }),
        "tanh-rnn" => Architecture::TanhRnn(StackSizes {
            vocabulary: few,
            embedding: 96,
            units: 256,
            layers: 3,
            output_bias: true,
        }),
        "transformer" | "transformer-long" => Architecture::Transformer(TransformerSizes {
            vocabulary: few,
            embedding: 96,
            layers: 3,
            heads: 4,
            feed_forward: 384,
            context: if name == "transformer" { 32 } else { 2_048 },
            output_bias: true,
        }),
        "encoder-decoder" | "encoder-decoder-sources" => {
            Architecture::EncoderDecoder(EncoderDecoderSizes {
                vocabulary: few,
                embedding: 96,
                encoder_layers: 2,
                decoder_layers: 2,
                heads: 4,
                feed_forward: 384,
                context: 64,
                output_bias: true,
            })
        }
        "mlp" => Architecture::Mlp(MlpSizes {
            vocabulary: 14,
            units: 1_000,
            layers: 3,
        }),
        "cnn" => Architecture::Cnn(CnnSizes {
            vocabulary: 14,
            kernel: 5,
            first_filters: 16,
            second_filters: 32,
            units: 128,
        }),
        "cnn-thin" => Architecture::Cnn(CnnSizes {
            vocabulary: 14,
            kernel: 3,
            first_filters: 2,
            second_filters: 4,
            units: 16,
        }),
        _ => panic!("no kind {name}"),
    }
}

const KINDS: [&str; 10] = [
    "lstm",
    "gru",
    "tanh-rnn",
    "transformer",
    "transformer-long",
    "encoder-decoder",
    "encoder-decoder-sources",
    "mlp",
    "cnn",
    "cnn-thin",
];

#[test]
fn the_estimate_holds_for_each_kind() {
    for kind in KINDS {
        in_a_process(kind, "f32", "0");
    }
}

#[test]
fn the_estimate_holds_for_each_kind_in_bf16() {
    for kind in KINDS {
        in_a_process(kind, "bf16", "0");
    }
}

/// Masks are within it.
#[test]
fn the_estimate_is_not_below_what_dropout_takes() {
    for precision in ["f32", "bf16"] {
        for kind in KINDS {
            in_a_process(kind, precision, "0.25");
        }
    }
}

/// Measures training where nothing else has taken memory before.
fn in_a_process(kind: &str, precision: &str, dropout: &str) {
    let program = std::env::current_exe().expect("a test is a program");
    let output = Command::new(program)
        .args(["--exact", "one_kind", "--ignored", "--nocapture"])
        .env(KIND, kind)
        .env(PRECISION, precision)
        .env(DROPOUT, dropout)
        .output()
        .expect("the program starts again");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{kind}, {precision}, {dropout}: {said}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{kind}: {said}{errors}");
    assert!(said.contains("1 passed"), "{said}");
}

/// Messages for a language model, and the most words of one.
fn text(name: &str) -> (Examples, u32) {
    let all: Vec<String> = (0..WORDS).map(|n| format!("w{n}")).collect();
    let vocabulary = Vocabulary::from_text(all.iter().map(String::as_str), 600);
    let vocabulary = vocabulary.expect("there are words");
    // Messages of different lengths: some padding, where a network pads.
    let mut messages = messages();
    for (index, message) in messages.iter_mut().enumerate() {
        let words: Vec<&str> = message.split(' ').collect();
        *message = words[..20 - index % 12].join(" ");
    }
    let mut max_words = 29;
    if name == "transformer-long" {
        // Few, but so long that a score for each pair of tokens would take far more than the rest.
        messages = messages.chunks(96).map(|some| some.join(" ")).collect();
        max_words = 4_000;
    }
    let most = max_words as usize;
    let text = if name.starts_with("encoder-decoder") {
        // Sources as long as targets, or much longer.
        let lines: Vec<String> = messages
            .iter()
            .map(|line| match name {
                "encoder-decoder" => format!("{line}\t{line}"),
                _ => format!("{line}\tw1 w2"),
            })
            .collect();
        let pairs = Pairs::new(&vocabulary, lines.iter().map(String::as_str), most);
        Examples::Pairs(pairs.expect("each line has a tab"))
    } else {
        TokenizedText::new(&vocabulary, messages.iter().map(String::as_str), most).into()
    };
    (text, max_words)
}

/// As many images as a vast batch has.
fn images() -> Examples {
    let sheet = Sheet {
        seed: 1,
        images: IMAGES,
        alpha: None,
    };
    let lines: Vec<_> = sheet.person(0).iter().map(Image::to_line).collect();
    let vocabulary = Vocabulary::from_text(["0 1 2 3 4 5 6 7 8 9"], 14);
    let vocabulary = vocabulary.expect("there are labels");
    let images = Images::new(&vocabulary, lines.iter().map(|line| line.as_str()));
    Examples::Images(images.expect("each line is an image"))
}

#[test]
#[ignore = "a process of its own for each kind starts it"]
fn one_kind() {
    tch::set_num_threads(1);
    let name = std::env::var(KIND).expect("the test of all kinds says which");
    let precision = match std::env::var(PRECISION).as_deref() {
        Ok("bf16") => Precision::Bf16,
        _ => Precision::F32,
    };
    let dropout = std::env::var(DROPOUT).expect("the test of all kinds says how much");
    let dropout = dropout.parse().expect("a share");
    let description = ModelDescription::new(kind(&name), 1).unwrap();
    let initial = Weights::initial(&description);
    let (examples, max_words) = match description.task() {
        Task::NextToken | Task::SequenceToSequence => text(&name),
        Task::Classification => (images(), 29),
    };
    let mut model = Model::new(&description, &initial).unwrap();
    let largest = match description.task() {
        Task::NextToken | Task::SequenceToSequence => MESSAGES,
        Task::Classification => IMAGES,
    };
    for (batch, optimizer) in [
        (16, LocalOptimizer::Sgd { rate: 0.1 }),
        (largest, LocalOptimizer::Adam { rate: 0.002 }),
    ] {
        let plan = TrainingPlan {
            budget: Budget::Steps(2),
            batch,
            optimizer,
            max_words,
            precision,
            dropout,
            ..TrainingPlan::DEFAULT
        };
        let task = TrainingTask::new(&plan, 1, [1; 32]);
        let peak = PeakMemory::start();
        let mut go_on = |_| ControlFlow::Continue(());
        let trained = train(&mut model, initial.values(), &examples, &task, &mut go_on).unwrap();
        let growth = peak.finish().unwrap().growth_bytes;
        let estimate = trained.memory;
        println!("batch {batch}: {growth} measured, {estimate} estimated");
        assert!(
            growth <= estimate,
            "{growth} measured, {estimate} estimated"
        );
        // Short targets count as the long sources. Dropout asks only whether its masks are within it.
        let telling = growth > TELLING && name != "encoder-decoder-sources" && dropout == 0.0;
        assert!(
            !telling || estimate <= Estimate::FACTOR * growth,
            "{growth} measured, {estimate} estimated"
        );
    }
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
    let text = TokenizedText::new(&vocabulary, messages.iter().map(String::as_str), 29).into();
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
