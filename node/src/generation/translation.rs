//! Turns texts into others, with a model that has an encoder and a decoder.

use serde::Serialize;
use thiserror::Error;

use super::{Decoding, Predictor, decode};
use crate::model::{Architecture, Model};
use crate::vocabulary::{BEGIN, END, Token, Vocabulary};

/// A text, and what it became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Translation {
    /// The text as it was given.
    pub source: String,
    /// What the model makes of it.
    pub target: String,
}

/// Why a text is not turned into another.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TranslationError {
    /// The model has no encoder and decoder.
    #[error(
        "a model of kind \"{kind}\" turns no text into another; take one of kind \"encoder-decoder\""
    )]
    NoEncoder {
        /// The model's kind.
        kind: &'static str,
    },
    /// Nothing is left of it when it is cut into tokens.
    #[error("there is no word in \"{source_text}\"")]
    Empty {
        /// The text.
        source_text: String,
    },
    /// It does not fit into the model's context.
    #[error(
        "\"{source_text}\" has {found} tokens; the model's context has room for {most} of them and the \
         end: give less at once"
    )]
    TooLong {
        /// The text.
        source_text: String,
        /// How many tokens it has.
        found: usize,
        /// How many it may have.
        most: usize,
    },
}

/// Predicts a target, one token after the other, from its source. All is read again for each prediction.
#[derive(Debug)]
struct Translator<'a> {
    model: &'a Model,
    /// Up to its `<end>`.
    source: Vec<Token>,
}

impl Predictor for Translator<'_> {
    type State = Vec<Token>;

    fn begin(&self) -> Vec<Token> {
        vec![BEGIN]
    }

    fn read(&self, state: &mut Vec<Token>, token: Token) {
        state.push(token);
    }

    fn log_probabilities(&self, state: &Vec<Token>) -> Vec<f32> {
        self.model.target_log_probabilities(&self.source, state)
    }
}

