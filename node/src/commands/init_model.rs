//! `init-model`: a description, a vocabulary and initial weights, from public text.

use std::path::PathBuf;

use anyhow::{Context, ensure};

use crate::examples;
use crate::model::{
    Architecture, DESCRIPTION_FILE, EncoderDecoderSizes, MlpSizes, ModelDescription, ModelFiles,
    ModelKind, Sizes, StackSizes, TransformerSizes, Weights,
};
use crate::text::{self, Format};
use crate::vocabulary::TextUnits;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Public text for the vocabulary: files or folders.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    vocabulary_from: Vec<PathBuf>,
    /// The folder to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What the model predicts: the next word or the next character.
    #[arg(long, value_enum, default_value_t)]
    text: TextUnits,
    /// The most words or characters of the vocabulary, the four special ones included.
    #[arg(long, value_name = "N", default_value_t = 5000)]
    vocabulary_size: usize,
    /// What kind of network.
    #[arg(long, value_enum, default_value_t = ModelKind::CifgLstm)]
    kind: ModelKind,
    #[command(flatten)]
    sizes: SizeArguments,
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

/// Each kind of network has some of these; what another kind has is refused.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sizes of the network")]
struct SizeArguments {
    /// Elements of a token's vector [default: 96].
    #[arg(long, value_name = "N")]
    embedding: Option<u32>,
    /// Units of the cell or of each layer; not of a transformer [default: 256].
    #[arg(long, value_name = "N")]
    units: Option<u32>,
    /// Layers, of a tanh-rnn [default: 1] or a transformer [default: 2].
    #[arg(long, value_name = "N")]
    layers: Option<u32>,
    /// Layers of an encoder-decoder's encoder [default: 2].
    #[arg(long, value_name = "N")]
    encoder_layers: Option<u32>,
    /// Layers of an encoder-decoder's decoder [default: 2].
    #[arg(long, value_name = "N")]
    decoder_layers: Option<u32>,
    /// Heads of a transformer's or encoder-decoder's attention, which share out the embedding [default:
    /// 4].
    #[arg(long, value_name = "N")]
    heads: Option<u32>,
    /// Units of a transformer's or encoder-decoder's feed-forward networks [default: 4 times the embedding].
    #[arg(long, value_name = "N")]
    feed_forward: Option<u32>,
    /// Tokens that a transformer sees at once, or that an encoder-decoder's source has at most with its
    /// end, and its target with its beginning [default: 32 words or 192 characters].
    #[arg(long, value_name = "N")]
    context: Option<u32>,
}

impl SizeArguments {
    /// The architecture, with defaults where nothing is given.
    fn architecture(
        &self,
        kind: ModelKind,
        text: TextUnits,
        vocabulary: u32,
        output_bias: bool,
    ) -> anyhow::Result<Architecture> {
        self.check(kind)?;
        let embedding = self.embedding.unwrap_or(96);
        let sizes = Sizes {
            vocabulary,
            embedding,
            units: self.units.unwrap_or(256),
            output_bias,
        };
        let heads = self.heads.unwrap_or(4);
        let feed_forward = self.feed_forward.unwrap_or(embedding.saturating_mul(4));
        let context = self.context.unwrap_or(match text {
            TextUnits::Words | TextUnits::WordsAndDigits => 32,
            TextUnits::Characters => 192,
        });
        Ok(match kind {
            ModelKind::CifgLstm => Architecture::CifgLstm(sizes),
            ModelKind::Lstm => Architecture::Lstm(sizes),
            ModelKind::Gru => Architecture::Gru(sizes),
            ModelKind::TanhRnn => Architecture::TanhRnn(StackSizes {
                vocabulary,
                embedding,
                units: sizes.units,
                layers: self.layers.unwrap_or(1),
                output_bias,
            }),
            ModelKind::Mlp => Architecture::Mlp(MlpSizes {
                vocabulary,
                units: sizes.units,
                layers: self.layers.unwrap_or(1),
            }),
            ModelKind::Transformer => Architecture::Transformer(TransformerSizes {
                vocabulary,
                embedding,
                layers: self.layers.unwrap_or(2),
                heads,
                feed_forward,
                context,
                output_bias,
            }),
            ModelKind::EncoderDecoder => Architecture::EncoderDecoder(EncoderDecoderSizes {
                vocabulary,
                embedding,
                encoder_layers: self.encoder_layers.unwrap_or(2),
                decoder_layers: self.decoder_layers.unwrap_or(2),
                heads,
                feed_forward,
                context,
                output_bias,
            }),
        })
    }

    /// Refuses a size that this kind of network does not have.
    fn check(&self, kind: ModelKind) -> anyhow::Result<()> {
        let belonging: &[&str] = match kind {
            ModelKind::CifgLstm | ModelKind::Lstm | ModelKind::Gru => &["embedding", "units"],
            ModelKind::TanhRnn => &["embedding", "units", "layers"],
            ModelKind::Mlp => &["units", "layers"],
            ModelKind::EncoderDecoder => &[
                "embedding",
                "encoder-layers",
                "decoder-layers",
                "heads",
                "feed-forward",
                "context",
            ],
            ModelKind::Transformer => &["embedding", "layers", "heads", "feed-forward", "context"],
        };
        for (flag, given) in [
            ("embedding", self.embedding),
            ("units", self.units),
            ("layers", self.layers),
            ("encoder-layers", self.encoder_layers),
            ("decoder-layers", self.decoder_layers),
            ("heads", self.heads),
            ("feed-forward", self.feed_forward),
            ("context", self.context),
        ] {
            if let Some(value) = given {
                ensure!(
                    belonging.contains(&flag),
                    "--{flag} {value} does not belong to --kind {}, whose sizes are --{}",
                    kind.as_str(),
                    belonging.join(", --")
                );
            }
        }
        Ok(())
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    ensure!(
        arguments.force || !arguments.out.join(DESCRIPTION_FILE).exists(),
        "{} already holds a model; take another folder, or replace it with --force",
        arguments.out.display()
    );
    // Before anything is read.
    arguments.sizes.check(arguments.kind)?;
    let mut messages = Vec::new();
    for path in &arguments.vocabulary_from {
        messages.append(&mut text::read(path, arguments.format, None)?);
    }
    let public = messages.iter().map(|message| message.text.as_str());
    let (task, size) = (arguments.kind.task(), arguments.vocabulary_size);
    let vocabulary = examples::vocabulary(task, arguments.text, public, size)?;
    let words = u32::try_from(vocabulary.len()).context("the vocabulary is too large")?;
    let (text, output_bias) = (arguments.text, arguments.output_bias);
    let sizes = &arguments.sizes;
    let architecture = sizes.architecture(arguments.kind, text, words, output_bias)?;
    let description = ModelDescription::of(text, architecture, arguments.seed)?;
    let initial = Weights::initial(&description);
    let files = ModelFiles::new(description, vocabulary)?;
    files.write(&arguments.out, &initial)?;
    println!(
        "{}: {} {} from {} messages, {} parameters",
        arguments.out.display(),
        words,
        arguments.text.as_str(),
        messages.len(),
        files.description.parameters()
    );
    Ok(())
}
