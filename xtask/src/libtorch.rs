//! `cargo xtask libtorch`: a libtorch for `tch`, without asking for one.
//!
//! A CPU build of libtorch is taken out of pinned Python wheels, which a machine gets from
//! whatever package index its pip is configured for, and kept in a per-user cache that every
//! checkout links to. A libtorch that the user names wins.

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::workspace;

mod cache;
mod choice;
mod pins;
mod python;

use cache::Cache;
use choice::Choice;
use python::Python;

/// The only version that the pinned `tch` builds with.
const VERSION: &str = "2.11.0";

/// What to do when libtorch cannot be fetched.
const WAYS_OUT: &str = "Connect this machine to its Python package index once and run \
    `cargo xtask libtorch` again, or use a libtorch 2.11.0 of your own: set \
    LIBTORCH=/path/to/libtorch, or LIBTORCH_USE_PYTORCH=1 where python3 has torch 2.11.0";

/// `cargo xtask libtorch`.
pub(crate) fn run() -> Result<ExitCode> {
    ensure()?;
    Ok(ExitCode::SUCCESS)
}

/// Makes sure that a build of `node` will find libtorch, and says which one it will be.
///
/// # Errors
///
/// When the user's own libtorch is missing or of another version, or when there is none yet and
/// it cannot be fetched.
pub(crate) fn ensure() -> Result<()> {
    match choice()? {
        Choice::Pytorch => {
            let version = Python::for_torch_sys().torch_version()?;
            choice::check_version(&version).context("LIBTORCH_USE_PYTORCH is set")?;
            eprintln!("libtorch: the torch {version} of your Python (LIBTORCH_USE_PYTORCH is set)");
        }
        Choice::Own(path) => {
            let version = choice::check_own(&path)?;
            eprintln!(
                "libtorch: your own, {version}, in {} (LIBTORCH)",
                path.display()
            );
        }
        Choice::Ours => {
            let cache = Cache::of_user()?;
            cache.fill(&Python::default())?;
            let link = workspace::libtorch_link();
            cache.link_to(&link)?;
            eprintln!("libtorch: {VERSION}, CPU, in {}", cache.path().display());
        }
    }
    Ok(())
}

/// Whether a build uses our own libtorch, not one that the user has named.
pub(crate) fn is_default() -> bool {
    matches!(choice(), Ok(Choice::Ours))
}

fn choice() -> Result<Choice> {
    Choice::new(
        workspace::root(),
        env::var_os("LIBTORCH").as_deref(),
        env::var_os("LIBTORCH_USE_PYTORCH").is_some(),
    )
}
