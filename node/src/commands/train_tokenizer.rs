//! `train-tokenizer`: a tokenizer of public text.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use secagg_wire::process::{Access, write_atomic};

use crate::text::{self, Format};
use crate::vocabulary::{TokenizerModel, train};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Public text: files or folders. What is frequent in it can be read in the tokenizer.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What its tokens are.
    #[arg(long, value_enum)]
    model: TokenizerModel,
    /// The most tokens, the four special ones included.
    #[arg(long, value_name = "N")]
    size: usize,
    /// The file to write, a tokenizer.json for `init-model --tokenizer`.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How messages lie in the files.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Replace a file that is there already.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let out = &arguments.out;
    ensure!(
        arguments.force || !out.exists(),
        "{} is there already; take another name, or replace it with --force",
        out.display()
    );
    let mut messages = Vec::new();
    for path in &arguments.files {
        messages.append(&mut text::read(path, arguments.format, None)?);
    }
    let public = messages.iter().map(|message| message.text.as_str());
    let source = train(arguments.model, public, arguments.size)?;
    write_atomic(out, source.as_bytes(), Access::Shared)
        .with_context(|| format!("cannot write {}", out.display()))?;
    println!(
        "{}: a {} tokenizer from {} messages",
        out.display(),
        arguments.model.as_str(),
        messages.len()
    );
    Ok(())
}
