//! `cargo xtask fuzz`: every fuzz target for a while, with sanitizers.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};

use self::log::Findings;
use crate::demo::children::{self, Process};
use crate::demo::parallel;
use crate::process::{self, cargo};
use crate::workspace;

mod log;
mod seeds;

/// Arguments of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Seconds for each target.
    #[arg(long, default_value_t = 10, value_name = "N")]
    seconds: u32,
    /// How many targets run at a time; as many as there are cores unless it is given.
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// The targets; all of them unless some are named.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Builds the targets, writes seeds from the test vectors, runs each target and reports.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    children::catch_interrupts()?;
    let fuzz = workspace::root().join("fuzz");
    let targets = selected(&fuzz, &arguments.targets)?;
    seeds::write(
        &workspace::root().join("specs/vectors"),
        &fuzz.join("corpus"),
    )?;
    let binaries = build(&fuzz, &targets)?;

    let jobs = arguments.jobs.map_or_else(parallel::cores, usize::from);
    eprintln!(
        "{} targets, {} s each, {jobs} at a time",
        targets.len(),
        arguments.seconds
    );
    let runs = parallel::in_parallel_on(jobs, &targets, |target| {
        let run = fuzz_one(&fuzz, &binaries, target, arguments.seconds)?;
        eprintln!("{run}");
        Ok(run)
    })?;
    let found: Vec<&Run> = runs.iter().filter(|run| run.finding.is_some()).collect();
    println!("{}", log::HEADINGS);
    runs.iter().for_each(|run| println!("{run}"));
    for run in &found {
        println!("{}: see {}", run.target, run.log.display());
    }
    if found.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("cargo xtask fuzz: {} targets with a finding", found.len());
    Ok(ExitCode::FAILURE)
}

/// The targets to run: those named, or every one that there is.
fn selected(fuzz: &Path, named: &[String]) -> Result<Vec<String>> {
    let folder = fuzz.join("fuzz_targets");
    let files = fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .collect::<Result<Vec<_>, _>>()?;
    let all: BTreeSet<String> = files
        .iter()
        .filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    if let Some(unknown) = named.iter().find(|name| !all.contains(*name)) {
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        bail!("there is no target {unknown}; there are {}", all.join(", "));
    }
    let wanted = |name: &String| named.is_empty() || named.contains(name);
    Ok(all.into_iter().filter(wanted).collect())
}

/// Builds the targets and returns the folder of their binaries.
fn build(fuzz: &Path, targets: &[String]) -> Result<PathBuf> {
    let mut version = cargo();
    version
        .args(["fuzz", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    ensure!(
        version.status().is_ok_and(|status| status.success()),
        "cargo-fuzz is not installed: `cargo install --locked cargo-fuzz`"
    );
    let (host, folder) = (host()?, fuzz.join("target"));
    let mut build = cargo();
    // A stable compiler has sanitizers, but says so only when asked. Which code has assertions
    // stands in fuzz/Cargo.toml.
    build
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["fuzz", "build", "--release", "--target", &host])
        .arg("--target-dir")
        .arg(&folder);
    if let [target] = targets {
        build.arg(target);
    }
    ensure!(
        process::status(&mut build)?.success(),
        "the fuzz targets do not build"
    );
    Ok(folder.join(host).join("release"))
}

/// The machine that the compiler runs on, as it names it.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("-vV")
        .output()
        .context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

/// What became of one target.
#[derive(Debug)]
struct Run {
    target: String,
    findings: Findings,
    /// The input that the target failed on; or how it ended, where there is no such input.
    finding: Option<String>,
    log: PathBuf,
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let finding = self.finding.as_deref().unwrap_or("none");
        write!(f, "{:<26}{} {finding}", self.target, self.findings)
    }
}

/// Runs one target on its corpus, which grows by what it discovers.
fn fuzz_one(fuzz: &Path, binaries: &Path, target: &str, seconds: u32) -> Result<Run> {
    let folder = |name: &str| -> Result<PathBuf> {
        let folder = fuzz.join(name).join(target);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    };
    let (corpus, artifacts) = (folder("corpus")?, folder("artifacts")?);
    let log = folder("logs")?.join("log");
    // It is appended to.
    if log.exists() {
        fs::remove_file(&log).with_context(|| format!("cannot remove {}", log.display()))?;
    }
    let mut command = Command::new(binaries.join(target));
    command.arg(corpus);
    let seeds = fuzz.join("seeds").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(LIMITS);
    let status = Process::start(target, &mut command, &log)?.end()?;
    let text = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let text = String::from_utf8_lossy(&text);
    let finding = (!status.success()).then(|| {
        let input = log::input(&text).map(str::to_owned);
        input.unwrap_or_else(|| status.to_string())
    });
    Ok(Run {
        target: target.to_owned(),
        findings: Findings::read(&text),
        finding,
        log,
    })
}

/// Of libFuzzer: the same coins in each run, and what counts as too slow, too much memory and too
/// long an input.
const LIMITS: [&str; 5] = [
    "-seed=1",
    "-timeout=20",
    "-rss_limit_mb=2048",
    "-max_len=4096",
    "-print_final_stats=1",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_those_of_the_folder() {
        let fuzz = workspace::root().join("fuzz");
        let all = selected(&fuzz, &[]).unwrap();
        assert!(all.iter().any(|target| target == "secagg_server"));
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        for target in &all {
            assert!(
                manifest.contains(&format!("name = \"{target}\"")),
                "{target}"
            );
        }
        let named = ["secagg_roster".to_owned()];
        assert_eq!(selected(&fuzz, &named).unwrap(), named);
        let error = selected(&fuzz, &["roster".to_owned()]).unwrap_err();
        assert!(error.to_string().starts_with("there is no target roster"));
    }
}
