//! `cargo xtask coverage`: which lines of a package its own tests reach.

use std::process::{ExitCode, Stdio};

use anyhow::{Result, ensure};

use crate::process::{self, cargo};

/// Arguments of `cargo xtask coverage`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The package.
    #[arg(default_value = "secagg")]
    package: String,
}

/// Runs the package's tests with instrumented code, and prints for each file how much of it they
/// reach, and the lines that they do not.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut version = cargo();
    version
        .args(["llvm-cov", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    ensure!(
        version.status().is_ok_and(|status| status.success()),
        "cargo-llvm-cov is not installed: `cargo install --locked cargo-llvm-cov` and `rustup \
         component add llvm-tools`"
    );
    let mut coverage = cargo();
    coverage
        .args(["llvm-cov", "test", "--package", &arguments.package])
        .args(["--ignore-filename-regex", OTHERS])
        .arg("--show-missing-lines");
    Ok(process::exit_code(process::status(&mut coverage)?))
}

/// Files of tests, and those of other packages.
const OTHERS: &str = r"/tests?[/.]|/(known_answers|vectors)\.rs$|/\.cargo/|/rustc/";
