//! `cargo xtask check`: what must hold besides the tests.

mod alone;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;

use crate::process::{self, cargo, display};
use crate::{libtorch, workspace};

/// Runs every check, so that one run names everything that fails.
pub(crate) fn run() -> Result<ExitCode> {
    libtorch::ensure()?;
    let mut commands = checks_in(workspace::root());
    // A workspace of its own, which cargo's `--workspace` does not reach. Its targets use what
    // exists with `--cfg fuzzing` alone, which cargo-fuzz sets.
    let fuzz = workspace::root().join("fuzz");
    if fuzz.join("Cargo.toml").is_file() {
        let mut seam = cargo();
        seam.args(["clippy", "--package", "secagg", "--", "-D", "warnings"]);
        let mut with_seam = checks_in(&fuzz);
        with_seam.push(seam);
        for command in &mut with_seam {
            command.env("RUSTFLAGS", "--cfg fuzzing");
        }
        commands.extend(with_seam);
    }

    let mut failed = Vec::new();
    for mut command in commands {
        if !process::status(&mut command)?.success() {
            failed.push(place(&command));
        }
    }
    failed.extend(alone::failed()?);
    if failed.is_empty() {
        eprintln!("cargo xtask check: everything passed");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("cargo xtask check: failed:");
    for command in failed {
        eprintln!("    {command}");
    }
    Ok(ExitCode::FAILURE)
}

/// The checks of one workspace.
fn checks_in(folder: &Path) -> Vec<Command> {
    let command = |words: &str| {
        let mut command = cargo();
        command.current_dir(folder).args(words.split_whitespace());
        command
    };
    let mut commands = vec![
        command("fmt --all -- --check"),
        command("clippy --workspace --all-targets -- -D warnings"),
        // What stands behind features that are off by default.
        command("clippy --workspace --all-targets --all-features -- -D warnings"),
    ];
    let mut documentation = command("doc --workspace --no-deps");
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    commands.push(documentation);

    if has_deny() {
        // Two versions of a crate are a warning there, and nothing to be told each time.
        let mut deny = command("deny --workspace --log-level error --config");
        deny.arg(workspace::root().join("deny.toml"));
        deny.args(["check", "bans", "licenses", "sources"]);
        commands.push(deny);
    } else {
        eprintln!(
            "cargo xtask check: licences and sources in {} are not checked: cargo-deny is not \
             installed (`cargo install --locked cargo-deny`)",
            folder.display()
        );
    }
    commands
}

fn has_deny() -> bool {
    let mut command = cargo();
    command
        .args(["deny", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The command, and where it ran when that is not the root.
fn place(command: &Command) -> String {
    match command.get_current_dir() {
        Some(folder) if folder != workspace::root() => {
            format!("{} (in {})", display(command), folder.display())
        }
        _ => display(command),
    }
}
