//! The most probable continuation as a whole, by beam search.

use super::predictor::{Predictor, answers, best};
use crate::vocabulary::{END, Token};

/// How a beam is kept. A value that exists is usable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beam {
    width: usize,
    alpha: f64,
}

/// Why there can be no such beam.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BeamError {
    /// None or too many continuations.
    #[error("{found} beams; there must be from 1 to {MAX_WIDTH}")]
    Width {
        /// How many.
        found: usize,
    },
    /// The length's penalty is out of its range.
    #[error(
        "the length penalty is {found}; it must be from 0 (none: short continuations win) to \
         {MAX_ALPHA}"
    )]
    Alpha {
        /// The penalty's exponent.
        found: f64,
    },
}

/// The most continuations that are kept at once.
pub const MAX_WIDTH: usize = 256;

/// The strongest preference for long continuations; useful values are below 1.
pub const MAX_ALPHA: f64 = 5.0;

/// A continuation as far as it is known.
#[derive(Debug)]
struct Hypothesis<S> {
    tokens: Vec<Token>,
    log_probability: f64,
    state: S,
}

impl Beam {
    /// Keeps the `width` most probable continuations of each length; the winner has the highest log P /
    /// lp with lp = (5 + length)^`alpha` / 6^`alpha` (Wu et al. 2016, "Google's neural machine
    /// translation system", section 7, equation 14; there is no source whose coverage could count).
    /// The length counts `<end>`, too.
    ///
    /// # Errors
    /// [`BeamError`] with the value that is out of its range.
    pub fn new(width: usize, alpha: f64) -> Result<Self, BeamError> {
        if !(1..=MAX_WIDTH).contains(&width) {
            return Err(BeamError::Width { found: width });
        }
        if !(0.0..=MAX_ALPHA).contains(&alpha) {
            return Err(BeamError::Alpha { found: alpha });
        }
        Ok(Self { width, alpha })
    }

    /// The best continuation of at most `max_words` words, without its `<end>`.
    pub(super) fn search<P: Predictor>(
        &self,
        predictor: &P,
        state: P::State,
        max_words: usize,
    ) -> Vec<Token> {
        let mut beam = vec![Hypothesis {
            tokens: Vec::new(),
            log_probability: 0.0,
            state,
        }];
        let mut finished: Option<(f64, Vec<Token>)> = None;
        for length in 1..=max_words {
            let expansions = self.expansions(predictor, &beam);
            let mut next = Vec::with_capacity(expansions.len());
            for (parent, token, log_probability) in expansions {
                let parent = &beam[parent];
                if token == END {
                    let score = log_probability / self.penalty(length);
                    if finished.as_ref().is_none_or(|(best, _)| score > *best) {
                        finished = Some((score, parent.tokens.clone()));
                    }
                    continue;
                }
                let mut tokens = parent.tokens.clone();
                tokens.push(token);
                let mut state = parent.state.clone();
                predictor.read(&mut state, token);
                next.push(Hypothesis {
                    tokens,
                    log_probability,
                    state,
                });
            }
            beam = next;
            // What is still open only loses probability, and at best gets the longest one's penalty.
            let longest = self.penalty(max_words);
            if let Some((best, _)) = &finished
                && beam
                    .iter()
                    .all(|open| open.log_probability / longest <= *best)
            {
                break;
            }
        }
        // What was cut off counts with the words that it has.
        for open in beam {
            let score = open.log_probability / self.penalty(open.tokens.len());
            if open.tokens.len() == max_words
                && finished.as_ref().is_none_or(|(best, _)| score > *best)
            {
                finished = Some((score, open.tokens));
            }
        }
        finished.map(|(_, tokens)| tokens).unwrap_or_default()
    }

    /// The `width` most probable next words over all open continuations: whose, which, and the
    /// log-probability with it.
    fn expansions<P: Predictor>(
        &self,
        predictor: &P,
        beam: &[Hypothesis<P::State>],
    ) -> Vec<(usize, Token, f64)> {
        let mut expansions = Vec::with_capacity(beam.len() * self.width);
        for (parent, open) in beam.iter().enumerate() {
            let answers = answers(predictor, &open.state);
            expansions.extend(
                best(answers, self.width)
                    .into_iter()
                    .map(|(token, logarithm)| (parent, token, open.log_probability + logarithm)),
            );
        }
        // Stable: among equals the continuation that was better so far.
        expansions.sort_by(|(.., left), (.., right)| right.total_cmp(left));
        expansions.truncate(self.width);
        expansions
    }

    fn penalty(&self, length: usize) -> f64 {
        ((5.0 + length as f64) / 6.0).powf(self.alpha)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Table;
    use super::*;

    /// Every continuation with its log-probability, by trying all.
    fn all(table: &Table, max_words: usize) -> Vec<(Vec<Token>, f64, usize)> {
        let mut found = Vec::new();
        let mut open = vec![(Vec::new(), 0.0)];
        for length in 1..=max_words {
            let mut next = Vec::new();
            for (tokens, log_probability) in open {
                for (token, logarithm) in answers(table, &table.after(&tokens)) {
                    let log_probability = log_probability + logarithm;
                    if token == END {
                        found.push((tokens.clone(), log_probability, length));
                    } else {
                        let mut tokens = tokens.clone();
                        tokens.push(token);
                        next.push((tokens, log_probability));
                    }
                }
            }
            open = next;
        }
        found.extend(
            open.into_iter()
                .map(|(tokens, log_probability)| (tokens, log_probability, max_words)),
        );
        found
    }

    #[test]
    fn a_wide_beam_finds_what_trying_all_finds() {
        let table = Table::of_words();
        for alpha in [0.0, 0.6, 1.0, 5.0] {
            let score = |log_probability: f64, length: usize| {
                log_probability / ((5.0 + length as f64).powf(alpha) / 6_f64.powf(alpha))
            };
            let (expected, ..) = all(&table, 4)
                .into_iter()
                .max_by(|(_, left, left_length), (_, right, right_length)| {
                    score(*left, *left_length).total_cmp(&score(*right, *right_length))
                })
                .unwrap();
            let found = Beam::new(MAX_WIDTH, alpha)
                .unwrap()
                .search(&table, table.begin(), 4);
            assert_eq!(found, expected, "α = {alpha}");
        }
    }

    #[test]
    fn two_beams_beat_the_greedy_choice_where_it_errs() {
        // The most probable first word, 4, leads to many improbable ones; 5 to one sure one.
        let table = Table::of_words();
        let search = |width, alpha| {
            Beam::new(width, alpha)
                .unwrap()
                .search(&table, table.begin(), 4)
        };
        assert_eq!(search(1, 0.0)[0], 4);
        assert_eq!(search(2, 0.0), [5, 6]);
    }

    #[test]
    fn the_penalty_prefers_long_continuations() {
        let table = Table::of_words();
        let length = |alpha| {
            let beam = Beam::new(8, alpha).unwrap();
            beam.search(&table, table.begin(), 6).len()
        };
        assert!(length(5.0) > length(0.0), "{} {}", length(5.0), length(0.0));
    }

    #[test]
    fn bad_values_are_named() {
        assert_eq!(Beam::new(0, 0.6), Err(BeamError::Width { found: 0 }));
        assert_eq!(Beam::new(257, 0.6), Err(BeamError::Width { found: 257 }));
        assert_eq!(Beam::new(4, -0.1), Err(BeamError::Alpha { found: -0.1 }));
        assert!(matches!(
            Beam::new(4, f64::NAN),
            Err(BeamError::Alpha { .. })
        ));
    }
}
