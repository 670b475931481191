//! The benchmarks of the crate `secagg`, each in a process of its own.

use std::fs;
use std::thread;

use anyhow::{Context, Result, ensure};

use super::Metric;
use crate::process::{self, cargo, display};
use crate::workspace;

/// How much faster the last step of the server has to be with two threads than with one.
const SPEED_UP: f64 = 1.8;

/// The round that is run on several threads.
const ON_THREADS: &str = "n1000/k88/drop30/honest-but-curious";

pub(super) fn pieces(quick: bool) -> Result<Vec<Metric>> {
    bench("pieces", if quick { &["--quick"] } else { &[] })
}

pub(super) fn rounds(quick: bool) -> Result<Vec<Metric>> {
    let few = ["--only", "n100/k50/drop30"];
    bench("rounds", if quick { &few } else { &["--all"] })
}

pub(super) fn growth() -> Result<Vec<Metric>> {
    bench("growth", &[])
}

fn bench(name: &str, arguments: &[&str]) -> Result<Vec<Metric>> {
    let run = Run {
        name,
        features: "internals",
        arguments,
        threads: None,
    };
    run.figures()
}

/// The recovery on one thread, on two and on as many as there are processors, on the wall.
pub(super) fn threads() -> Result<Vec<Metric>> {
    let processors = thread::available_parallelism()?.get();
    let mut counts = vec![1, 2, processors];
    counts.dedup();
    let mut metrics: Vec<Metric> = Vec::new();
    for count in counts {
        let run = Run {
            name: "rounds",
            features: "internals,parallel",
            arguments: &["--only", ON_THREADS],
            threads: Some(count),
        };
        let name = format!("server/{ON_THREADS}/recovery-wall");
        let mut figures = run.figures()?.into_iter();
        let wall = figures.find(|metric| metric.name == name);
        let wall = wall.with_context(|| format!("no figure {name}"))?;
        let limit = metrics.first().filter(|_| count == 2);
        let limit = limit.map(|alone| alone.value / SPEED_UP);
        let metric = Metric {
            name: format!("{name}/{count}-threads"),
            limit,
            ratio: limit.map(|limit| wall.value / limit),
            ..wall
        };
        super::print(std::slice::from_ref(&metric));
        metrics.push(metric);
    }
    Ok(metrics)
}

/// One benchmark.
struct Run<'a> {
    name: &'a str,
    features: &'a str,
    arguments: &'a [&'a str],
    threads: Option<usize>,
}

impl Run<'_> {
    /// What it printed, as it wrote it to a file.
    fn figures(&self) -> Result<Vec<Metric>> {
        let folder = workspace::target().join("bench");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join(format!("{}.json", self.name));
        let mut command = cargo();
        command.args(["bench", "--package", "secagg", "--features", self.features]);
        command
            .args(["--bench", self.name, "--"])
            .args(self.arguments);
        command.arg("--json").arg(&path);
        if let Some(threads) = self.threads {
            command.env("RAYON_NUM_THREADS", threads.to_string());
        }
        ensure!(
            process::status(&mut command)?.success(),
            "`{}` failed",
            display(&command)
        );
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("no figures in {}", path.display()))
    }
}
