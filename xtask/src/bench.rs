//! `cargo xtask bench`: how fast it is, beside what limits it.
//!
//! The pieces of the protocol, whole rounds in one process, how costs grow, a round over QUIC, and local
//! training.

mod inner;
mod plots;
mod quic;
mod training;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::workspace;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A look in less than a minute once it is built: not the figures that count. The plots are
    /// left alone.
    #[arg(long, conflicts_with = "parts")]
    quick: bool,
    /// Measure these parts alone; the figures of the others stay what they were.
    #[arg(long = "part", value_enum, num_args = 1.., value_name = "PART")]
    parts: Vec<Part>,
    /// The text of the part `training`: messages, one a line, or JSON Lines [default: the bundled public
    /// text].
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
}

/// What is measured, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Keystream, masks, packing, shares, agreements.
    Pieces,
    /// Whole rounds in one process.
    Rounds,
    /// The last step of the server on several threads.
    Threads,
    /// How costs grow.
    Growth,
    /// A round over QUIC.
    Quic,
    /// Local training, beside PyTorch.
    Training,
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
    let path = workspace::target().join("bench.json");
    let chosen = |part: &Part| arguments.parts.is_empty() || arguments.parts.contains(part);
    let mut metrics = Vec::new();
    if !arguments.parts.is_empty() && path.exists() {
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        metrics = serde_json::from_str(&text)
            .with_context(|| format!("{} holds no figures", path.display()))?;
    }
    for part in Part::value_variants().iter().filter(|part| chosen(part)) {
        replace(&mut metrics, measure(*part, arguments)?);
        // After each part: a later one may be interrupted.
        fs::write(&path, serde_json::to_string_pretty(&metrics)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("\nWhat has a limit:\n");
    let limited = metrics.iter().filter(|metric| metric.limit.is_some());
    print(&limited.cloned().collect::<Vec<_>>());
    println!("\nwritten to {}", path.display());
    if !arguments.quick {
        plots::draw(&metrics, &workspace::root().join("benchmarks"))?;
    }
    // A limit is a goal, on a machine that others may be using: it fails nothing.
    Ok(ExitCode::SUCCESS)
}

fn measure(part: Part, arguments: &Arguments) -> Result<Vec<Metric>> {
    Ok(match (part, arguments.quick) {
        (Part::Pieces, quick) => inner::pieces(quick)?,
        (Part::Rounds, quick) => inner::rounds(quick)?,
        // They take many minutes.
        (Part::Threads | Part::Growth, true) => Vec::new(),
        (Part::Threads, false) => inner::threads()?,
        (Part::Growth, false) => inner::growth()?,
        (Part::Quic, quick) => {
            let metrics = quic::measure(if quick { 100_000 } else { 1_000_000 })?;
            print(&metrics);
            metrics
        }
        (Part::Training, quick) => {
            let metrics = training::measure(arguments.text.as_deref(), quick)?;
            print(&metrics);
            metrics
        }
    })
}

/// Puts new figures in the place of those with the same names, or else at the end.
fn replace(metrics: &mut Vec<Metric>, new: Vec<Metric>) {
    for metric in new {
        match metrics.iter_mut().find(|old| old.name == metric.name) {
            Some(old) => *old = metric,
            None => metrics.push(metric),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_measured_again_takes_the_place_of_its_figures() {
        let metric = |name: &str, value| Metric {
            name: name.to_owned(),
            value,
            unit: "s".to_owned(),
            limit: None,
            ratio: None,
        };
        let mut metrics = vec![metric("a", 1.0), metric("b", 2.0)];
        replace(&mut metrics, vec![metric("c", 3.0), metric("a", 4.0)]);
        let found: Vec<_> = metrics
            .iter()
            .map(|metric| (metric.name.as_str(), metric.value))
            .collect();
        assert_eq!(found, [("a", 4.0), ("b", 2.0), ("c", 3.0)]);
    }
}
