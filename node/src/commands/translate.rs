//! `translate`: turns texts into others.

use anyhow::bail;

use super::model_source::{ModelSource, Weighted};
use super::print_json;
use crate::generation::{Beam, Decoding, translate};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: ModelSource,
    /// Texts to turn into others, like "342".
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
    /// The most words to write, or characters where the model is one of characters [default: what the
    /// model's context has room for, which is the most].
    #[arg(long, value_name = "N")]
    words: Option<usize>,
    /// Search the most probable text as a whole, with so many at a time. Without it, always the most
    /// probable word is taken.
    #[arg(long, value_name = "N")]
    beams: Option<usize>,
    /// How much the search prefers long texts; 0: not at all.
    #[arg(
        long,
        value_name = "ALPHA",
        requires = "beams",
        default_value_t = super::generate::LENGTH_PENALTY,
        allow_negative_numbers = true
    )]
    length_penalty: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut decoding = match arguments.beams {
        Some(width) => Decoding::Beam(Beam::new(width, arguments.length_penalty)?),
        None => Decoding::Greedy,
    };
    let (files, weighted, path) = arguments.source.open_as(false)?;
    let Weighted::F32(model, _) = weighted else {
        bail!(
            "{} holds weights of 8 bits, and those are for models that predict the next word; give \
             others with --weights",
            path.display()
        );
    };
    let words = arguments.words.unwrap_or(usize::MAX);
    let mut translations = Vec::with_capacity(arguments.texts.len());
    for text in &arguments.texts {
        let translation = translate(&model, &files.vocabulary, text, &mut decoding, words)?;
        translations.push(translation);
    }
    if arguments.json {
        return print_json(&translations);
    }
    for translation in translations {
        println!("{} → {}", translation.source, translation.target);
    }
    Ok(())
}
