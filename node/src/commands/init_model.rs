//! `init-model`: a description, a vocabulary and initial weights, from public text, a tokenizer or labels.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::examples;
use crate::model::{
    Architecture, CnnSizes, DESCRIPTION_FILE, EncoderDecoderSizes, MlpSizes, ModelDescription,
    ModelFiles, ModelKind, Sizes, StackSizes, Task, TransformerSizes, Weights,
};
use crate::text::{self, Format};
use crate::vocabulary::{MAX_TOKENIZER_BYTES, TextUnits, Tokenization, Vocabulary};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Public text for the vocabulary of a language model: files or folders.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    vocabulary_from: Vec<PathBuf>,
    /// A tokenizer of words or byte pairs (tokenizer.json) in the place of a vocabulary; `train-tokenizer`
    /// makes one.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["vocabulary_from", "labels", "text", "vocabulary_size", "format"]
    )]
    tokenizer: Option<PathBuf>,
    /// Labels of a model that classifies images [default: 0,1,2,3,4,5,6,7,8,9].
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LABEL",
        conflicts_with = "vocabulary_from"
    )]
    labels: Vec<String>,
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
    /// Whether each word has a bias at the output [default: true]; labels always have one.
    #[arg(long, action = clap::ArgAction::Set, value_name = "true|false")]
    output_bias: Option<bool>,
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
    /// Units of the cell, of each layer, or of a cnn's hidden layer [default: 256, of a cnn 128]; not of
    /// a transformer.
    #[arg(long, value_name = "N")]
    units: Option<u32>,
    /// Layers, of a tanh-rnn or an mlp [default: 1] or a transformer [default: 2].
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
    /// end, and its target with its beginning [default: 32 words, 192 characters, or 64 tokens of a
    /// tokenizer].
    #[arg(long, value_name = "N")]
    context: Option<u32>,
    /// Rows, and columns, of a cnn's filters [default: 5].
    #[arg(long, value_name = "N")]
    kernel: Option<u32>,
    /// Filters of a cnn's first convolution [default: 16].
    #[arg(long, value_name = "N")]
    first_filters: Option<u32>,
    /// Filters of a cnn's second convolution [default: 32].
    #[arg(long, value_name = "N")]
    second_filters: Option<u32>,
}

impl SizeArguments {
    /// The architecture, with defaults where nothing is given.
    fn architecture(
        &self,
        kind: ModelKind,
        text: Tokenization,
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
            Tokenization::Units(TextUnits::Words | TextUnits::WordsAndDigits) => 32,
            Tokenization::Units(TextUnits::Characters) => 192,
            Tokenization::Tokenizer => 64,
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
            ModelKind::Cnn => Architecture::Cnn(CnnSizes {
                vocabulary,
                kernel: self.kernel.unwrap_or(5),
                first_filters: self.first_filters.unwrap_or(16),
                second_filters: self.second_filters.unwrap_or(32),
                units: self.units.unwrap_or(128),
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
            ModelKind::Cnn => &["kernel", "first-filters", "second-filters", "units"],
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
            ("kernel", self.kernel),
            ("first-filters", self.first_filters),
            ("second-filters", self.second_filters),
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
    let (vocabulary, from) = match arguments.kind.task() {
        Task::NextToken | Task::SequenceToSequence => arguments.words()?,
        Task::Classification => arguments.labels()?,
    };
    let size = u32::try_from(vocabulary.len()).context("the vocabulary is too large")?;
    let output_bias = arguments.output_bias.unwrap_or(true);
    let kind = arguments.kind;
    // A label is a word.
    let text = match kind.task() {
        Task::Classification => arguments.text.into(),
        Task::NextToken | Task::SequenceToSequence => vocabulary.tokenization(),
    };
    let architecture = arguments
        .sizes
        .architecture(kind, text, size, output_bias)?;
    let description = ModelDescription::of(text, architecture, arguments.seed)?;
    let initial = Weights::initial(&description);
    let files = ModelFiles::new(description, vocabulary)?;
    files.write(&arguments.out, &initial)?;
    println!(
        "{}: {from}, {} parameters",
        arguments.out.display(),
        files.description.parameters()
    );
    Ok(())
}

impl Arguments {
    /// The vocabulary of a language model, and what it came from.
    fn words(&self) -> anyhow::Result<(Vocabulary, String)> {
        let kind = self.kind.as_str();
        ensure!(
            self.labels.is_empty(),
            "--labels does not belong to --kind {kind}, which learns from text: give \
             --vocabulary-from"
        );
        if let Some(path) = &self.tokenizer {
            let vocabulary = tokenizer(path)?;
            let from = format!("{} tokens of {}", vocabulary.len(), path.display());
            return Ok((vocabulary, from));
        }
        ensure!(
            !self.vocabulary_from.is_empty(),
            "--kind {kind} learns from text: give public text for its vocabulary with \
             --vocabulary-from, or a tokenizer with --tokenizer"
        );
        let mut messages = Vec::new();
        for path in &self.vocabulary_from {
            messages.append(&mut text::read(path, self.format, None)?);
        }
        let public = messages.iter().map(|message| message.text.as_str());
        let task = self.kind.task();
        let vocabulary = examples::vocabulary(task, self.text, public, self.vocabulary_size)?;
        let (words, units) = (vocabulary.len(), self.text.as_str());
        let from = format!("{words} {units} from {} messages", messages.len());
        Ok((vocabulary, from))
    }

    /// The labels of a model that classifies, and how many there are.
    fn labels(&self) -> anyhow::Result<(Vocabulary, String)> {
        let kind = self.kind.as_str();
        ensure!(
            self.tokenizer.is_none(),
            "--tokenizer does not belong to --kind {kind}, which classifies images: name what they show \
             with --labels"
        );
        ensure!(
            self.vocabulary_from.is_empty(),
            "--vocabulary-from does not belong to --kind {kind}, which classifies images: name what \
             they show with --labels"
        );
        ensure!(
            self.output_bias.is_none(),
            "--output-bias does not belong to --kind {kind}: each label has a bias"
        );
        let digits = || ('0'..='9').map(String::from).collect();
        let labels = match self.labels.as_slice() {
            [] => digits(),
            labels => labels.to_vec(),
        };
        let from = format!("{} labels", labels.len());
        Ok((Vocabulary::of_labels(labels)?, from))
    }
}

/// Reads a tokenizer's file.
fn tokenizer(path: &Path) -> anyhow::Result<Vocabulary> {
    let named = || format!("cannot use the tokenizer {}", path.display());
    let bytes = fs::metadata(path).with_context(named)?.len();
    ensure!(
        bytes <= MAX_TOKENIZER_BYTES as u64,
        "{}: it has {bytes} bytes, allowed are {MAX_TOKENIZER_BYTES}",
        named()
    );
    let source = fs::read_to_string(path).with_context(named)?;
    Vocabulary::read(Tokenization::Tokenizer, &source).with_context(named)
}
