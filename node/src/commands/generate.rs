//! `generate`: continues phrases, with suggestions for the next word.

use super::model_source::ModelSource;
use super::{MAX_WORDS, print_json};
use crate::generation::{Completion, complete};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: ModelSource,
    /// Phrases to continue, like "see you".
    #[arg(required = true, value_name = "PHRASE")]
    phrases: Vec<String>,
    /// How many suggestions to show.
    #[arg(long, default_value_t = 3)]
    suggestions: usize,
    /// The most words to continue by.
    #[arg(long, default_value_t = MAX_WORDS)]
    words: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (files, model, _) = arguments.source.open()?;
    let completions: Vec<Completion> = arguments
        .phrases
        .iter()
        .map(|phrase| {
            complete(
                &model,
                &files.vocabulary,
                phrase,
                arguments.words,
                arguments.suggestions,
            )
        })
        .collect();
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
