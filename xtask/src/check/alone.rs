//! Whether `secagg` stands by itself: without `std`, as a package, and with the oldest
//! dependencies that it says it can live with.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::process::{self, cargo, display};
use crate::workspace;

/// Runs the checks, and says which failed.
pub(super) fn failed() -> Result<Vec<String>> {
    let mut failed = without_std()?;
    let online = registry_answers();
    // What is packaged builds without the workspace around it.
    let mut command = cargo();
    command.args(["package", "--package", "secagg", "--allow-dirty"]);
    if !online {
        command.arg("--offline");
    }
    if !process::status(&mut command)?.success() {
        failed.push(display(&command));
    } else if online {
        failed.extend(minimal_versions()?);
    } else {
        eprintln!(
            "cargo xtask check: SKIPPED: the registry cannot be reached; whether secagg builds \
             with the lowest versions of its dependencies was not checked"
        );
    }
    Ok(failed)
}

fn registry_answers() -> bool {
    let mut probe = cargo();
    probe
        .args(["update", "--dry-run"])
        .env("CARGO_NET_RETRY", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// Links the crate into a library that defines what `std` would define as well.
fn without_std() -> Result<Vec<String>> {
    let mut build = cargo();
    build.args(["build", "--package", "secagg", "--no-default-features"]);
    let debug = workspace::target().join("debug");
    let library = debug.join("libsecagg.rlib");
    let mut link = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    link.current_dir(workspace::root())
        .args(["--edition", "2024", "--crate-type", "staticlib"])
        .args(["-C", "panic=abort", "--extern"])
        .arg(format!("secagg={}", library.display()))
        .arg("-L")
        .arg(format!("dependency={}", debug.join("deps").display()))
        .arg("-o")
        .arg(debug.join("libno_std.a"))
        .arg("secagg/tests/no_std/lib.rs");
    for mut command in [build, link] {
        if !process::status(&mut command)?.success() {
            return Ok(vec![display(&command)]);
        }
    }
    Ok(Vec::new())
}

/// Compiles what was packaged with the lowest version of each direct dependency.
fn minimal_versions() -> Result<Vec<String>> {
    let name = concat!("secagg-", env!("CARGO_PKG_VERSION"));
    let package = workspace::target()
        .join("package")
        .join(format!("{name}.crate"));
    let folder = workspace::target().join("minimal-versions");
    let unpacked = folder.join(name);
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked).with_context(|| format!("{}", unpacked.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(&package).arg("-C").arg(&folder);
    if !process::status(&mut unpack)?.success() {
        return Ok(vec![display(&unpack)]);
    }
    fs::remove_file(unpacked.join("Cargo.lock"))?;
    // Or cargo would look for it in the workspace above.
    let mut manifest = OpenOptions::new()
        .append(true)
        .open(unpacked.join("Cargo.toml"))?;
    manifest.write_all(b"\n[workspace]\n")?;

    let mut check = cargo();
    check
        .current_dir(&unpacked)
        .args(["-Z", "direct-minimal-versions", "check"])
        .env("CARGO_TARGET_DIR", folder.join("target"))
        // The option is unstable; what is compiled is not.
        .env("RUSTC_BOOTSTRAP", "1");
    let passed = process::status(&mut check)?.success();
    Ok(if passed {
        Vec::new()
    } else {
        vec![format!("{} (in {})", display(&check), unpacked.display())]
    })
}
