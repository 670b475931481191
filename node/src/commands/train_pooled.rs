//! `train-pooled`: what the same model reaches when all text lies in one place. Federated training
//! is compared with this; nobody's private text belongs here.

use std::path::PathBuf;

use anyhow::Context;
use secagg_wire::process::disable_core_dumps;

use super::model_source::read_model;
use super::pooled::{Options, Pooled};
use super::print_json;
use crate::memory;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The model's folder; training starts from its initial weights.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Files or folders with messages to train on.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    train: Vec<PathBuf>,
    /// Write the weights with the best validation top-1 (safetensors).
    #[arg(long, value_name = "FILE")]
    weights_out: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    memory::prepare();
    disable_core_dumps().context("core dumps cannot be switched off")?;
    let files = read_model(&arguments.model)?;
    let options = &arguments.options;
    let pooled = Pooled::read(&arguments.model, &files, &arguments.train, options)?;
    let (report, best) = pooled.train()?;
    if let (Some(path), Some(weights)) = (&arguments.weights_out, &best) {
        std::fs::write(path, weights.to_safetensors())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if options.json {
        return print_json(&report);
    }
    report.print();
    Ok(())
}
