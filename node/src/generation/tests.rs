use rand_chacha::rand_core::SeedableRng;
use secagg_learning::{Budget, LocalOptimizer, TrainingPlan};
use std::ops::ControlFlow;

use super::*;
use crate::model::{Model, ModelDescription, Sizes, Weights};
use crate::training::{TrainingTask, train};
use crate::vocabulary::{BEGIN, TokenizedText, UNKNOWN};

/// Predicts from the last word alone, by a table of probabilities.
#[derive(Debug)]
pub(super) struct Table([[f64; 7]; 4]);

impl Table {
    /// After <begin>, and after words 4, 5 and 6: probabilities of <pad>, <unk>, <begin>, <end> and of
    /// the words. The first three are large, and must not matter.
    pub(super) fn of_words() -> Self {
        Self([
            [0.9, 0.9, 0.9, 0.05, 0.5, 0.4, 0.05],
            [0.9, 0.9, 0.9, 0.25, 0.26, 0.25, 0.24],
            [0.9, 0.9, 0.9, 0.03, 0.04, 0.03, 0.9],
            [0.9, 0.9, 0.9, 0.91, 0.03, 0.03, 0.03],
        ])
    }
}

impl Predictor for Table {
    type State = Token;

    fn begin(&self) -> Token {
        BEGIN
    }

    fn read(&self, state: &mut Token, token: Token) {
        *state = token;
    }

    fn log_probabilities(&self, state: &Token) -> Vec<f32> {
        let row = match *state {
            BEGIN => 0,
            UNKNOWN => 3,
            token => token as usize - 3,
        };
        #[expect(clippy::cast_possible_truncation, reason = "32 bits are enough here")]
        let row = self.0[row].map(|probability| probability.ln() as f32);
        row.to_vec()
    }
}

fn vocabulary() -> Vocabulary {
    Vocabulary::parse("<pad>\n<unk>\n<begin>\n<end>\na\nb\nc\n").unwrap()
}

fn sample(seed: u64, temperature: f64) -> Decoding {
    let rng = Box::new(ChaCha20Rng::seed_from_u64(seed));
    Decoding::Sample(Sampling::new(temperature, 1.0).unwrap(), rng)
}

#[test]
fn each_way_chooses_its_own_words() {
    let (table, vocabulary) = (Table::of_words(), vocabulary());
    let continued =
        |decoding: &mut Decoding| complete(&table, &vocabulary, "", decoding, 4, 2).continuation;
    assert_eq!(continued(&mut Decoding::Greedy), "a a a a");
    let beam = Beam::new(2, 0.0).unwrap();
    assert_eq!(continued(&mut Decoding::Beam(beam)), "b c");
    // The same seed gives the same words, further draws and other seeds others.
    let mut one = sample(1, 1.0);
    let drawn: Vec<String> = (0..40).map(|_| continued(&mut one)).collect();
    let mut again = sample(1, 1.0);
    assert!(drawn.iter().all(|text| *text == continued(&mut again)));
    let mut other = sample(2, 1.0);
    assert!(drawn.iter().any(|text| *text != continued(&mut other)));
    assert!(drawn.iter().any(|text| *text != drawn[0]));
}

#[test]
fn special_words_are_neither_generated_nor_suggested() {
    let (table, vocabulary) = (Table::of_words(), vocabulary());
    for seed in 0..50 {
        let mut decoding = sample(seed, 100.0);
        let completion = complete(&table, &vocabulary, "a", &mut decoding, 30, 99);
        let words: Vec<&str> = completion.continuation.split(' ').collect();
        assert!(
            words.iter().all(|word| ["", "a", "b", "c"].contains(word)),
            "{words:?}"
        );
        let suggested: Vec<&str> = completion
            .suggestions
            .iter()
            .map(|suggestion| suggestion.word.as_str())
            .collect();
        assert_eq!(suggested, ["a", "<end>", "b", "c"]);
        let sum: f64 = completion.suggestions.iter().map(|s| s.probability).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }
}

#[test]
fn a_learnt_phrase_is_continued_to_its_end() {
    tch::set_num_threads(1);
    let messages = ["see you at the station!", "are you home", "call me x later"];
    let vocabulary =
        Vocabulary::from_text(messages.map(|m| m.trim_end_matches("x later")), 40).unwrap();
    let words = u32::try_from(vocabulary.len()).unwrap();
    let sizes = Sizes {
        vocabulary: words,
        embedding: 12,
        units: 16,
        output_bias: true,
    };
    let description = ModelDescription::cifg_lstm(sizes, 1).unwrap();
    let initial = Weights::initial(&description);
    let mut model = Model::new(&description, &initial).unwrap();
    let text = TokenizedText::new(&vocabulary, messages, 29).into();
    let plan = TrainingPlan {
        budget: Budget::Epochs(80),
        batch: 3,
        optimizer: LocalOptimizer::Adam { rate: 0.02 },
        gradient_clip: 5.0,
        max_words: 29,
        ..TrainingPlan::DEFAULT
    };
    let task = TrainingTask::new(&plan, 1, [1; 32]);
    let mut go_on = |_| ControlFlow::Continue(());
    train(&mut model, initial.values(), &text, &task, &mut go_on).unwrap();
    let beam = Beam::new(4, 0.6).unwrap();
    for mut decoding in [Decoding::Greedy, Decoding::Beam(beam), sample(3, 0.1)] {
        let completion = complete(&model, &vocabulary, "See you", &mut decoding, 12, 3);
        assert_eq!(completion.continuation, "at the station!", "{decoding:?}");
        assert_eq!(completion.suggestions.len(), 3);
        assert_eq!(completion.suggestions[0].word, "at");
        assert!(completion.suggestions[0].probability > 0.5);
    }
    let mut keyboard = Keyboard::new(&model, &vocabulary);
    assert_eq!(keyboard.suggest("see you at the s", 1)[0].word, "station");
    assert_eq!(keyboard.suggest("see you at the ", 1)[0].word, "station");
}
