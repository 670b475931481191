//! What the benchmarks share: processor time, medians, and a report as lines and as JSON.
#![allow(dead_code, reason = "each benchmark uses a part of this module")]

use std::{env, fs, process::Command};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// Processor time of all threads of this process, in seconds: what others run on the machine is
/// not in it.
pub(crate) fn cpu_seconds() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

/// Time on the wall, in seconds.
pub(crate) fn wall_seconds() -> f64 {
    seconds(ClockId::Monotonic)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The median processor time of `work`, of 15 runs; with `--quick` of 5.
pub(crate) fn median(mut work: impl FnMut()) -> f64 {
    let runs = if flag("--quick") { 5 } else { 15 };
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let start = cpu_seconds();
            work();
            cpu_seconds() - start
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// GB/s of OpenSSL's `ChaCha20` in pieces of 16 KiB, where OpenSSL is installed.
pub(crate) fn openssl_rate() -> Option<f64> {
    let arguments = [
        "speed", "-mr", "-seconds", "2", "-bytes", "16384", "-evp", "chacha20",
    ];
    let output = Command::new("openssl").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().find(|line| line.starts_with("+F:"))?;
    let rate: f64 = line.rsplit(':').next()?.parse().ok()?;
    Some(rate * 1e-9)
}

/// The figures of a run.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Value>);

impl Report {
    /// Adds a figure that is better the smaller it is, with the limit that it is compared with.
    pub(crate) fn add(&mut self, name: &str, value: f64, unit: &str, limit: Option<f64>) {
        self.push(name, value, unit, limit, limit.map(|limit| value / limit));
    }

    /// Adds a figure that is better the larger it is. The ratio is below one where it is beyond its
    /// limit, as it is for the others.
    pub(crate) fn add_rate(&mut self, name: &str, value: f64, unit: &str, limit: Option<f64>) {
        self.push(name, value, unit, limit, limit.map(|limit| limit / value));
    }

    fn push(&mut self, name: &str, value: f64, unit: &str, limit: Option<f64>, ratio: Option<f64>) {
        match limit.zip(ratio) {
            Some((limit, ratio)) => {
                println!(
                    "{name:<60} {value:>14.4} {unit:<10} limit {limit:>10.4} ratio {ratio:.2}"
                );
            }
            None => println!("{name:<60} {value:>14.4} {unit}"),
        }
        self.0.push(json!({
            "name": name,
            "value": value,
            "unit": unit,
            "limit": limit,
            "ratio": ratio,
        }));
    }

    /// Writes the figures as JSON to the file that `--json` names, if it is given.
    pub(crate) fn finish(self) {
        if let Some(path) = argument("--json") {
            let text = serde_json::to_string_pretty(&self.0).expect("figures are plain numbers");
            fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
        }
    }
}

/// The value of an argument of the command line.
pub(crate) fn argument(name: &str) -> Option<String> {
    env::args().skip_while(|found| found != name).nth(1)
}

/// Whether the command line has this argument.
pub(crate) fn flag(name: &str) -> bool {
    env::args().any(|found| found == name)
}
