//! Suggestions while somebody types.

use super::predictor::{Predictor, best, normalised};
use super::{Suggestion, subwords, suggestions};
use crate::vocabulary::{END, Token, Vocabulary};

/// Suggests words for a text that grows: the next word, or the end of the word that was begun.
///
/// What the network knows after the finished words is kept, so that a keystroke within a word costs
/// only a look at the vocabulary, and a finished word costs one step of the network.
#[derive(Debug)]
pub struct Keyboard<'a, P: Predictor> {
    predictor: &'a P,
    vocabulary: &'a Vocabulary,
    /// All words that can be suggested, in alphabetical order.
    alphabetical: Vec<Token>,
    read: Vec<Token>,
    state: P::State,
    /// The log-probabilities after `read`, once they were asked for.
    scores: Option<Vec<f32>>,
}

impl<'a, P: Predictor> Keyboard<'a, P> {
    /// A keyboard with nothing typed.
    #[must_use]
    pub fn new(predictor: &'a P, vocabulary: &'a Vocabulary) -> Self {
        let words = u32::try_from(vocabulary.len()).unwrap_or(Token::MAX);
        let mut alphabetical: Vec<Token> = (END + 1..words).collect();
        alphabetical.sort_unstable_by_key(|&token| vocabulary.word(token));
        Self {
            predictor,
            vocabulary,
            alphabetical,
            read: Vec::new(),
            state: predictor.begin(),
            scores: None,
        }
    }

    /// The `count` most probable words for this text, best first.
    ///
    /// After a space or a sign it is the next word. A text that ends in a letter, digit or apostrophe
    /// ends in a word that was begun, and only words that begin like that are suggested, this one
    /// itself among them. Probabilities are among the words that can stand there. `<end>` is no
    /// suggestion. Where the vocabulary has characters, the next one is suggested. With a tokenizer they
    /// are whole words too, put together of as many tokens as a word takes: that costs a few steps of the
    /// network for each keystroke.
    pub fn suggest(&mut self, typed: &str, count: usize) -> Vec<Suggestion> {
        let typed = self.vocabulary.typed(typed);
        self.read_to(&typed.finished);
        if let Some(pieces) = self.vocabulary.pieces() {
            return subwords::suggest(self.predictor, &self.state, pieces, &typed, count);
        }
        let fitting = self.beginning_with(&typed.begun);
        let scores = self
            .scores
            .get_or_insert_with(|| self.predictor.log_probabilities(&self.state));
        let score = |&token: &Token| {
            let score = scores.get(token as usize)?;
            Some((token, f64::from(*score)))
        };
        let fitting = self.alphabetical[fitting].iter().filter_map(score);
        let best = best(normalised(fitting.collect()), count);
        suggestions(self.vocabulary, best)
    }

    /// Brings the state to these words, by the fewest steps.
    fn read_to(&mut self, tokens: &[Token]) {
        if self.read == tokens {
            return;
        }
        if !tokens.starts_with(&self.read) {
            self.read.clear();
            self.state = self.predictor.begin();
        }
        for &token in &tokens[self.read.len()..] {
            self.predictor.read(&mut self.state, token);
            self.read.push(token);
        }
        self.scores = None;
    }

    /// Where the words stand in alphabetical order that begin like this.
    fn beginning_with(&self, begun: &str) -> std::ops::Range<usize> {
        let word = |&token: &Token| self.vocabulary.word(token).unwrap_or_default();
        let start = self
            .alphabetical
            .partition_point(|token| word(token) < begun);
        let count =
            self.alphabetical[start..].partition_point(|token| word(token).starts_with(begun));
        start..start + count
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Table;
    use super::*;
    use std::cell::Cell;

    /// Counts the words that are read and the predictions that are made.
    #[derive(Debug)]
    struct Counted {
        table: Table,
        read: Cell<u32>,
        predicted: Cell<u32>,
    }

    impl Counted {
        fn counts(&self) -> (u32, u32) {
            (self.read.get(), self.predicted.get())
        }
    }

    impl Predictor for Counted {
        type State = Token;

        fn begin(&self) -> Token {
            self.table.begin()
        }

        fn read(&self, state: &mut Token, token: Token) {
            self.read.set(self.read.get() + 1);
            self.table.read(state, token);
        }

        fn log_probabilities(&self, state: &Token) -> Vec<f32> {
            self.predicted.set(self.predicted.get() + 1);
            self.table.log_probabilities(state)
        }
    }

    fn vocabulary() -> Vocabulary {
        Vocabulary::parse("<pad>\n<unk>\n<begin>\n<end>\nyou\nsee\nyour\n").unwrap()
    }

    fn words(suggestions: &[Suggestion]) -> Vec<&str> {
        let words = suggestions
            .iter()
            .map(|suggestion| suggestion.word.as_str());
        words.collect()
    }

    #[test]
    fn a_begun_word_is_completed_and_a_finished_one_is_followed() {
        let (table, vocabulary) = (Table::of_words(), vocabulary());
        let mut keyboard = Keyboard::new(&table, &vocabulary);
        // After 5, `see`: 6, `your`, with 0.9, then `you` 0.04, `see` 0.03.
        let completed = keyboard.suggest("See yo", 3);
        assert_eq!(words(&completed), ["your", "you"]);
        let [your, you] = [0.9, 0.04].map(|p: f64| p / 0.94);
        assert!((completed[0].probability - your).abs() < 1e-6);
        assert!((completed[1].probability - you).abs() < 1e-6);
        assert_eq!(words(&keyboard.suggest("see your", 3)), ["your"]);
        assert_eq!(words(&keyboard.suggest("see ", 3)), ["your", "you", "see"]);
        assert_eq!(words(&keyboard.suggest("see ", 1)), ["your"]);
        assert!(keyboard.suggest("see x", 3).is_empty());
        // Nothing typed: the first word of a message.
        assert_eq!(words(&keyboard.suggest("", 2)), ["you", "see"]);
    }

    #[test]
    fn a_keystroke_costs_the_network_nothing_and_a_word_one_step() {
        let (table, vocabulary) = (Table::of_words(), vocabulary());
        let counted = Counted {
            table,
            read: Cell::default(),
            predicted: Cell::default(),
        };
        let mut keyboard = Keyboard::new(&counted, &vocabulary);
        for typed in ["s", "se", "see"] {
            keyboard.suggest(typed, 3);
            assert_eq!(counted.counts(), (0, 1), "{typed}");
        }
        for typed in ["see ", "see y", "see yo"] {
            keyboard.suggest(typed, 3);
            assert_eq!(counted.counts(), (1, 2), "{typed}");
        }
        let growing = keyboard.suggest("see you, ", 3);
        assert_eq!(counted.counts(), (3, 3));
        // Another text begins again, and gives what a new keyboard gives.
        keyboard.suggest("you ", 3);
        assert_eq!(counted.counts(), (4, 4));
        assert_eq!(
            Keyboard::new(&counted, &vocabulary).suggest("see you, ", 3),
            growing
        );
    }
}
