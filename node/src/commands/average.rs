//! `average`: the mean of several weights of one model.

use std::path::PathBuf;

use anyhow::Context;
use secagg_wire::process::{Access, write_atomic};

use super::model_source::read_model;
use crate::model::WeightsMean;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The weights (safetensors): those after several rounds, as a coordinator or a simulation keeps
    /// them.
    #[arg(required = true, value_name = "FILE")]
    weights: Vec<PathBuf>,
    /// The model's folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Where to write the mean.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let files = read_model(&arguments.model)?;
    let mut mean = WeightsMean::new(&files.description);
    for path in &arguments.weights {
        let weights = files
            .read_weights(path)
            .with_context(|| format!("cannot use the weights {}", path.display()))?;
        mean.add(&weights);
    }
    let count = mean.count();
    let mean = mean.finish().context("there are no weights")?;
    let out = &arguments.out;
    write_atomic(out, &mean.to_safetensors(), Access::Shared)
        .with_context(|| format!("cannot write {}", out.display()))?;
    println!("{}: the mean of {count} files", out.display());
    Ok(())
}
