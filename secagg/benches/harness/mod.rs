//! What the benchmarks share: processor time, medians, and a report as lines and as JSON.
#![allow(dead_code, reason = "each benchmark uses a part of this module")]

use std::{env, fs};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// Processor time of this thread, in seconds: what others run on the machine is not in it.
pub(crate) fn thread_seconds() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

/// Time on the wall, in seconds.
pub(crate) fn wall_seconds() -> f64 {
    seconds(ClockId::Monotonic)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The median processor time of `work`, of 15 runs.
pub(crate) fn median(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            let start = thread_seconds();
            work();
            thread_seconds() - start
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The figures of a run.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Value>);

impl Report {
    /// Adds a figure, with the limit that it is compared with.
    pub(crate) fn add(&mut self, name: &str, value: f64, unit: &str, limit: Option<f64>) {
        match limit {
            Some(limit) => println!(
                "{name:<56} {value:>12.4} {unit:<10} limit {limit:>10.4} ratio {:.2}",
                value / limit
            ),
            None => println!("{name:<56} {value:>12.4} {unit}"),
        }
        self.0.push(json!({
            "name": name,
            "value": value,
            "unit": unit,
            "limit": limit,
            "ratio": limit.map(|limit| value / limit),
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