/// Turns a text into another of at most `max_words` words (or characters), and of no more than the
/// model's context has room for.
///
/// # Errors
/// A [`TranslationError`] that says what is wrong with the text or the model.
pub fn translate(
    model: &Model,
    vocabulary: &Vocabulary,
    source: &str,
    decoding: &mut Decoding,
    max_words: usize,
) -> Result<Translation, TranslationError> {
    let Architecture::EncoderDecoder(sizes) = model.description().architecture() else {
        let kind = model.description().kind().as_str();
        return Err(TranslationError::NoEncoder { kind });
    };
    let most = sizes.most_tokens();
    let mut tokens = vocabulary.tokens(source);
    if tokens.is_empty() {
        return Err(TranslationError::Empty {
            source_text: source.to_owned(),
        });
    }
    if tokens.len() > most {
        return Err(TranslationError::TooLong {
            source_text: source.to_owned(),
            found: tokens.len(),
            most,
        });
    }
    tokens.push(END);
    let translator = Translator {
        model,
        source: tokens,
    };
    let target = decode(
        &translator,
        translator.begin(),
        decoding,
        max_words.min(most),
    );
    Ok(Translation {
        source: source.to_owned(),
        target: vocabulary.join(&target),
    })
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use secagg_learning::{Budget, LocalOptimizer, TrainingPlan};

    use super::*;
    use crate::evaluation::evaluate;
    use crate::examples::{Examples, Pairs};
    use crate::generation::Beam;
    use crate::model::{EncoderDecoderSizes, ModelDescription, Sizes, Weights};
    use crate::numbers::{Style, in_words};
    use crate::training::{TrainingTask, train};
    use crate::vocabulary::TextUnits;

    const NUMBERS: [u64; 9] = [0, 7, 10, 12, 16, 20, 41, 99, 100];

    fn line(number: &u64) -> String {
        format!("{number}\t{}", in_words(*number, Style::English))
    }

    fn untrained(context: u32) -> (Model, Vocabulary, Vec<String>) {
        tch::set_num_threads(1);
        let lines: Vec<String> = NUMBERS.iter().map(line).collect();
        let text = lines.iter().map(String::as_str);
        let vocabulary = Vocabulary::of(TextUnits::WordsAndDigits, text, 99).unwrap();
        let sizes = EncoderDecoderSizes {
            vocabulary: u32::try_from(vocabulary.len()).unwrap(),
            embedding: 16,
            encoder_layers: 1,
            decoder_layers: 1,
            heads: 2,
            feed_forward: 32,
            context,
            output_bias: true,
        };
        let architecture = Architecture::EncoderDecoder(sizes);
        let description = ModelDescription::new(architecture, 1).unwrap();
        let model = Model::new(&description, &Weights::initial(&description)).unwrap();
        (model, vocabulary, lines)
    }

    #[test]
    fn learnt_numbers_are_said() {
        let (mut model, vocabulary, lines) = untrained(8);
        let pairs = Pairs::new(&vocabulary, lines.iter().map(String::as_str), 7).unwrap();
        let examples = Examples::Pairs(pairs);
        let before = evaluate(&model, &examples);
        assert_eq!((before.pairs, before.exact_rate()), (9, Some(0.0)));
        let plan = TrainingPlan {
            budget: Budget::Epochs(80),
            batch: 3,
            optimizer: LocalOptimizer::Adam { rate: 0.01 },
            gradient_clip: 5.0,
            ..TrainingPlan::DEFAULT
        };
        let task = TrainingTask::new(&plan, 1, [1; 32]);
        let mut go_on = |_| ControlFlow::Continue(());
        let initial = model.to_flat();
        train(&mut model, &initial, &examples, &task, &mut go_on).unwrap();
        let after = evaluate(&model, &examples);
        println!("{before:?} {after:?}");
        assert_eq!(after.exact_rate(), Some(1.0), "{after:?}");
        for mut decoding in [Decoding::Greedy, Decoding::Beam(Beam::new(4, 0.6).unwrap())] {
            for number in NUMBERS {
                let source = number.to_string();
                let said = translate(&model, &vocabulary, &source, &mut decoding, 99).unwrap();
                assert_eq!(
                    said.target,
                    in_words(number, Style::English),
                    "{decoding:?}"
                );
                let one = translate(&model, &vocabulary, &source, &mut decoding, 1).unwrap();
                assert_eq!(vocabulary.tokens(&one.target).len(), 1);
            }
        }
        // Of all numbers as many are exact, evaluated at once, as are written so.
        let lines: Vec<String> = (0..=100).map(|number| line(&number)).collect();
        let pairs = Pairs::new(&vocabulary, lines.iter().map(String::as_str), 7).unwrap();
        let found = evaluate(&model, &Examples::Pairs(pairs));
        let written = lines.iter().filter(|line| {
            let (source, target) = line.split_once('\t').unwrap();
            let said = translate(&model, &vocabulary, source, &mut Decoding::Greedy, 99);
            said.unwrap().target == target
        });
        assert_eq!((found.exact, found.pairs), (written.count() as u64, 101));
        assert!((9..101).contains(&found.exact), "{found:?}");
    }

    #[test]
    fn what_cannot_be_turned_into_text_is_named() {
        let (model, vocabulary, _) = untrained(4);
        let refused = |source: &str| {
            translate(&model, &vocabulary, source, &mut Decoding::Greedy, 9).unwrap_err()
        };
        let source_text = "1000".to_owned();
        assert_eq!(
            refused(&source_text),
            TranslationError::TooLong {
                source_text,
                found: 4,
                most: 3
            }
        );
        let source_text = " \t".to_owned();
        assert_eq!(
            refused(&source_text),
            TranslationError::Empty { source_text }
        );
        // As many words as the context has room for.
        let longest = translate(&model, &vocabulary, "100", &mut Decoding::Greedy, 99).unwrap();
        assert!(vocabulary.tokens(&longest.target).len() <= 3, "{longest:?}");
        let sizes = Sizes {
            vocabulary: u32::try_from(vocabulary.len()).unwrap(),
            embedding: 2,
            units: 3,
            output_bias: true,
        };
        let description = ModelDescription::cifg_lstm(sizes, 1).unwrap();
        let language = Model::new(&description, &Weights::initial(&description)).unwrap();
        assert_eq!(
            translate(&language, &vocabulary, "7", &mut Decoding::Greedy, 9),
            Err(TranslationError::NoEncoder { kind: "cifg-lstm" })
        );
    }
}
