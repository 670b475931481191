//! Fails at once, with one clear message, when a build of `node` will find no libtorch.
//!
//! Without this, torch-sys would say the same thing minutes later as a wall of C++ errors.

use std::env;
use std::path::{Path, PathBuf};

/// Either is enough: some builds of libtorch have no `libtorch_cpu.so` of their own.
const LIBRARIES: [&str; 2] = ["libtorch_cpu.so", "libtorch.so"];

fn main() {
    // The variables that torch-sys goes by. Cargo sets LIBTORCH from `.cargo/config.toml` when
    // the user does not.
    for name in ["LIBTORCH", "LIBTORCH_LIB", "LIBTORCH_USE_PYTORCH"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        return;
    }
    let folder = ["LIBTORCH_LIB", "LIBTORCH"]
        .into_iter()
        .find_map(env::var_os)
        // Where torch-sys looks last.
        .map_or_else(|| PathBuf::from("/usr"), PathBuf::from)
        .join("lib");
    // Whichever of them appears or vanishes later, this script runs again.
    for library in LIBRARIES {
        let path = folder.join(library);
        if path.is_file() {
            println!("cargo::rerun-if-changed={}", path.display());
            return;
        }
    }
    complain(&folder);
}

/// Says what is missing and what to do. Cargo prints such an error as it is and fails, without
/// the wall of output that a script gets that exits with a failure.
fn complain(folder: &Path) {
    println!(
        "cargo::error=libtorch is not there: run `cargo xtask libtorch`, then build again. \
         (There is no {} in {}. A libtorch 2.11.0 of your own is used with \
         LIBTORCH=/path/to/libtorch, or with LIBTORCH_USE_PYTORCH=1 where python3 has torch \
         2.11.0.)",
        LIBRARIES[0],
        folder.display()
    );
}
