//! Whole words for a keyboard, where a word may be several tokens.
//!
//! The most probable words are found by a best-first search (Hart, Nilsson and Raphael 1968, without a
//! heuristic): the most probable beginning of a word is gone on with first, and as every token more makes a
//! word less probable, what is finished before all that is left to try is the best.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use super::Suggestion;
use super::predictor::{Predictor, normalised};
use crate::vocabulary::{END, FIRST_ANSWER, Pieces, Token, Typed, goes_on_in_pieces};

/// The most times that the network is asked for one text.
const MOST_STEPS: usize = 24;
/// The most beginnings that are kept of what follows one.
const MOST_FOLLOWING: usize = 32;
/// The longest word that is suggested, in bytes.
const MOST_BYTES: usize = 64;

/// The `count` most probable words for what is typed, best first, after `state`, which has read all that is
/// finished. Probabilities are, for each token, among those that can stand there.
pub(super) fn suggest<P: Predictor>(
    predictor: &P,
    state: &P::State,
    pieces: Pieces<'_>,
    typed: &Typed,
    count: usize,
) -> Vec<Suggestion> {
    let mut search = Search {
        typed,
        // Where tokens bring the space before a word along, one without it goes on with the word before.
        spaced: typed.apart && !typed.finished.is_empty() && pieces.are_spaced(),
        words: BTreeMap::new(),
        open: BinaryHeap::new(),
    };
    search.open.push(Beginning {
        logarithm: 0.0,
        word: Vec::new(),
        state: state.clone(),
        token: None,
    });
    for _ in 0..MOST_STEPS {
        let Some(best) = search.open.pop() else {
            break;
        };
        if search.are_decided(count, best.logarithm) {
            break;
        }
        search.go_on(predictor, pieces, best);
    }
    search.best(count)
}

/// A word that was begun: the probability of its tokens, and the state before the last of them.
struct Beginning<S> {
    logarithm: f64,
    word: Vec<u8>,
    state: S,
    token: Option<Token>,
}

impl<S> PartialEq for Beginning<S> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<S> Eq for Beginning<S> {}

impl<S> PartialOrd for Beginning<S> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<S> Ord for Beginning<S> {
    fn cmp(&self, other: &Self) -> Ordering {
        let probability = self.logarithm.total_cmp(&other.logarithm);
        // Among equals always the same one.
        probability.then_with(|| (&other.word, other.token).cmp(&(&self.word, self.token)))
    }
}

struct Search<'a, S> {
    typed: &'a Typed,
    /// Whether the word's first token must bring a space.
    spaced: bool,
    /// Whole words with their probabilities; the ways to spell one add up.
    words: BTreeMap<Vec<u8>, f64>,
    open: BinaryHeap<Beginning<S>>,
}

/// What a token does to a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// It goes on with the word.
    GoesOn,
    /// It brings the word to its end.
    Completes,
    /// It begins what comes after the word.
    Follows,
}

impl<S: Clone> Search<'_, S> {
    /// Whether no beginning of this probability can become one of the best words any more.
    fn are_decided(&self, count: usize, logarithm: f64) -> bool {
        let better = self.words.values().filter(|word| **word >= logarithm.exp());
        better.count() >= count
    }

    fn go_on<P: Predictor<State = S>>(
        &mut self,
        predictor: &P,
        pieces: Pieces<'_>,
        beginning: Beginning<S>,
    ) {
        let Beginning {
            logarithm,
            word,
            mut state,
            token,
        } = beginning;
        if let Some(token) = token {
            predictor.read(&mut state, token);
        }
        let scores = predictor.log_probabilities(&state);
        let (mut effects, mut fitting) = (Vec::new(), Vec::new());
        for (token, score) in (0..).zip(scores) {
            if let Some(effect) = self.effect(&word, token, pieces.of(token)) {
                effects.push(effect);
                fitting.push((token, f64::from(score)));
            }
        }
        let whole = |token| [&word, added(&word, pieces.of(token)).trim_ascii_end()].concat();
        let mut following = Vec::new();
        for ((token, score), effect) in normalised(fitting).into_iter().zip(effects) {
            let logarithm = logarithm + score;
            if !logarithm.is_finite() {
                continue;
            }
            let ended = match effect {
                Effect::GoesOn => {
                    following.push((logarithm, token));
                    continue;
                }
                Effect::Completes => whole(token),
                Effect::Follows => word.clone(),
            };
            *self.words.entry(ended).or_default() += logarithm.exp();
        }
        following.sort_by(|left, right| right.0.total_cmp(&left.0));
        following.truncate(MOST_FOLLOWING);
        for (logarithm, token) in following {
            self.open.push(Beginning {
                logarithm,
                word: whole(token),
                state: state.clone(),
                token: Some(token),
            });
        }
    }

    /// What a token does to a word that was begun like this; nothing if it cannot stand there.
    fn effect(&self, word: &[u8], token: Token, piece: &[u8]) -> Option<Effect> {
        let first = word.is_empty();
        if token < FIRST_ANSWER || token != END && piece.is_empty() {
            return None;
        }
        // What was typed of the word and is not in it yet.
        let missing = self.typed.begun.as_bytes().get(word.len()..);
        let missing = missing.unwrap_or_default();
        if token == END || !first && !goes_on(piece) {
            return (!first && missing.is_empty()).then_some(Effect::Follows);
        }
        if first && self.spaced && !starts_with_space(piece) {
            return None;
        }
        let added = added(word, piece);
        let letters = added.trim_ascii_end();
        let fits = letters.starts_with(missing) || missing.starts_with(letters);
        if letters.is_empty() || word.len() + letters.len() > MOST_BYTES || !fits {
            return None;
        }
        match (goes_on(added), added.ends_with(b" ")) {
            (true, false) => Some(Effect::GoesOn),
            (true, true) => (letters.len() >= missing.len()).then_some(Effect::Completes),
            // A sign is a word of its own.
            (false, _) => {
                (first && missing.is_empty() && is_sign(added)).then_some(Effect::Completes)
            }
        }
    }

    /// The best words, with those that are not whole characters left out.
    fn best(self, count: usize) -> Vec<Suggestion> {
        let words = self.words.into_iter().filter_map(|(word, probability)| {
            let word = String::from_utf8(word).ok()?;
            let shown = !word.chars().any(char::is_control);
            shown.then_some(Suggestion { word, probability })
        });
        let mut words: Vec<Suggestion> = words.collect();
        words.sort_by(|left, right| right.probability.total_cmp(&left.probability));
        words.truncate(count);
        words
    }
}

