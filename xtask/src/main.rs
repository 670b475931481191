//! Developer commands: `cargo xtask …`.
//!
//! This package imports none of the workspace's crates: it starts the built binaries and reads
//! what they write, so that it builds in seconds and without libtorch. One module per command.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bench;
mod binaries;
mod check;
mod coverage;
mod demo;
mod fuzz;
mod libtorch;
mod model;
mod mutants;
mod process;
mod test;
mod vectors;
mod workspace;

/// Developer commands of the secagg workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// One variant per command; its arguments are declared in the command's own module.
#[derive(Debug, Subcommand)]
enum Command {
    /// Train on the text of several nodes on this machine, two of them killed in the middle of a
    /// round; written to target/demo/report.html.
    Demo(Box<demo::Arguments>),
    /// Fetch libtorch into a per-user cache and link it to target/libtorch.
    Libtorch,
    /// Run all tests, the end-to-end tests with both builds of the binaries included.
    Test(test::Arguments),
    /// Measure what a round costs the coordinator; written to target/bench.json.
    Bench(bench::Arguments),
    /// Show which lines of a package its own tests reach; needs cargo-llvm-cov.
    Coverage(coverage::Arguments),
    /// Run the fuzz targets for a while, with sanitizers; needs cargo-fuzz.
    Fuzz(fuzz::Arguments),
    /// Change `secagg` in every small way, and show which changes no test notices; takes hours, and
    /// needs cargo-mutants.
    Mutants(mutants::Arguments),
    /// Write the test vectors in specs/vectors again, with the reference implementation in Python.
    Vectors,
    /// Explore the formal model in specs/model with SPIN.
    Model(model::Arguments),
    /// Check formatting, lints, documentation, licences and sources, and that secagg stands by
    /// itself; warnings are errors.
    Check,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one command. An error is a failure of ours; a failed test or check is an exit code.
fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Libtorch => libtorch::run(),
        Command::Test(arguments) => test::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Coverage(arguments) => coverage::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Mutants(arguments) => mutants::run(&arguments),
        Command::Vectors => vectors::run(),
        Command::Model(arguments) => model::run(&arguments),
        Command::Check => check::run(),
    }
}
