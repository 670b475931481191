//! `cargo xtask model`: the rounds as a model that SPIN explores, see `specs/model/README.md`.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{process, workspace};

/// How much is explored.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leave out the variants with more than a million states.
    #[arg(long)]
    small: bool,
}

/// Explores every variant. The rules as they stand must have their properties, and each weakened rule
/// must lose the one that it is there for. `spin`, `gcc` and `python3` are needed.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut command = Command::new("bash");
    command.current_dir(workspace::root());
    command.arg("specs/model/run.sh");
    if arguments.small {
        command.arg("--small");
    }
    Ok(process::exit_code(process::status(&mut command)?))
}