/// What a token adds to a word: the first one without the space before it.
fn added<'a>(word: &[u8], piece: &'a [u8]) -> &'a [u8] {
    match word {
        [] => piece.trim_ascii_start(),
        _ => piece,
    }
}

/// Whether what a token adds is of a word and nothing else, but for a space at its end.
fn goes_on(piece: &[u8]) -> bool {
    let piece = piece.strip_suffix(b" ").unwrap_or(piece);
    let byte = |byte: &u8| !byte.is_ascii() || goes_on_in_pieces(char::from(*byte));
    !piece.is_empty() && piece.iter().all(byte)
}

fn is_sign(piece: &[u8]) -> bool {
    let piece = piece.strip_suffix(b" ").unwrap_or(piece);
    let sign = |byte: &u8| byte.is_ascii_punctuation();
    !piece.is_empty() && piece.iter().all(sign)
}

fn starts_with_space(piece: &[u8]) -> bool {
    piece.starts_with(b" ")
}

#[cfg(test)]
mod tests {
    use super::super::Keyboard;
    use super::*;
    use crate::vocabulary::{BEGIN, Tokenization, UNKNOWN, Vocabulary};

    /// Words by their last token; `▁` is the space before one.
    fn vocabulary() -> Vocabulary {
        let file = r#"{
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
            "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
            "model": {
                "type": "BPE", "ignore_merges": true, "merges": [], "unk_token": "?",
                "vocab": {"?": 0, "▁see": 1, "▁yo": 2, "u": 3, "r": 4, "▁you": 5, "!": 6, "s": 7}
            }
        }"#;
        Vocabulary::read(Tokenization::Tokenizer, file).unwrap()
    }

    const SEE: Token = 4;
    const YO: Token = 5;
    const U: Token = 6;
    const R: Token = 7;
    const YOU: Token = 8;
    const SIGN: Token = 9;
    const S: Token = 10;

    /// Probabilities after the last token.
    #[derive(Debug)]
    struct Table;

    impl Predictor for Table {
        type State = Token;

        fn begin(&self) -> Token {
            BEGIN
        }

        fn read(&self, state: &mut Token, token: Token) {
            *state = token;
        }

        fn log_probabilities(&self, state: &Token) -> Vec<f32> {
            let probable: &[(Token, f32)] = match *state {
                BEGIN => &[(SEE, 0.8), (S, 0.1), (SIGN, 0.1)],
                SEE => &[(YO, 0.5), (YOU, 0.3), (S, 0.1), (SIGN, 0.05), (END, 0.05)],
                YO => &[(U, 0.6), (R, 0.1), (SEE, 0.2), (END, 0.1)],
                U => &[(R, 0.4), (SEE, 0.4), (END, 0.2)],
                YOU => &[(R, 0.2), (SEE, 0.5), (END, 0.3)],
                SIGN => &[(SEE, 0.7), (SIGN, 0.2), (END, 0.1)],
                _ => &[(END, 0.5), (SIGN, 0.5)],
            };
            let mut scores = vec![f32::NEG_INFINITY; 11];
            for &(token, probability) in probable {
                scores[token as usize] = probability.ln();
            }
            scores[UNKNOWN as usize] = 9.0;
            scores
        }
    }

    fn suggested(typed: &str, count: usize) -> Vec<(String, f64)> {
        let vocabulary = vocabulary();
        let words = Keyboard::new(&Table, &vocabulary).suggest(typed, count);
        let rounded = |word: Suggestion| (word.word, (word.probability * 1e4).round() / 1e4);
        words.into_iter().map(rounded).collect()
    }

    fn words<const N: usize>(words: [(&str, f64); N]) -> Vec<(String, f64)> {
        words
            .map(|(word, probability)| (word.to_owned(), probability))
            .into()
    }

    #[test]
    fn a_word_is_put_together_of_several_tokens() {
        // `you` is one token or two, and `s` would go on with `see`.
        let next = words([("you", 0.525), ("yo", 0.1875), ("your", 0.15)]);
        assert_eq!(suggested("see ", 3), next);
        assert_eq!(suggested("see yo", 3), next);
        assert_eq!(suggested("see ", 1), words([("you", 0.525)]));
    }

    #[test]
    fn a_word_ends_only_when_all_that_was_typed_is_in_it() {
        assert_eq!(
            suggested("see you", 2),
            words([("you", 0.675), ("your", 0.25)])
        );
        assert_eq!(suggested("see your", 2), words([("your", 1.0)]));
        assert_eq!(suggested("see yox", 2), words([]));
        assert_eq!(suggested("see x", 2), words([]));
    }

    #[test]
    fn a_text_begins_with_a_space_or_without() {
        assert_eq!(suggested("se", 2), words([("see", 0.8), ("sees", 0.0889)]));
        assert_eq!(suggested("", 2), words([("see", 0.72), ("!", 0.1)]));
        // After a sign a space may be missing.
        assert_eq!(suggested("see!", 1)[0].0, "see");
    }
}
