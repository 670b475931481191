//! `cargo xtask demo`: a coordinator and nodes as real processes on this machine, real training,
//! nodes killed in the middle of a round, and a report.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{binaries, libtorch};

mod arguments;
mod checks;
pub(crate) mod children;
mod events;
mod exhibit;
mod federation;
mod format;
mod metrics;
mod packed;
pub(crate) mod parallel;
mod people;
mod png;
mod pooled;
mod progress;
mod record;
mod report;
#[cfg(test)]
mod sample;
mod script;
mod site;
mod statistics;
mod summary;
mod tensors;

pub(crate) use arguments::Arguments;

use arguments::{ServerOptimizer, Settings};
use exhibit::{Exhibit, Sources, Step};
use metrics::{Completion, Continuation, Metrics, Quality, Run};
use people::People;
use record::Record;
use script::Script;
use site::Site;

/// What the model is asked to continue, before and after.
const PHRASES: [&str; 3] = ["see you", "can you", "i am"];

/// Words by which a phrase is continued at most.
const WORDS: u32 = 8;

/// Bits of a rounded value: the coordinator's default.
const VALUE_BITS: u32 = 16;

/// Builds, runs, compares, reports. A claim that does not hold is exit code 1.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let settings = arguments.settings()?;
    libtorch::ensure()?;
    let binaries = binaries::build(true)?;
    children::catch_interrupts()?;

    let start = Instant::now();
    let site = Site::prepare(binaries)?;
    let people = people(arguments, site.folder())?;
    let script = Script::new(
        &people.people,
        arguments.kill,
        arguments.kill_round(),
        arguments.seed,
    )?;
    eprintln!(
        "demo: {} nodes in {}",
        people.people.len(),
        site.folder().display()
    );
    site.make_model(&people, &settings, arguments.seed)?;
    site.add_text(&people.people)?;
    let pin = site.make_authority()?;
    let threat_model = match arguments.honest_but_curious {
        true => "honest-but-curious",
        false => "malicious",
    };
    let config = site::config(&settings, arguments, threat_model, &pin);
    let tokens = site.make_coordinator(&config, arguments.nodes)?;

    let federated = Instant::now();
    let record = federation::run(&site, &people.people, arguments, &pin, &tokens, &script)?;
    let federated_seconds = federated.elapsed().as_secs_f64();

    let pooled_start = Instant::now();
    let (pooled, most_frequent) = if arguments.no_pooled {
        (None, None)
    } else {
        let epochs = arguments.rounds * settings.local_epochs;
        eprintln!("pooled training, for comparison: at most {epochs} epochs a run …");
        let seed = arguments.seed;
        // A corpus can be large: as many runs as most machines have cores for.
        let tries = if arguments.corpus.is_some() { 2 } else { 4 };
        let (pooled, most_frequent) = pooled::train(&site, &people.people, tries, epochs, seed)?;
        (Some(pooled), Some(most_frequent))
    };
    let pooled_seconds = pooled_start.elapsed().as_secs_f64();

    let (before, after) = record.before_and_after()?;
    let rounds = record.rounds();
    let last = rounds
        .iter()
        .filter(|round| round.trains)
        .map(|round| round.round)
        .max();
    let exhibit = exhibit(&site, &record, &script, &settings, arguments.nodes)?;
    let mut metrics = Metrics {
        run: Run {
            corpus: shown(arguments.corpus.as_deref()),
            validation: shown(arguments.validation.as_deref()),
            vocabulary_from: name(&people.vocabulary_from),
            vocabulary: u32::try_from(site.vocabulary_size()?)?,
            nodes: arguments.nodes,
            rounds: arguments.rounds,
            kill: arguments.kill,
            threat_model: threat_model.to_owned(),
            seed: arguments.seed,
            parameters: exhibit.elements,
            federated_seconds,
            pooled_seconds,
            total_seconds: 0.0,
            cores: parallel::cores(),
        },
        settings,
        quality: Quality {
            before,
            after,
            pooled,
            most_frequent,
        },
        rounds,
        time: record.time(),
        traffic: record.traffic(exhibit.elements),
        nodes: record.nodes(),
        deaths: record.deaths(),
        completions: completions(&site, last.unwrap_or(0))?,
        exhibit,
        checks: Vec::new(),
    };
    metrics.run.total_seconds = start.elapsed().as_secs_f64();
    metrics.checks = checks::checks(&metrics);
    finish(&site, &metrics)
}

