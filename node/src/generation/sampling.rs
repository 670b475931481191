//! Drawing the next word at random: temperature and the nucleus.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;

use super::predictor::{best, normalised};
use crate::vocabulary::Token;

/// How a word is drawn. A value that exists is usable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    temperature: f64,
    top_p: f64,
}

/// Why words cannot be drawn like that.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplingError {
    /// The temperature is not positive, or too large to tell words apart.
    #[error(
        "the temperature is {found}; it must be above 0 and at most {MAX_TEMPERATURE} (for always \
         the most probable word, leave it out)"
    )]
    Temperature {
        /// The temperature.
        found: f64,
    },
    /// The nucleus holds no share of the probability that there can be.
    #[error("the nucleus (top-p) is {found}; it must be above 0 and at most 1")]
    TopP {
        /// The share.
        found: f64,
    },
}

/// Beyond it all words are drawn alike.
pub const MAX_TEMPERATURE: f64 = 100.0;

impl Sampling {
    /// Probabilities are raised to the power of 1 / `temperature`: below 1 the probable words are
    /// drawn more often than they should, above 1 the improbable ones. Then only the nucleus is kept
    /// (Holtzman et al. 2020, "The curious case of neural text degeneration", section 3.1): the fewest
    /// words whose probabilities add up to at least `top_p`.
    ///
    /// # Errors
    /// [`SamplingError`] with the value that is out of its range.
    pub fn new(temperature: f64, top_p: f64) -> Result<Self, SamplingError> {
        if !(temperature > 0.0 && temperature <= MAX_TEMPERATURE) {
            return Err(SamplingError::Temperature { found: temperature });
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(SamplingError::TopP { found: top_p });
        }
        Ok(Self { temperature, top_p })
    }

    /// Draws one of the answers; `None` where there are none.
    pub(super) fn draw(&self, answers: Vec<(Token, f64)>, rng: &mut ChaCha20Rng) -> Option<Token> {
        let nucleus = self.nucleus(answers);
        let sum: f64 = nucleus.iter().map(|(_, probability)| probability).sum();
        let mut left = unit(rng) * sum;
        for &(token, probability) in &nucleus {
            if left < probability {
                return Some(token);
            }
            left -= probability;
        }
        // Rounding may leave a little of the sum.
        nucleus.last().map(|&(token, _)| token)
    }

    /// The words that can be drawn with their probabilities, best first.
    fn nucleus(&self, mut answers: Vec<(Token, f64)>) -> Vec<(Token, f64)> {
        for (_, logarithm) in &mut answers {
            *logarithm /= self.temperature;
        }
        let answers = normalised(answers);
        let count = answers.len();
        let mut nucleus = best(answers, count);
        let mut sum = 0.0;
        let mut kept = 0;
        for (_, logarithm) in &mut nucleus {
            let probability = logarithm.exp();
            *logarithm = probability;
            if sum < self.top_p {
                kept += 1;
            }
            sum += probability;
        }
        nucleus.truncate(kept);
        nucleus
    }
}

/// Uniform in [0, 1), from 53 random bits.
fn unit(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    /// Words 3 to 6 with these probabilities.
    fn answers() -> Vec<(Token, f64)> {
        [(3, 0.1), (4, 0.5), (5, 0.3), (6, 0.1)]
            .map(|(token, probability): (Token, f64)| (token, probability.ln()))
            .to_vec()
    }

    fn frequencies(sampling: Sampling) -> [f64; 4] {
        const DRAWS: u32 = 20_000;
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let mut counts = [0_u32; 4];
        for _ in 0..DRAWS {
            let token = sampling.draw(answers(), &mut rng).unwrap();
            counts[token as usize - 3] += 1;
        }
        counts.map(|count| f64::from(count) / f64::from(DRAWS))
    }

    fn assert_near(found: [f64; 4], expected: [f64; 4]) {
        for (found, expected) in found.into_iter().zip(expected) {
            // Four standard deviations are 0.014.
            assert!((found - expected).abs() < 0.015, "{found} {expected}");
        }
    }

    #[test]
    fn words_are_drawn_as_often_as_they_are_probable() {
        let plain = Sampling::new(1.0, 1.0).unwrap();
        assert_near(frequencies(plain), [0.1, 0.5, 0.3, 0.1]);
    }

    #[test]
    fn a_low_temperature_favours_the_probable_and_a_high_one_the_others() {
        // p² of each, divided by the sum, 0.36.
        let cold = frequencies(Sampling::new(0.5, 1.0).unwrap());
        assert_near(cold, [0.01, 0.25, 0.09, 0.01].map(|p| p / 0.36));
        let hot = frequencies(Sampling::new(100.0, 1.0).unwrap());
        assert_near(hot, [0.25; 4]);
    }

    #[test]
    fn only_the_nucleus_is_drawn() {
        // 0.5 is not enough for 0.6, 0.5 + 0.3 is.
        let nucleus = Sampling::new(1.0, 0.6).unwrap();
        assert_near(frequencies(nucleus), [0.0, 0.625, 0.375, 0.0]);
        let tokens = |top_p: f64| -> Vec<Token> {
            let nucleus = Sampling::new(1.0, top_p).unwrap().nucleus(answers());
            nucleus.into_iter().map(|(token, _)| token).collect()
        };
        assert_eq!(tokens(1e-9), [4]);
        assert_eq!(tokens(0.79), [4, 5]);
        // Among equals the more frequent word of the vocabulary comes first.
        assert_eq!(tokens(0.85), [4, 5, 3]);
        assert_eq!(tokens(1.0), [4, 5, 3, 6]);
    }

    #[test]
    fn bad_values_are_named() {
        for found in [0.0, -1.0, 100.5, f64::INFINITY] {
            let error = Sampling::new(found, 1.0);
            assert_eq!(error, Err(SamplingError::Temperature { found }));
        }
        for found in [0.0, -0.5, 1.01] {
            let error = Sampling::new(1.0, found);
            assert_eq!(error, Err(SamplingError::TopP { found }));
        }
        assert!(matches!(
            Sampling::new(f64::NAN, 1.0),
            Err(SamplingError::Temperature { .. })
        ));
        assert!(matches!(
            Sampling::new(1.0, f64::NAN),
            Err(SamplingError::TopP { .. })
        ));
        assert_eq!(
            Sampling::new(1.0, 1.0)
                .unwrap()
                .draw(Vec::new(), &mut ChaCha20Rng::seed_from_u64(1)),
            None
        );
    }
}
