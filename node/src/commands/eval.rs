//! `eval`: loss and accuracy on held-out text.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use secagg_wire::process::disable_core_dumps;
use serde_json::json;

use super::model_source::ModelSource;
use super::{MAX_WORDS, print_json};
use crate::evaluation::evaluate;
use crate::store::Store;
use crate::text::{self, Format};
use crate::vocabulary::TokenizedText;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: ModelSource,
    /// Evaluate on this text, and not on the node's held-out messages.
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Take only this user's messages of the text.
    #[arg(long, requires = "text")]
    user: Option<String>,
    /// How messages lie in the text.
    #[arg(long, value_enum, default_value_t, requires = "text")]
    format: Format,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    disable_core_dumps().context("core dumps cannot be switched off")?;
    let (files, model, weights) = arguments.source.open()?;
    let text = if let Some(path) = &arguments.text {
        let messages = text::read(path, arguments.format, arguments.user.as_deref())?;
        let messages = messages.iter().map(|message| message.text.as_str());
        TokenizedText::new(&files.vocabulary, messages, MAX_WORDS)
    } else {
        let directory = arguments.source.dir.as_deref();
        let directory = directory.context("no text: give --text, or the node's --dir")?;
        let stored = Store::open(directory)?.load()?;
        let messages = stored.held_out.iter().map(|message| message.as_str());
        TokenizedText::new(&files.vocabulary, messages, MAX_WORDS)
    };
    ensure!(
        !text.is_empty(),
        "there is no held-out message to evaluate on; add text, or give --text"
    );
    let evaluation = evaluate(&model, &text);
    if arguments.json {
        return print_json(&json!({
            "weights": weights,
            "messages": text.len(),
            "tokens": evaluation.tokens,
            "loss": evaluation.loss(),
            "perplexity": evaluation.perplexity(),
            "top1": evaluation.top1_rate(),
            "top3": evaluation.top3_rate(),
        }));
    }
    println!("weights      {}", weights.display());
    println!("messages     {}", text.len());
    println!("tokens       {}", evaluation.tokens);
    println!("loss         {:.4} nats a token", evaluation.loss());
    println!("perplexity   {:.1}", evaluation.perplexity());
    println!("top-1        {:.2} %", 100.0 * evaluation.top1_rate());
    println!("top-3        {:.2} %", 100.0 * evaluation.top3_rate());
    Ok(())
}
