//! Starting other programs.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result};

use crate::{libtorch, workspace};

/// A command that runs the cargo that runs us, in the root of the workspace.
///
/// `cargo run` has told us about the package `xtask` in our environment. Passed on, these
/// variables would look like changes to the build scripts that watch them (ring's does), and
/// every `cargo xtask` would compile such crates again; the same holds for the `LIBTORCH` that
/// cargo itself has set from its configuration.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root());
    for (name, _) in env::vars_os() {
        if describes_xtask(&name) {
            command.env_remove(name);
        }
    }
    if libtorch::is_default() {
        command.env_remove("LIBTORCH");
    }
    command
}

/// Whether cargo has set this variable to describe the package that it runs.
fn describes_xtask(name: &OsString) -> bool {
    name.to_str().is_some_and(|name| {
        name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_MANIFEST_")
            || [
                "CARGO_BIN_NAME",
                "CARGO_CRATE_NAME",
                "CARGO_PRIMARY_PACKAGE",
                "OUT_DIR",
            ]
            .contains(&name)
    })
}

/// Prints the command and waits for it.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    eprintln!("$ {}", display(command));
    command
        .status()
        .with_context(|| format!("cannot start {}", display(command)))
}

/// What to exit with when a command has ended like this.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    // A command that a signal has ended has no code.
    status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The command as one would type it, without its environment.
pub(crate) fn display(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![
        program
            .file_stem()
            .unwrap_or(command.get_program())
            .to_string_lossy(),
    ];
    words.extend(
        command
            .get_args()
            .map(|argument| argument.to_string_lossy()),
    );
    words.join(" ")
}
