//! The program `secagg-coordinator`.

use std::process::ExitCode;

use clap::Parser as _;
use secagg_coordinator::commands::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
