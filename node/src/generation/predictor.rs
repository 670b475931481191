//! What predicts next words, one word at a time.

use crate::model::Model;
use crate::vocabulary::{BEGIN, FIRST_ANSWER, Token};

/// Predicts the next word after the words that it has read.
pub trait Predictor {
    /// What it remembers of the words read so far.
    type State: Clone + std::fmt::Debug;

    /// The state after `<begin>`, before any word.
    fn begin(&self) -> Self::State;

    /// Reads one more word.
    fn read(&self, state: &mut Self::State, token: Token);

    /// The natural logarithms of the next word's probabilities, for every word of the vocabulary.
    fn log_probabilities(&self, state: &Self::State) -> Vec<f32>;

    /// The state after `<begin>` and these words.
    fn after(&self, tokens: &[Token]) -> Self::State {
        let mut state = self.begin();
        for &token in tokens {
            self.read(&mut state, token);
        }
        state
    }
}

/// libtorch's networks keep no state between calls: all words are read again for each prediction. A
/// model that classifies images panics.
impl Predictor for Model {
    type State = Vec<Token>;

    fn begin(&self) -> Vec<Token> {
        vec![BEGIN]
    }

    fn read(&self, state: &mut Vec<Token>, token: Token) {
        state.push(token);
    }

    fn log_probabilities(&self, state: &Vec<Token>) -> Vec<f32> {
        self.next_log_probabilities(state)
    }
}

/// The words that can be an answer, with their log-probabilities among each other: `<pad>`, `<unk>`
/// and `<begin>` are left out. In the vocabulary's order.
pub(super) fn answers<P: Predictor>(predictor: &P, state: &P::State) -> Vec<(Token, f64)> {
    let answers: Vec<(Token, f64)> = (0..)
        .zip(predictor.log_probabilities(state))
        .filter(|(token, _)| *token >= FIRST_ANSWER)
        .map(|(token, logarithm)| (token, f64::from(logarithm)))
        .collect();
    normalised(answers)
}

/// The same log-probabilities up to a constant, so that the probabilities' sum is 1.
pub(super) fn normalised(mut answers: Vec<(Token, f64)>) -> Vec<(Token, f64)> {
    let largest = answers
        .iter()
        .map(|&(_, logarithm)| logarithm)
        .fold(f64::NEG_INFINITY, f64::max);
    // Without answers, or only impossible ones, there is nothing to share out.
    if !largest.is_finite() {
        return Vec::new();
    }
    let sum: f64 = answers
        .iter()
        .map(|&(_, logarithm)| (logarithm - largest).exp())
        .sum();
    let shift = largest + sum.ln();
    for (_, logarithm) in &mut answers {
        *logarithm -= shift;
    }
    answers
}

/// The `count` best answers, best first; among equals the more frequent word of the vocabulary.
pub(super) fn best(mut answers: Vec<(Token, f64)>, count: usize) -> Vec<(Token, f64)> {
    let order = |(left, left_p): &(Token, f64), (right, right_p): &(Token, f64)| {
        right_p.total_cmp(left_p).then_with(|| left.cmp(right))
    };
    if count < answers.len() {
        answers.select_nth_unstable_by(count, order);
        answers.truncate(count);
    }
    answers.sort_unstable_by(order);
    answers
}
