//! What users get has none of the test hooks.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use secagg_tests::{
    binaries::{self, Build},
    process::output,
};

/// The hooks' options, by binary.
const COORDINATOR: [&str; 1] = ["--pause-at"];
const NODE: [&str; 3] = ["--pause-at", "--dump-update", "--dump-round"];

fn run_help(binary: &PathBuf) -> Result<String> {
    let help = output(Command::new(binary).args(["run", "--help"]))?;
    assert!(help.status.success(), "{help:?}");
    Ok(String::from_utf8(help.stdout)?)
}

/// clap's exit status for a command line that it does not understand.
const USAGE: i32 = 2;

/// The option is unknown to clap, and its name is nowhere in the binary.
fn has_no(binary: &PathBuf, option: &str, folder: &[&str]) -> Result<()> {
    assert!(!run_help(binary)?.contains(option));
    let refused = output(
        Command::new(binary)
            .arg("run")
            .args(folder)
            .args([option, "1:train"]),
    )?;
    let said = String::from_utf8(refused.stderr)?;
    assert_eq!(refused.status.code(), Some(USAGE), "{said}");
    assert!(
        said.contains(&format!("unexpected argument '{option}' found")),
        "{said}"
    );
    let bare = option.trim_start_matches('-');
    assert!(
        !contains(binary, bare)?,
        "{bare} is in {}",
        binary.display()
    );
    Ok(())
}

fn contains(binary: &PathBuf, text: &str) -> Result<bool> {
    let bytes = std::fs::read(binary).with_context(|| binary.display().to_string())?;
    Ok(bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes()))
}

#[test]
fn a_default_coordinator_has_no_hooks() -> Result<()> {
    let default = binaries::coordinator(Build::Default)?;
    let hooks = binaries::coordinator(Build::Hooks)?;
    for option in COORDINATOR {
        has_no(&default, option, &["nowhere"])?;
        // The search finds what is there.
        assert!(run_help(&hooks)?.contains(option));
        assert!(contains(&hooks, option.trim_start_matches('-'))?);
    }
    Ok(())
}

#[test]
fn a_default_node_has_no_hooks() -> Result<()> {
    let default = binaries::node(Build::Default)?;
    let hooks = binaries::node(Build::Hooks)?;
    for option in NODE {
        has_no(&default, option, &["--dir", "nowhere"])?;
        assert!(run_help(&hooks)?.contains(option));
        assert!(contains(&hooks, option.trim_start_matches('-'))?);
    }
    // What a dump would write.
    for file in ["update-clear.f32", "quantised.bin"] {
        assert!(!contains(&default, file)?);
        assert!(contains(&hooks, file)?);
    }
    Ok(())
}
