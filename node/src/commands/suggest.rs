//! `suggest`: what a keyboard would show under a text that is being typed.

use std::time::Instant;

use anyhow::{Context, bail};
use serde::Serialize;

use super::model_source::{ModelSource, Weighted};
use super::print_json;
use crate::examples::Examples;
use crate::generation::{Keyboard, Predictor, Suggestion};
use crate::model::ModelFiles;
use crate::personal::{Personal, Personalised};
use crate::store::Store;
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
    /// Mix in what the node's own training text says.
    #[arg(long, requires = "dir")]
    personal: bool,
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
    let personal = if arguments.personal {
        personal(arguments, &files)?
    } else {
        Personal::default()
    };
    let suggested = match &weighted {
        Weighted::F32(model, _) => suggest(arguments, &**model, &personal, &files.vocabulary),
        Weighted::Int8(model, _) => suggest(arguments, &**model, &personal, &files.vocabulary),
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

/// What the node's own training text says.
fn personal(arguments: &Arguments, files: &ModelFiles) -> anyhow::Result<Personal> {
    let (_, weighted, path) = arguments.source.open_language_model(false)?;
    let Weighted::F32(model, _) = &weighted else {
        bail!(
            "{} holds weights of 8 bits, and how much of the own text to mix in is found with those of \
             f32: give such weights with --weights, and --int8 to round them",
            path.display()
        );
    };
    let directory = arguments.source.dir.as_deref();
    let stored = Store::open(directory.context("no text: give the node's --dir")?)?.load()?;
    let lines = stored.training.iter().map(|line| line.as_str());
    let most = files.vocabulary.tokenization().usual_most();
    let training = Examples::new(files, lines, most).context("the node's messages")?;
    Ok(Personal::new(model, &training))
}

fn suggest(
    arguments: &Arguments,
    predictor: &impl Predictor,
    personal: &Personal,
    vocabulary: &Vocabulary,
) -> Vec<Suggested> {
    let predictor = Personalised::new(predictor, personal);
    let mut keyboard = Keyboard::new(&predictor, vocabulary);
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
