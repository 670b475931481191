//! `init-model`: a description, a vocabulary and initial weights, from public text.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};

use crate::model::{
    Architecture, DESCRIPTION_FILE, ModelDescription, ModelFiles, ModelKind, Sizes, StackSizes,
    TransformerSizes, Weights,
};
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
    /// Units of the cell, or of each layer [default: 256].
    #[arg(long)]
    units: Option<u32>,
    /// What kind of network.
    #[arg(long, value_enum, default_value_t = ModelKind::CifgLstm)]
    kind: ModelKind,
    /// Layers of a tanh RNN [default: 1] or blocks of a Transformer [default: 2].
    #[arg(long)]
    layers: Option<u32>,
    /// Heads of a Transformer's attention [default: 4].
    #[arg(long)]
    heads: Option<u32>,
    /// Units of a Transformer's feed-forward network [default: 4 times the embedding].
    #[arg(long)]
    feed_forward: Option<u32>,
    /// Tokens that a Transformer sees at once [default: 64].
    #[arg(long)]
    context: Option<u32>,
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
    let words = u32::try_from(vocabulary.len()).context("the vocabulary is too large")?;
    let architecture = arguments.architecture(words)?;
    let description = ModelDescription::new(architecture, arguments.seed)?;
    let initial = Weights::initial(&description);
    let files = ModelFiles::new(description, vocabulary)?;
    files.write(&arguments.out, &initial)?;
    println!(
        "{}: {} words from {} messages, {} parameters",
        arguments.out.display(),
        words,
        messages.len(),
        files.description.parameters()
    );
    Ok(())
}

impl Arguments {
    /// The architecture with so many words.
    fn architecture(&self, vocabulary: u32) -> anyhow::Result<Architecture> {
        let (embedding, output_bias) = (self.embedding, self.output_bias);
        let units = self.units.unwrap_or(256);
        let cell = Sizes {
            vocabulary,
            embedding,
            units,
            output_bias,
        };
        let (architecture, foreign) = match self.kind {
            ModelKind::CifgLstm => (Architecture::CifgLstm(cell), self.of_stacks()),
            ModelKind::Lstm => (Architecture::Lstm(cell), self.of_stacks()),
            ModelKind::Gru => (Architecture::Gru(cell), self.of_stacks()),
            ModelKind::TanhRnn => {
                let sizes = StackSizes {
                    vocabulary,
                    embedding,
                    units,
                    layers: self.layers.unwrap_or(1),
                    output_bias,
                };
                (Architecture::TanhRnn(sizes), self.of_transformers())
            }
            ModelKind::Transformer => {
                let sizes = TransformerSizes {
                    vocabulary,
                    embedding,
                    layers: self.layers.unwrap_or(2),
                    heads: self.heads.unwrap_or(4),
                    feed_forward: self.feed_forward.unwrap_or(embedding.saturating_mul(4)),
                    context: self.context.unwrap_or(64),
                    output_bias,
                };
                (
                    Architecture::Transformer(sizes),
                    vec![("units", self.units)],
                )
            }
        };
        for (flag, value) in foreign {
            if let Some(value) = value {
                bail!(
                    "--{flag} {value} does not belong to --kind {}: leave it out, or take another kind",
                    self.kind.as_str()
                );
            }
        }
        Ok(architecture)
    }

    fn of_stacks(&self) -> Vec<(&'static str, Option<u32>)> {
        let mut flags = self.of_transformers();
        flags.push(("layers", self.layers));
        flags
    }

    fn of_transformers(&self) -> Vec<(&'static str, Option<u32>)> {
        vec![
            ("heads", self.heads),
            ("feed-forward", self.feed_forward),
            ("context", self.context),
        ]
    }
}
