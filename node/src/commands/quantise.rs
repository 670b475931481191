//! `quantise`: weights of 8 bits, for suggestions on the device.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use secagg_wire::process::{Access, write_atomic};

use super::model_source::ModelSource;
use crate::int8::Int8Weights;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: ModelSource,
    /// Where to write them, if not beside the weights, as NAME.int8.safetensors.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (files, path) = arguments.source.find()?;
    let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
    ensure!(
        !Int8Weights::are_in(&bytes),
        "{} holds int8 weights already: give the f32 weights with --weights",
        path.display()
    );
    let weights = files
        .read_weights(&path)
        .with_context(|| format!("cannot use the weights {}", path.display()))?;
    let quantised = Int8Weights::quantise(&files.description, &weights)?.to_safetensors();
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => path.with_extension("int8.safetensors"),
    };
    ensure!(
        out != path,
        "{} holds the f32 weights: choose another --out",
        out.display()
    );
    write_atomic(&out, &quantised, Access::Shared)
        .with_context(|| format!("cannot write {}", out.display()))?;
    println!(
        "{}: {} bytes, {:.1} % of the f32 weights' {}",
        out.display(),
        quantised.len(),
        100.0 * quantised.len() as f64 / bytes.len() as f64,
        bytes.len(),
    );
    Ok(())
}
