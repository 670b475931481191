//! Running the tests on one change at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::switches::Id;

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// This test failed.
    Caught(String),
    /// The tests did not end in their processor time.
    Limit,
    /// No test failed.
    Missed,
    /// No test gets there.
    NotReached,
    /// It does not compile.
    Unviable,
}

/// The tests as one program.
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// Where the tests expect to be started.
    pub(super) folder: PathBuf,
    /// Whether to run each test as in a usual run: all cases of the properties, and the slow tests.
    pub(super) thorough: bool,
}

/// A test, how long it takes, and the changes that it reaches.
#[derive(Debug)]
pub(super) struct Test {
    name: String,
    takes: Duration,
    reaches: BTreeSet<Id>,
}

impl Program {
    /// Runs each test alone, and keeps which changes it reaches.
    pub(super) fn trace(&self, scratch: &Path) -> Result<Vec<Test>> {
        let left_out = self.left_out();
        let list = self
            .command(&["--list", "--format", "terse"], 600)
            .output()?;
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        let names: Vec<&str> = list
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .filter(|name| !left_out.iter().any(|part| name.contains(part)))
            .collect();
        ensure!(!names.is_empty(), "the program lists no tests");
        let traced = side_by_side(names.len(), |index| {
            let name = names[index];
            let file = scratch.join(format!("reached-{index}"));
            // Of a run before.
            let _ = fs::remove_file(&file);
            let began = Instant::now();
            let output = self
                .command(&[name, "--exact", "--test-threads=1"], 600)
                .env("SECAGG_CHANGED", "trace")
                .env("SECAGG_REACHED", &file)
                .output()
                .context("cannot start the tests")?;
            let takes = began.elapsed();
            ensure!(
                output.status.success(),
                "{name} fails with no change: {}",
                String::from_utf8_lossy(&output.stdout)
            );
            let reached = fs::read_to_string(&file).unwrap_or_default();
            Ok(Test {
                name: name.to_owned(),
                takes,
                reaches: reached.lines().filter_map(|id| id.parse().ok()).collect(),
            })
        });
        let mut tests = traced.into_values().collect::<Result<Vec<_>>>()?;
        tests.sort_by_key(|test| test.takes);
        Ok(tests)
    }

    /// Runs the tests that reach change `id`, the quick ones first.
    pub(super) fn outcome(&self, id: Id, tests: &[Test]) -> Result<Outcome> {
        let mut due: Vec<&Test> = tests
            .iter()
            .filter(|test| test.reaches.contains(&id))
            .collect();
        if due.is_empty() {
            return Ok(Outcome::NotReached);
        }
        let mut bound = Duration::from_secs(1);
        while !due.is_empty() {
            let mut takes = Duration::ZERO;
            let batch: Vec<&str> = due
                .iter()
                .take_while(|test| {
                    takes += test.takes;
                    takes <= bound
                })
                .map(|test| test.name.as_str())
                .collect();
            bound *= 4;
            if batch.is_empty() {
                continue;
            }
            let taken = batch.len();
            let seconds = 10 + 10 * bound.as_secs();
            let mut arguments = vec!["--exact"];
            arguments.extend(batch);
            match self.run(&arguments, seconds, Some(id))? {
                Outcome::Missed => {}
                noticed => return Ok(noticed),
            }
            due.drain(..taken);
        }
        Ok(Outcome::Missed)
    }

    /// Runs all tests, those of the module `first` before the others, until one fails.
    pub(super) fn all(&self, first: &str) -> Result<Outcome> {
        let left_out = self.left_out().iter();
        let skip: Vec<&str> = left_out.flat_map(|part| ["--skip", part]).collect();
        match self.run(&[&[first], &skip[..]].concat(), 1_800, None)? {
            Outcome::Missed => self.run(&skip, 1_800, None),
            noticed => Ok(noticed),
        }
    }

    fn left_out(&self) -> &[&str] {
        if self.thorough { &[] } else { &SLOW }
    }

    /// Runs tests until one fails.
    fn run(&self, which: &[&str], seconds: u64, id: Option<Id>) -> Result<Outcome> {
        let mut arguments = vec!["-Z", "unstable-options", "--fail-fast", "--test-threads=1"];
        arguments.extend(which);
        let mut command = self.command(&arguments, seconds);
        if let Some(id) = id {
            command.env("SECAGG_CHANGED", id.to_string());
        }
        Ok(told(&command.output().context("cannot start the tests")?))
    }

    /// A change may loop, take all memory, or wait for ever: the system ends it.
    fn command(&self, arguments: &[&str], seconds: u64) -> Command {
        let limits = format!(
            "ulimit -c 0; ulimit -t {seconds}; ulimit -v 8000000; exec timeout {} \"$0\" \"$@\"",
            20 * seconds
        );
        let mut command = Command::new("sh");
        command
            .args(["-c", &limits])
            .arg(&self.path)
            .args(arguments)
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            // Stopping at the first failure is an option that the harness has only when asked so.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUST_BACKTRACE", "0");
        if !self.thorough {
            command.env("PROPTEST_CASES", "16");
        }
        command
    }
}

/// Tests that take as long as all others: they visit the whole field or every value of a byte.
const SLOW: [&str; 4] = [
    "one_share_fewer_is_consistent_with_every_seed",
    "values_are_those_of_horners_rule",
    "all_points_of_the_field_are_reached",
    "the_bounds_that_would_do_are_the_largest",
];

/// What the output of a test program says.
fn told(output: &Output) -> Outcome {
    if output.status.success() {
        return Outcome::Missed;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = text.lines().find_map(|line| {
        let name = line.strip_prefix("test ")?.split(" ... ").next()?;
        line.ends_with("FAILED").then(|| name.to_owned())
    });
    // The last test that had begun, where the program itself was ended.
    let begun = || {
        let last = text.lines().rev().find_map(|line| {
            let name = line.strip_prefix("test ")?.split(" ... ").next()?;
            Some(name.trim_end_matches(" ...").to_owned())
        });
        last.unwrap_or_else(|| "the start of the tests".into())
    };
    // `timeout` gives 124; a shell and `timeout` add 128 to the number of a signal: XCPU, KILL.
    let signal = output.status.signal();
    let code = output.status.code();
    match failed {
        Some(name) => Outcome::Caught(name),
        None if matches!(code, Some(124 | 137 | 152)) || matches!(signal, Some(9 | 24)) => {
            Outcome::Limit
        }
        None => Outcome::Caught(begun()),
    }
}

/// Does the work with each number below `count` on every core, and keeps the results by number.
pub(super) fn side_by_side<R: Send>(
    count: usize,
    work: impl Fn(usize) -> R + Sync,
) -> BTreeMap<usize, R> {
    let next = AtomicUsize::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let one = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return done;
            }
            done.push((index, work(index)));
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(one)).collect();
        let done = workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("the work does not panic"));
        done.collect()
    })
}
