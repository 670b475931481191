//! `generate`: continues phrases, with suggestions for the next word.

use anyhow::Context;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::model_source::{ModelSource, Weighted};
use super::print_json;
use crate::generation::{Beam, Completion, Decoding, Predictor, Sampling, complete};
use crate::vocabulary::Vocabulary;

#[derive(Debug, clap::Args)]
#[command(group(
    clap::ArgGroup::new("drawn").args(["temperature", "top_p"]).multiple(true)
))]
pub(super) struct Arguments {
    #[command(flatten)]
    source: ModelSource,
    /// Phrases to continue, like "see you".
    #[arg(required = true, value_name = "PHRASE")]
    phrases: Vec<String>,
    /// How many suggestions to show.
    #[arg(long, default_value_t = 3)]
    suggestions: usize,
    /// The most words to continue by, or characters or a tokenizer's tokens where the model is one of those
    /// [default: 29 words, 160 characters or 48 tokens].
    #[arg(long, value_name = "N")]
    words: Option<usize>,
    /// Draw words at random: below 1 more of the probable ones, above 1 more of the others. Without it,
    /// --top-p and --beams, always the most probable word is taken.
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Draw words at random, out of the fewest that have this share of the probability.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Draw the same words in each call with the same number.
    #[arg(long, value_name = "N", requires = "drawn")]
    seed: Option<u64>,
    /// Search the most probable continuation as a whole, with so many at a time.
    #[arg(long, value_name = "N", conflicts_with = "drawn")]
    beams: Option<usize>,
    /// How much the search prefers long continuations, 0.6 if not given; 0: not at all.
    #[arg(
        long,
        value_name = "ALPHA",
        requires = "beams",
        allow_negative_numbers = true
    )]
    length_penalty: Option<f64>,
    /// Round the weights to 8 bits, unless they are already.
    #[arg(long)]
    int8: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The length penalty without one: in the range that Wu et al. 2016 found best.
pub(super) const LENGTH_PENALTY: f64 = 0.6;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let decoding = arguments.decoding()?;
    let (files, weighted, _) = arguments.source.open_language_model(arguments.int8)?;
    let completions = match &weighted {
        Weighted::F32(model, _) => arguments.complete(&**model, &files.vocabulary, decoding),
        Weighted::Int8(model, _) => arguments.complete(&**model, &files.vocabulary, decoding),
    };
    if arguments.json {
        return print_json(&completions);
    }
    for completion in completions {
        println!("{} … {}", completion.phrase, completion.continuation);
        for suggestion in completion.suggestions {
            println!(
                "  {:5.1} %  {}",
                100.0 * suggestion.probability,
                suggestion.word
            );
        }
    }
    Ok(())
}

impl Arguments {
    fn complete(
        &self,
        predictor: &impl Predictor,
        vocabulary: &Vocabulary,
        mut decoding: Decoding,
    ) -> Vec<Completion> {
        let usual = vocabulary.tokenization().usual_most();
        let (words, top) = (self.words.unwrap_or(usual), self.suggestions);
        let phrases = self.phrases.iter();
        phrases
            .map(|phrase| complete(predictor, vocabulary, phrase, &mut decoding, words, top))
            .collect()
    }

    /// How words are chosen; the command line's parser has refused what contradicts itself.
    fn decoding(&self) -> anyhow::Result<Decoding> {
        if let Some(width) = self.beams {
            let alpha = self.length_penalty.unwrap_or(LENGTH_PENALTY);
            return Ok(Decoding::Beam(Beam::new(width, alpha)?));
        }
        if self.temperature.is_none() && self.top_p.is_none() {
            return Ok(Decoding::Greedy);
        }
        let sampling = Sampling::new(self.temperature.unwrap_or(1.0), self.top_p.unwrap_or(1.0))?;
        let rng = match self.seed {
            Some(seed) => ChaCha20Rng::seed_from_u64(seed),
            None => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).context("the system gave no randomness")?;
                ChaCha20Rng::from_seed(seed)
            }
        };
        Ok(Decoding::Sample(sampling, Box::new(rng)))
    }
}