fn people(arguments: &Arguments, folder: &Path) -> Result<People> {
    match &arguments.corpus {
        None => People::bundled(arguments.nodes),
        Some(corpus) => People::of_corpus(
            corpus,
            arguments.validation.as_deref(),
            arguments.nodes,
            &folder.join("people"),
        ),
    }
}

fn exhibit(
    site: &Site,
    record: &Record,
    script: &Script,
    settings: &Settings,
    nodes: usize,
) -> Result<Exhibit> {
    let round = script.shown_round;
    let (received_blake3, contributors) = record.received(&script.shown, round)?;
    Exhibit::new(Sources {
        node: &script.shown,
        round,
        contributors,
        step: step(settings),
        dump: &site.dump(),
        bits: site::modulus_bits(nodes, VALUE_BITS),
        received_blake3,
        earlier: (round >= 2).then(|| site.weights(round - 2)).as_deref(),
        before: &site.weights(round - 1),
        after: &site.weights(round),
    })
}

fn step(settings: &Settings) -> Step {
    let (rate, momentum) = (settings.server_rate, settings.server_momentum);
    match settings.server_optimizer {
        ServerOptimizer::FedAvg => Step::Linear {
            rate,
            momentum: 0.0,
        },
        ServerOptimizer::FedAvgM => Step::Linear { rate, momentum },
        ServerOptimizer::FedAdam | ServerOptimizer::FedYogi => Step::Adaptive,
    }
}

/// What `generate --json` prints about a phrase.
#[derive(Debug, Deserialize)]
struct Printed {
    phrase: String,
    continuation: String,
    suggestions: Vec<Suggestion>,
}

#[derive(Debug, Deserialize)]
struct Suggestion {
    word: String,
    probability: f64,
}

fn completions(site: &Site, last: u64) -> Result<Vec<Completion>> {
    let generate = |weights: &Path| -> Result<Vec<Printed>> {
        let mut command = site.node();
        command.arg("generate").arg("--model").arg(site.model());
        command.arg("--weights").arg(weights);
        command
            .args(["--json", "--words", &WORDS.to_string()])
            .args(PHRASES);
        let log = site.log("generate");
        let text = children::output_of("secagg-node generate", &mut command, &log)?;
        serde_json::from_str(&text).context("secagg-node generate printed something else")
    };
    let before = generate(&site.weights(0))?;
    let after = generate(&site.weights(last))?;
    let continuation = |printed: Printed| Continuation {
        text: printed.continuation,
        suggestions: printed
            .suggestions
            .into_iter()
            .map(|suggestion| (suggestion.word, suggestion.probability))
            .collect(),
    };
    let both = before.into_iter().zip(after);
    Ok(both
        .map(|(before, after)| Completion {
            phrase: before.phrase.clone(),
            before: continuation(before),
            after: continuation(after),
        })
        .collect())
}

/// Writes report and figures, prints the summary, and says how to exit.
fn finish(site: &Site, metrics: &Metrics) -> Result<ExitCode> {
    let report = site.folder().join("report.html");
    let figures = site.folder().join("metrics.json");
    let json = serde_json::to_string_pretty(metrics)? + "\n";
    for (path, text) in [(&report, report::html(metrics)), (&figures, json)] {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    print!("{}", summary::text(metrics));
    println!(
        "\nreport   {}\nfigures  {}\ntook     {:.0} s after the build",
        report.display(),
        figures.display(),
        metrics.run.total_seconds
    );
    let failed: Vec<_> = metrics.checks.iter().filter(|check| !check.holds).collect();
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("\nThe demo has failed. These claims do not hold:");
    for check in failed {
        eprintln!("  ✕ {}: {}", check.claim, check.found);
    }
    Ok(ExitCode::FAILURE)
}

/// A path as the user gave it.
fn shown(path: Option<&Path>) -> Option<String> {
    path.map(|path| path.display().to_string())
}

/// A file's name without its folder.
fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
