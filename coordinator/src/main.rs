//! The program `secagg-coordinator`.

use std::process::ExitCode;

use clap::Parser as _;
use secagg_coordinator::commands::Cli;

// Under it nothing is sealed and anybody can sign: see secagg/src/lib.rs.
#[cfg(fuzzing)]
compile_error!("`--cfg fuzzing` is for fuzz targets: programs built with it protect nobody");

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
