//! `cargo xtask bench`: how fast it is, beside what limits it.
//!
//! The pieces of the protocol, whole rounds in one process, how costs grow, and a round over QUIC.

mod inner;
mod plots;
mod quic;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::workspace;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A look in less than a minute once it is built: not the figures that count. The plots are
    /// left alone.
    #[arg(long)]
    quick: bool,
}

/// One figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Metric {
    name: String,
    value: f64,
    unit: String,
    /// What the value is compared with, where there is something.
    limit: Option<f64>,
    /// How much of the limit is used: up to one, the value is within it.
    ratio: Option<f64>,
}

/// Measures, prints the figures and writes them to `target/bench.json`, and plots to the folder of
/// `BENCHMARKS.md`.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let quick = arguments.quick;
    let mut metrics = inner::measure(quick)?;
    let round = quic::measure(if quick { 100_000 } else { 1_000_000 })?;
    print(&round);
    metrics.extend(round);
    println!("\nWhat has a limit:\n");
    let limited = metrics.iter().filter(|metric| metric.limit.is_some());
    print(&limited.cloned().collect::<Vec<_>>());
    let path = workspace::target().join("bench.json");
    fs::write(&path, serde_json::to_string_pretty(&metrics)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("\nwritten to {}", path.display());
    if !quick {
        plots::draw(&metrics, &workspace::root().join("benchmarks"))?;
    }
    // A limit is a goal, on a machine that others may be using: it fails nothing.
    Ok(ExitCode::SUCCESS)
}

fn print(metrics: &[Metric]) {
    for metric in metrics {
        let Metric {
            name, value, unit, ..
        } = metric;
        let compared = metric.limit.zip(metric.ratio);
        let compared = compared.map_or(String::new(), |(limit, ratio)| {
            format!("limit {limit:>10.4} ratio {ratio:.2}")
        });
        println!("{name:<60} {value:>14.4} {unit:<10} {compared}");
    }
}
