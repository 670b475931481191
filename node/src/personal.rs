//! Personalisation: the global model's predictions, interpolated with what this node's own text says.
//!
//! The personal part is a bigram model of the training text, smoothed towards its own words (Witten and
//! Bell, "The zero-frequency problem", IEEE Transactions on Information Theory 37(4), 1991). It is mixed
//! with the global model by a linear interpolation (Jelinek and Mercer, "Interpolated estimation of
//! Markov source parameters from sparse data", 1980): the probability of a word is
//! (1 − λ)·global + λ·personal. λ is found by expectation-maximisation on the training text itself,
//! where each word is predicted from counts without it (leaving one out), so that a person whose text says
//! little gets a small one.
//!
//! Nothing of it leaves the node, and nothing of it is stored: it is counted anew from the text.

use std::collections::HashMap;

use tch::Kind;

use crate::evaluation::{in_batches, values};
use crate::examples::Examples;
use crate::generation::Predictor;
use crate::model::Model;
use crate::vocabulary::{BEGIN, Token, TokenizedText};

/// What one person writes, and how much of it is mixed into predictions. By default it is nothing.
#[derive(Default)]
pub struct Personal {
    words: Counts,
    /// By the word before.
    after: HashMap<Token, Counts>,
    share: f64,
}

impl std::fmt::Debug for Personal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The counts are private: a log must not hold them.
        write!(formatter, "Personal(share {:.3})", self.share)
    }
}

/// How often each word comes.
#[derive(Default)]
struct Counts {
    of: HashMap<Token, u32>,
    total: u32,
}

impl Counts {
    fn add(&mut self, word: Token) {
        *self.of.entry(word).or_default() += 1;
        self.total += 1;
    }

    fn of(&self, word: Token) -> u32 {
        self.of.get(&word).copied().unwrap_or(0)
    }
}

/// Words of the training text, at most, from which λ is found: a prediction of the global model each.
const MOST_PREDICTED: usize = 4096;
const ITERATIONS: usize = 30;

impl Personal {
    /// Counts a node's training text, and finds how much of it to mix into this model's predictions:
    /// nothing where there is no text.
    ///
    /// # Panics
    /// When the examples are of another task than the model's.
    #[must_use]
    pub fn new(model: &Model, examples: &Examples) -> Self {
        let Some(text) = examples.text() else {
            return Self::default();
        };
        let mut personal = Self::counted(text);
        let both = personal.both(model, examples);
        if !both.is_empty() {
            personal.share = share(&both);
        }
        personal
    }

    /// The share λ of the personal part, from 0 to 1.
    #[must_use]
    pub const fn share(&self) -> f64 {
        self.share
    }

    fn counted(text: &TokenizedText) -> Self {
        let mut words = Counts::default();
        let mut after: HashMap<Token, Counts> = HashMap::new();
        for message in 0..text.len() {
            for pair in text.message(message).windows(2) {
                words.add(pair[1]);
                after.entry(pair[0]).or_default().add(pair[1]);
            }
        }
        Self {
            words,
            after,
            share: 0.0,
        }
    }

    /// Turns the global model's probabilities of all words after `before` into those of both together.
    pub(crate) fn mix(&self, before: Token, probabilities: &mut [f32]) {
        #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]
        let [share, rest] = [self.share, 1.0 - self.share].map(|share| share as f32);
        if share == 0.0 || self.words.total == 0 {
            return;
        }
        for probability in &mut *probabilities {
            *probability *= rest;
        }
        let (direct, smoothed) = match self.after.get(&before) {
            Some(after) => {
                let kinds = after.of.len() as f32;
                let all = after.total as f32 + kinds;
                for (&word, &count) in &after.of {
                    probabilities[word as usize] += share * count as f32 / all;
                }
                (share, kinds / all)
            }
            None => (share, 1.0),
        };
        let each = direct * smoothed / self.words.total as f32;
        for (&word, &count) in &self.words.of {
            probabilities[word as usize] += each * count as f32;
        }
    }

    /// The personal probability of a word of the training text, from counts without this one time.
    fn left_out(&self, before: Token, word: Token) -> f64 {
        let without = |counts: &Counts| {
            let count = counts.of(word);
            let kinds = counts.of.len() - usize::from(count == 1);
            let [count, total] = [count, counts.total].map(|n| f64::from(n.saturating_sub(1)));
            (count, total, kinds as f64)
        };
        let (count, total, _) = without(&self.words);
        let word_alone = if total > 0.0 { count / total } else { 0.0 };
        match self.after.get(&before).map(without) {
            Some((count, total, kinds)) if total + kinds > 0.0 => {
                (count + kinds * word_alone) / (total + kinds)
            }
            _ => word_alone,
        }
    }

    /// The global and the personal probability of words all over the text.
    fn both(&self, model: &Model, examples: &Examples) -> Vec<[f64; 2]> {
        let every = examples.all_targets().div_ceil(MOST_PREDICTED).max(1);
        let messages: Vec<usize> = (0..examples.len()).step_by(every).collect();
        let mut both = Vec::new();
        in_batches(model, examples, &messages, |batch| {
            let scores = tch::no_grad(|| model.logits(batch).log_softmax(-1, Kind::Float));
            let targets = batch.targets();
            let right = scores.gather(1, &targets.unsqueeze(1), false);
            let before = batch.tokens().map(values::<i64>).unwrap_or_default();
            let words = before.into_iter().zip(values::<i64>(targets));
            for ((before, word), score) in words.zip(values::<f32>(&right)) {
                let [before, word] = [before, word].map(|token| {
                    Token::try_from(token).unwrap_or(BEGIN) // They were tokens before.
                });
                both.push([f64::from(score).exp(), self.left_out(before, word)]);
            }
        });
        both
    }
}

/// A language model whose predictions are interpolated with a personal part.
#[derive(Debug)]
pub struct Personalised<'a, P> {
    predictor: &'a P,
    personal: &'a Personal,
}

impl<'a, P: Predictor> Personalised<'a, P> {
    /// Both together.
    #[must_use]
    pub const fn new(predictor: &'a P, personal: &'a Personal) -> Self {
        Self {
            predictor,
            personal,
        }
    }
}

impl<P: Predictor> Predictor for Personalised<'_, P> {
    /// That of the global model, and the last word.
    type State = (P::State, Token);

    fn begin(&self) -> Self::State {
        (self.predictor.begin(), BEGIN)
    }

    fn read(&self, state: &mut Self::State, token: Token) {
        self.predictor.read(&mut state.0, token);
        state.1 = token;
    }

    fn log_probabilities(&self, state: &Self::State) -> Vec<f32> {
        let mut probabilities = self.predictor.log_probabilities(&state.0);
        for value in &mut probabilities {
            *value = value.exp();
        }
        self.personal.mix(state.1, &mut probabilities);
        for value in &mut probabilities {
            *value = value.ln();
        }
        probabilities
    }
}

/// The λ that makes these words most probable.
fn share(both: &[[f64; 2]]) -> f64 {
    let mut share = 0.5;
    for _ in 0..ITERATIONS {
        let claimed = both.iter().map(|[global, personal]| {
            let personal = share * personal;
            let sum = personal + (1.0 - share) * global;
            if sum > 0.0 { personal / sum } else { 0.0 }
        });
        share = claimed.sum::<f64>() / both.len() as f64;
    }
    share
}

#[cfg(test)]
mod tests;
