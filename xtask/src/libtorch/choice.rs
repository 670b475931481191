//! Which libtorch a build will use: the user's or ours.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::VERSION;

/// Which libtorch a build will use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The one that we fetch and link to `target/libtorch`.
    Ours,
    /// One that the user names with `LIBTORCH`.
    Own(PathBuf),
    /// The one inside the user's installed Python package torch.
    Pytorch,
}

impl Choice {
    /// Decides as the build script of torch-sys does, `LIBTORCH_USE_PYTORCH` first.
    ///
    /// Cargo sets `LIBTORCH` from `.cargo/config.toml` when the user has none, so that the
    /// variable alone does not tell who has set it: `target/libtorch` in `root` is ours.
    ///
    /// # Errors
    ///
    /// When `LIBTORCH` is set but empty.
    pub(super) fn new(root: &Path, libtorch: Option<&OsStr>, use_pytorch: bool) -> Result<Self> {
        if use_pytorch {
            return Ok(Self::Pytorch);
        }
        let Some(libtorch) = libtorch else {
            return Ok(Self::Ours);
        };
        if libtorch.is_empty() {
            bail!("LIBTORCH is set but empty: unset it, or set it to the folder of a libtorch");
        }
        let libtorch = Path::new(libtorch);
        if is_default(root, libtorch) {
            Ok(Self::Ours)
        } else {
            Ok(Self::Own(libtorch.into()))
        }
    }
}

/// Whether `libtorch` is `target/libtorch` in `root`, however the path to `root` is written.
fn is_default(root: &Path, libtorch: &Path) -> bool {
    let Some(parent) = libtorch
        .parent()
        .filter(|_| libtorch.ends_with("target/libtorch"))
    else {
        return false;
    };
    match (parent.parent().map(Path::canonicalize), root.canonicalize()) {
        (Some(Ok(theirs)), Ok(ours)) => theirs == ours,
        _ => false,
    }
}

/// Checks a libtorch that the user names, and returns what is known of its version.
///
/// # Errors
///
/// When the folder holds no libtorch, or one of another version.
pub(super) fn check_own(libtorch: &Path) -> Result<String> {
    let library = libtorch.join("lib");
    if !["libtorch_cpu.so", "libtorch.so"]
        .iter()
        .any(|name| library.join(name).is_file())
    {
        bail!(
            "LIBTORCH is {}, but there is no lib/libtorch_cpu.so in it: set LIBTORCH to the \
             folder of a libtorch {VERSION}, or unset it and run `cargo xtask libtorch`",
            libtorch.display()
        );
    }
    // A libtorch inside a Python package has no such file; torch-sys goes by it where it is.
    match fs::read_to_string(libtorch.join("build-version")) {
        Ok(version) => {
            check_version(version.trim())?;
            Ok(version.trim().to_owned())
        }
        Err(_) => Ok("of unknown version (it has no file build-version)".to_owned()),
    }
}

/// Refuses versions that torch-sys would refuse. What follows a `+` names the build.
///
/// # Errors
///
/// When it is another version and `LIBTORCH_BYPASS_VERSION_CHECK` is not set.
pub(super) fn check_version(version: &str) -> Result<()> {
    let number = version.split('+').next().unwrap_or(version);
    if number != VERSION && env::var_os("LIBTORCH_BYPASS_VERSION_CHECK").is_none() {
        bail!("this libtorch has version {version}, but tch needs {VERSION}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(root: &Path, libtorch: Option<&Path>) -> Choice {
        Choice::new(root, libtorch.map(Path::as_os_str), false).unwrap()
    }

    #[test]
    fn the_default_of_cargo_is_ours() {
        let root = tempfile::tempdir().unwrap();
        // There is no target folder yet in a fresh checkout.
        let default = root.path().join("target/libtorch");
        assert_eq!(choose(root.path(), None), Choice::Ours);
        assert_eq!(choose(root.path(), Some(&default)), Choice::Ours);
    }

    #[test]
    fn the_default_is_known_behind_another_path_to_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let (root, alias) = (folder.path().join("root"), folder.path().join("alias"));
        fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink(&root, &alias).unwrap();
        assert_eq!(
            choose(&root, Some(&alias.join("target/libtorch"))),
            Choice::Ours
        );
    }

    #[test]
    fn what_the_user_names_wins() {
        let root = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        for path in ["target/libtorch", "libtorch"] {
            let own = other.path().join(path);
            assert_eq!(choose(root.path(), Some(&own)), Choice::Own(own.clone()));
        }
        let default = root.path().join("target/libtorch");
        let choice = Choice::new(root.path(), Some(default.as_os_str()), true).unwrap();
        assert_eq!(choice, Choice::Pytorch);
    }

    #[test]
    fn an_empty_variable_is_an_error() {
        let error = Choice::new(Path::new("/"), Some(OsStr::new("")), false).unwrap_err();
        assert!(
            error.to_string().contains("LIBTORCH is set but empty"),
            "{error}"
        );
    }

    #[test]
    fn an_own_libtorch_is_checked() {
        let own = tempfile::tempdir().unwrap();
        let error = check_own(own.path()).unwrap_err().to_string();
        assert!(error.contains("no lib/libtorch_cpu.so"), "{error}");

        fs::create_dir(own.path().join("lib")).unwrap();
        fs::write(own.path().join("lib/libtorch_cpu.so"), "").unwrap();
        assert!(check_own(own.path()).unwrap().contains("unknown version"));

        fs::write(own.path().join("build-version"), "2.11.0+cu130\n").unwrap();
        assert_eq!(check_own(own.path()).unwrap(), "2.11.0+cu130");

        fs::write(own.path().join("build-version"), "2.10.0\n").unwrap();
        let error = check_own(own.path()).unwrap_err().to_string();
        assert_eq!(
            error,
            "this libtorch has version 2.10.0, but tch needs 2.11.0"
        );
    }
}
