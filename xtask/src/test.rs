//! `cargo xtask test`: every test of the workspace.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::process::{self, cargo};
use crate::{binaries, libtorch};

/// Arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Passed on to `cargo test`, for instance `-- -p secagg mask`.
    #[arg(last = true)]
    extra: Vec<String>,
}

/// Makes sure of libtorch, builds the binaries with and without test hooks, and runs all tests,
/// those in the documentation included. The end-to-end tests find the binaries through
/// `SECAGG_BIN` (with hooks) and `SECAGG_BIN_DEFAULT` (as users get them).
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let start = Instant::now();
    libtorch::ensure()?;
    let with_hooks = binaries::build(true)?;
    let default = binaries::build(false)?;

    let mut test = cargo();
    // One failure does not hide the others.
    test.args(["test", "--no-fail-fast"])
        .env("SECAGG_BIN", with_hooks)
        .env("SECAGG_BIN_DEFAULT", default);
    if !selects_packages(&arguments.extra) {
        test.arg("--workspace");
    }
    let status = process::status(test.args(&arguments.extra))?;
    let outcome = if status.success() { "passed" } else { "failed" };
    eprintln!(
        "cargo xtask test: {outcome} after {}",
        minutes(start.elapsed().as_secs())
    );
    Ok(process::exit_code(status))
}

/// Whether the user's arguments to `cargo test` choose packages themselves.
fn selects_packages(extra: &[String]) -> bool {
    let cargo = extra.iter().take_while(|argument| *argument != "--");
    cargo
        .into_iter()
        .any(|argument| argument.starts_with("-p") || argument == "--package")
}

fn minutes(seconds: u64) -> String {
    format!("{} min {:02} s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_package_replaces_the_workspace() {
        let chooses = |words: &str| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            selects_packages(&words)
        };
        assert!(chooses("-p secagg mask"));
        assert!(chooses("--package secagg"));
        assert!(!chooses("mask"));
        assert!(!chooses("mask -- -p"));
    }

    #[test]
    fn durations_are_in_minutes_and_seconds() {
        assert_eq!(minutes(3), "0 min 03 s");
        assert_eq!(minutes(605), "10 min 05 s");
    }
}
