//! Where the built binaries are.

use std::{env, ffi::OsString, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

/// Which build of the binaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// With the test hooks of the feature `fault-injection`.
    Hooks,
    /// As users get it.
    Default,
}

impl Build {
    fn variable(self) -> &'static str {
        match self {
            Self::Hooks => "SECAGG_BIN",
            Self::Default => "SECAGG_BIN_DEFAULT",
        }
    }
}

/// The coordinator's binary.
///
/// # Errors
/// When it was not built: run `cargo xtask test`.
pub fn coordinator(build: Build) -> Result<PathBuf> {
    binary(build, "secagg-coordinator")
}

/// The node's binary.
///
/// # Errors
/// When it was not built: run `cargo xtask test`.
pub fn node(build: Build) -> Result<PathBuf> {
    binary(build, "secagg-node")
}

fn binary(build: Build, name: &str) -> Result<PathBuf> {
    find(build, env::var_os(build.variable()), name)
}

fn find(build: Build, folder: Option<OsString>, name: &str) -> Result<PathBuf> {
    let variable = build.variable();
    let folder = folder.with_context(|| {
        format!(
            "{variable} does not say where {name} is: run `cargo xtask test`, which builds it and \
             sets the variable"
        )
    })?;
    let path = PathBuf::from(folder).join(name);
    ensure!(
        path.is_file(),
        "{} does not exist: run `cargo xtask test`, which builds it",
        path.display()
    );
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_binary_says_what_to_run() {
        let error = find(Build::Hooks, None, "secagg-node").unwrap_err();
        assert_eq!(
            error.to_string(),
            "SECAGG_BIN does not say where secagg-node is: run `cargo xtask test`, which builds it \
             and sets the variable"
        );
        let error = find(Build::Default, Some("/nowhere".into()), "secagg-node").unwrap_err();
        assert_eq!(
            error.to_string(),
            "/nowhere/secagg-node does not exist: run `cargo xtask test`, which builds it"
        );
    }
}
