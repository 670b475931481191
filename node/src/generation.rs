//! Continues phrases, and suggests next words with their probabilities.
//!
//! | module | what it does |
//! |---|---|
//! | [`Predictor`] | a network that reads one word at a time |
//! | [`Sampling`] | draws words at random, by temperature and nucleus |
//! | [`Beam`] | searches the most probable continuation as a whole |
//! | [`Keyboard`] | suggests words while somebody types |
//! | [`translate`] | turns a text into another |
//!
//! Padding, unknown and begin are never generated nor suggested.

mod beam;
mod keyboard;
mod predictor;
mod sampling;
mod subwords;
mod translation;

use rand_chacha::ChaCha20Rng;
use serde::Serialize;

pub use beam::{Beam, BeamError, MAX_ALPHA, MAX_WIDTH};
pub use keyboard::Keyboard;
pub use predictor::Predictor;
pub use sampling::{MAX_TEMPERATURE, Sampling, SamplingError};
pub use translation::{Translation, TranslationError, translate};

use self::predictor::{answers, best};
use crate::vocabulary::{END, Token, Vocabulary};

/// A next word and how probable it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestion {
    /// The word; `<end>` for the end of the message.
    pub word: String,
    /// Its probability, among all words that can be suggested.
    pub probability: f64,
}

/// A phrase, continued.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Completion {
    /// The phrase as it was given.
    pub phrase: String,
    /// The words that follow, up to the end of the message.
    pub continuation: String,
    /// The most probable next words after the phrase, best first.
    pub suggestions: Vec<Suggestion>,
}

/// How the words of a continuation are chosen.
#[derive(Debug)]
pub enum Decoding {
    /// Always the most probable word.
    Greedy,
    /// Each word drawn at random; the same generator gives the same words.
    Sample(Sampling, Box<ChaCha20Rng>),
    /// The most probable continuation as a whole.
    Beam(Beam),
}

/// Continues a phrase by up to `max_words` words (or characters), to the end of the message at most, and gives the
/// `top` best next words.
#[must_use]
pub fn complete<P: Predictor>(
    predictor: &P,
    vocabulary: &Vocabulary,
    phrase: &str,
    decoding: &mut Decoding,
    max_words: usize,
    top: usize,
) -> Completion {
    let state = predictor.after(&vocabulary.tokens(phrase));
    let suggested = best(answers(predictor, &state), top);
    let tokens = decode(predictor, state, decoding, max_words);
    Completion {
        phrase: phrase.to_owned(),
        continuation: vocabulary.join(&tokens),
        suggestions: suggestions(vocabulary, suggested),
    }
}

/// Goes on from a state by up to `max_words` words, without the `<end>`.
fn decode<P: Predictor>(
    predictor: &P,
    state: P::State,
    decoding: &mut Decoding,
    max_words: usize,
) -> Vec<Token> {
    match decoding {
        Decoding::Beam(beam) => beam.search(predictor, state, max_words),
        Decoding::Greedy => one_by_one(predictor, state, max_words, |answers| {
            best(answers, 1).first().map(|&(token, _)| token)
        }),
        Decoding::Sample(sampling, rng) => one_by_one(predictor, state, max_words, |answers| {
            sampling.draw(answers, rng)
        }),
    }
}

/// Chooses one word after the other, up to `<end>`.
fn one_by_one<P: Predictor>(
    predictor: &P,
    mut state: P::State,
    max_words: usize,
    mut choose: impl FnMut(Vec<(Token, f64)>) -> Option<Token>,
) -> Vec<Token> {
    let mut tokens = Vec::new();
    while tokens.len() < max_words {
        match choose(answers(predictor, &state)) {
            None | Some(END) => break,
            Some(token) => {
                predictor.read(&mut state, token);
                tokens.push(token);
            }
        }
    }
    tokens
}

/// Words for people, of tokens with log-probabilities.
fn suggestions(vocabulary: &Vocabulary, best: Vec<(Token, f64)>) -> Vec<Suggestion> {
    let suggestion = |(token, logarithm): (Token, f64)| Suggestion {
        word: vocabulary.word(token).unwrap_or_default().to_owned(),
        probability: logarithm.exp(),
    };
    best.into_iter().map(suggestion).collect()
}

#[cfg(test)]
mod tests;
