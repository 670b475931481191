//! The two binaries that tests and the demo start.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{cargo, display};
use crate::workspace;

/// The packages, which are also the names of their binaries.
const PACKAGES: [&str; 2] = ["secagg-coordinator", "secagg-node"];

/// Builds coordinator and node in the profile `dev` and returns the folder that holds both.
/// libtorch must be there: see [`crate::libtorch::ensure`].
///
/// With `fault_injection` the binaries have the test hooks of that feature; they are moved to
/// `target/fault-injection`, so that none of them is ever mistaken for one without. Both kinds
/// share every dependency.
///
/// # Errors
///
/// When the build fails or yields no such binary.
pub(crate) fn build(fault_injection: bool) -> Result<PathBuf> {
    let built = compile(fault_injection)?;
    if !fault_injection {
        let folder = built[0].parent().context("a binary without a folder")?;
        return Ok(folder.to_owned());
    }
    let folder = workspace::target().join("fault-injection");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for binary in &built {
        move_into(&folder, binary)
            .with_context(|| format!("cannot move {} to {}", binary.display(), folder.display()))?;
    }
    Ok(folder)
}

/// Compiles both binaries, and returns where cargo has put them, in the order of [`PACKAGES`].
fn compile(fault_injection: bool) -> Result<Vec<PathBuf>> {
    let mut command = cargo();
    command.args(["build", "--message-format=json-render-diagnostics"]);
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    if fault_injection {
        let features = PACKAGES.map(|package| format!("{package}/fault-injection"));
        command.args(["--features", &features.join(",")]);
    }
    eprintln!("$ {}", display(&command));
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", display(&command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", display(&command), output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    PACKAGES
        .iter()
        .map(|name| {
            executable(&messages, name)
                .with_context(|| format!("cargo has built no binary called {name}"))
        })
        .collect()
}

/// Finds the path of a binary in cargo's messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// Copies, then removes: the file is a hard link to one that cargo may write again, under the
/// feet of a process that runs it. Cargo puts its own back with the next build.
fn move_into(folder: &Path, binary: &Path) -> Result<()> {
    let name = binary
        .file_name()
        .and_then(OsStr::to_str)
        .context("a binary without a name")?;
    let copy = folder.join(format!(".{name}-{}", process::id()));
    fs::copy(binary, &copy)?;
    fs::rename(&copy, folder.join(name))?;
    fs::remove_file(binary)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_found_among_the_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"secagg_node"},"executable":null}
{"reason":"build-script-executed"}
not a message
{"reason":"compiler-artifact","target":{"name":"secagg-node"},"executable":"/t/debug/secagg-node"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(
            executable(messages, "secagg-node"),
            Some("/t/debug/secagg-node".into())
        );
        assert_eq!(executable(messages, "secagg-coordinator"), None);
    }

    #[test]
    fn moving_replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir(&to).unwrap();
        for content in ["first", "second"] {
            fs::write(&from, content).unwrap();
            move_into(&to, &from).unwrap();
            assert_eq!(fs::read_to_string(to.join("from")).unwrap(), content);
            assert!(!from.exists());
        }
        assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
    }
}
