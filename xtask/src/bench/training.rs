//! Local training beside PyTorch: the same CIFG-LSTM on the same text, in turns; and once in bf16, which
//! pays only where the processor has instructions for it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Metric;
use crate::libtorch;
use crate::process::{self, cargo, display};
use crate::workspace;

/// How often each of them trains; medians count.
const RUNS: usize = 5;
const QUICK_RUNS: usize = 1;

/// How far the losses of the same weights on the same text may be apart, in nats a token.
const SAME: f64 = 1e-4;

/// One training of one epoch.
struct Run {
    loss: f64,
    tokens_a_second: f64,
    peak_bytes: f64,
}

/// Trains in turns with `secagg-node` and with the Python that the variable `PYTHON` names (else
/// `python3`), where that has PyTorch.
pub(super) fn measure(text: Option<&Path>, quick: bool) -> Result<Vec<Metric>> {
    libtorch::ensure()?;
    let mut build = cargo();
    build.args(["build", "--release", "--package", "secagg-node"]);
    ensure!(
        process::status(&mut build)?.success(),
        "`{}` failed",
        display(&build)
    );
    let node = workspace::target().join("release/secagg-node");
    let text = match text {
        Some(text) => text.to_owned(),
        None => workspace::root().join("node/data/public.txt"),
    };
    let folder = workspace::target().join("bench/training");
    let model = init_model(&node, &text, &folder)?;
    let python = python();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..if quick { QUICK_RUNS } else { RUNS } {
        ours.push(with_node(&node, &model, &text, "f32")?);
        if let Some(python) = &python {
            theirs.push(with_python(python, &model, &text)?);
        }
    }
    if let (Some(ours), Some(theirs)) = (ours.first(), theirs.first()) {
        ensure!(
            (ours.loss - theirs.loss).abs() < SAME,
            "the two models are not the same: before training the loss is {} with tch and {} with \
             PyTorch",
            ours.loss,
            theirs.loss
        );
    }
    // Once: without such instructions it takes many times as long.
    let bf16 = with_node(&node, &model, &text, "bf16")?;
    Ok(metrics(&ours, &theirs, &bf16))
}

/// A CIFG-LSTM of 96 elements and 256 units for the words of the text, at most 5,000.
fn init_model(node: &Path, text: &Path, folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let mut command = Command::new(node);
    command.args(["init-model", "--vocabulary-size", "5000"]);
    command.arg("--vocabulary-from").arg(text);
    command.arg("--out").arg(folder);
    ensure!(
        process::status(&mut command)?.success(),
        "`{}` failed",
        display(&command)
    );
    Ok(folder.to_owned())
}

/// The Python to compare with, if there is one with PyTorch.
fn python() -> Option<PathBuf> {
    let python = env::var_os("PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let found = Command::new(&python)
        .args(["-c", "import torch, safetensors.torch"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        println!(
            "{} has no torch and safetensors: there is nothing to compare with; name another Python in \
             the variable PYTHON",
            python.display()
        );
    }
    found.then_some(python)
}

fn with_node(node: &Path, model: &Path, text: &Path, precision: &str) -> Result<Run> {
    let mut command = Command::new(node);
    command.args([
        "train-pooled",
        "--epochs",
        "1",
        "--json",
        "--precision",
        precision,
    ]);
    command.arg("--model").arg(model).arg("--train").arg(text);
    command.arg("--validation").arg(text);
    let report = json(&mut command)?;
    let run = &report["runs"][0];
    let seconds = number(&run["epochs"][0]["train_seconds"])?;
    Ok(Run {
        loss: number(&report["initial"]["loss"])?,
        tokens_a_second: number(&report["initial"]["tokens"])? / seconds,
        peak_bytes: number(&run["memory"]["peak_bytes"])?,
    })
}

fn with_python(python: &Path, model: &Path, text: &Path) -> Result<Run> {
    let mut command = Command::new(python);
    command.arg(workspace::root().join("benchmarks/cifg_lstm.py"));
    command.arg("--model").arg(model).arg("--text").arg(text);
    let report = json(&mut command)?;
    Ok(Run {
        loss: number(&report["loss"])?,
        tokens_a_second: number(&report["tokens"])? / number(&report["seconds"])?,
        peak_bytes: number(&report["peak_bytes"])?,
    })
}

fn json(command: &mut Command) -> Result<Value> {
    // Both use one thread: more would measure how well they share the cores.
    let command = command.env("OMP_NUM_THREADS", "1").stderr(Stdio::inherit());
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", display(command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", display(command), output.status);
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("`{}` printed no JSON", display(command)))
}

fn number(value: &Value) -> Result<f64> {
    value.as_f64().context("a figure is missing")
}

fn metrics(ours: &[Run], theirs: &[Run], bf16: &Run) -> Vec<Metric> {
    let median = |runs: &[Run], figure: fn(&Run) -> f64| {
        let mut figures: Vec<f64> = runs.iter().map(figure).collect();
        figures.sort_unstable_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied()
    };
    // A rate has a least value: what it is below that is how much of the limit is used.
    let rates = [ours, theirs].map(|runs| median(runs, |run| run.tokens_a_second));
    let peaks = [ours, theirs].map(|runs| median(runs, |run| run.peak_bytes / 1e6));
    let metric = |who: &str, what: &str, value: Option<f64>, unit: &str, limit: Option<f64>| {
        value.map(|value| Metric {
            name: format!("training/cifg-lstm/{who}/{what}"),
            value,
            unit: unit.to_owned(),
            limit,
            ratio: limit.map(|limit| match unit {
                "tokens/s" => limit / value,
                _ => value / limit,
            }),
        })
    };
    [
        metric("tch", "rate", rates[0], "tokens/s", rates[1]),
        metric("tch", "peak-memory", peaks[0], "MB", peaks[1]),
        // Beside f32, not PyTorch.
        metric(
            "tch-bf16",
            "rate",
            Some(bf16.tokens_a_second),
            "tokens/s",
            rates[0],
        ),
        metric(
            "tch-bf16",
            "peak-memory",
            Some(bf16.peak_bytes / 1e6),
            "MB",
            peaks[0],
        ),
        metric("pytorch", "rate", rates[1], "tokens/s", None),
        metric("pytorch", "peak-memory", peaks[1], "MB", None),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(tokens_a_second: f64, peak_bytes: f64) -> Run {
        Run {
            loss: 1.0,
            tokens_a_second,
            peak_bytes,
        }
    }

    #[test]
    fn a_higher_rate_uses_less_of_the_limit() {
        let ours = [run(300.0, 1e6), run(200.0, 3e6), run(100.0, 2e6)];
        let theirs = [run(100.0, 4e6)];
        let bf16 = run(800.0, 1e6);
        let found = metrics(&ours, &theirs, &bf16);
        assert_eq!(found[0].value, 200.0);
        assert_eq!(found[0].ratio, Some(0.5));
        assert_eq!(found[1].ratio, Some(0.5));
        assert_eq!([found[2].ratio, found[3].ratio], [Some(0.25), Some(0.5)]);
        assert_eq!(found.len(), 6);
        let alone = metrics(&ours, &[], &bf16);
        assert_eq!(alone.len(), 4);
        assert!(alone[..2].iter().all(|metric| metric.limit.is_none()));
    }
}
