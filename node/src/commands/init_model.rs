//! `init-model`: a description, a vocabulary and initial weights, from public text.

use std::path::PathBuf;

use anyhow::{Context, ensure};

use crate::model::{DESCRIPTION_FILE, ModelDescription, ModelFiles, ModelKind, Sizes, Weights};
use crate::text::{self, Format};
use crate::vocabulary::Vocabulary;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Public text for the vocabulary: files or folders.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    vocabulary_from: Vec<PathBuf>,
    /// The folder to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The most words of the vocabulary, the four special ones included.
    #[arg(long, default_value_t = 5000)]
    vocabulary_size: usize,
    /// Elements of a word's vector, and of the recurrent projection.
    #[arg(long, default_value_t = 96)]
    embedding: u32,
    /// Units of the cell, or of a layer.
    #[arg(long, default_value_t = 256)]
    units: u32,
    /// What kind of network.
    #[arg(long, value_enum, default_value_t = ModelKind::CifgLstm)]
    kind: ModelKind,
    /// Layers of a tanh RNN, 1 to 8 [default: 1].
    #[arg(long)]
    layers: Option<u32>,
    /// Whether each word has a bias at the output.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "true|false")]
    output_bias: bool,
    /// Fixes the initial weights.
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// How messages lie in the files.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Replace a model that is there already.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    ensure!(
        arguments.force || !arguments.out.join(DESCRIPTION_FILE).exists(),
        "{} already holds a model; take another folder, or replace it with --force",
        arguments.out.display()
    );
    let mut messages = Vec::new();
    for path in &arguments.vocabulary_from {
        messages.append(&mut text::read(path, arguments.format, None)?);
    }
    let words = messages.iter().map(|message| message.text.as_str());
    let vocabulary = Vocabulary::from_text(words, arguments.vocabulary_size)?;
    let sizes = Sizes {
        vocabulary: u32::try_from(vocabulary.len()).context("the vocabulary is too large")?,
        embedding: arguments.embedding,
        units: arguments.units,
        output_bias: arguments.output_bias,
    };
    let (kind, layers) = (arguments.kind, arguments.layers);
    let description = ModelDescription::recurrent(kind, sizes, layers, arguments.seed)?;
    let initial = Weights::initial(&description);
    let files = ModelFiles::new(description, vocabulary)?;
    files.write(&arguments.out, &initial)?;
    println!(
        "{}: {} words from {} messages, {} parameters",
        arguments.out.display(),
        sizes.vocabulary,
        messages.len(),
        files.description.parameters()
    );
    Ok(())
}
