//! Where things lie in this workspace.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    // Known when this package is compiled: cargo compiles it again when the checkout moves.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Cargo's target directory: `CARGO_TARGET_DIR`, or `target` in the root.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(path) if !path.is_empty() => env::current_dir().unwrap_or_default().join(path),
        _ => root().join("target"),
    }
}

/// Where `.cargo/config.toml` looks for libtorch when the user names none. Cargo does not move
/// this path with `CARGO_TARGET_DIR`.
pub(crate) fn libtorch_link() -> PathBuf {
    root().join("target").join("libtorch")
}
