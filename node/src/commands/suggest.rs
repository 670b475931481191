//! `suggest`: what a keyboard would show under a text that is being typed.

use std::time::Instant;

use serde::Serialize;

use super::model_source::{ModelSource, Weighted};
use super::print_json;
use crate::generation::{Keyboard, Predictor, Suggestion};
use crate::vocabulary::Vocabulary;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: ModelSource,
    /// Texts as they are being typed: "see yo" asks for the end of a word, "see you " (with a space)
    /// for the next one. Each that continues the one before costs only what is new.
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
    /// How many suggestions to show.
    #[arg(long, default_value_t = 3)]
    suggestions: usize,
    /// Round the weights to 8 bits, unless they are already.
    #[arg(long)]
    int8: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Suggested {
    text: String,
    suggestions: Vec<Suggestion>,
    milliseconds: f64,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (files, weighted, _) = arguments.source.open_language_model(arguments.int8)?;
    let suggested = match &weighted {
        Weighted::F32(model, _) => suggest(arguments, &**model, &files.vocabulary),
        Weighted::Int8(model, _) => suggest(arguments, &**model, &files.vocabulary),
    };
    if arguments.json {
        return print_json(&suggested);
    }
    for one in suggested {
        println!("{:?}, {:.2} ms", one.text, one.milliseconds);
        for suggestion in one.suggestions {
            println!(
                "  {:5.1} %  {}",
                100.0 * suggestion.probability,
                suggestion.word
            );
        }
    }
    Ok(())
}

fn suggest(
    arguments: &Arguments,
    predictor: &impl Predictor,
    vocabulary: &Vocabulary,
) -> Vec<Suggested> {
    let mut keyboard = Keyboard::new(predictor, vocabulary);
    let suggested = arguments.texts.iter().map(|text| {
        let started = Instant::now();
        let suggestions = keyboard.suggest(text, arguments.suggestions);
        Suggested {
            text: text.clone(),
            suggestions,
            milliseconds: started.elapsed().as_secs_f64() * 1e3,
        }
    });
    suggested.collect()
}
