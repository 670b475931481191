//! `cargo xtask vectors`: the test vectors of the protocol.
//!
//! The reference implementation writes them and not the crate: what the crate's tests compare
//! with comes from the text of the specification alone.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{process, workspace};

/// Writes `specs/vectors` and checks it. Python 3 and its package `cryptography` are needed.
pub(crate) fn run() -> Result<ExitCode> {
    for script in ["write_vectors.py", "check_vectors.py"] {
        let mut command = Command::new("python3");
        command
            .current_dir(workspace::root())
            .arg(format!("specs/reference/{script}"));
        let status = process::status(&mut command)?;
        if !status.success() {
            return Ok(process::exit_code(status));
        }
    }
    Ok(ExitCode::SUCCESS)
}
