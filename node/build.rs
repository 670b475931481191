//! Tells the linker where libtorch lies, so that the binaries and tests start without
//! `LD_LIBRARY_PATH`.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // torch-sys says in its metadata which libtorch it was built with.
    let Some(libtorch) = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        return;
    };
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", libtorch.display());

    // Whoever exchanges a libtorch for one with CUDA in the same place exchanges this file.
    println!(
        "cargo::rerun-if-changed={}",
        libtorch.join("libtorch.so").display()
    );
    // Nothing names a symbol of the CUDA library: it registers itself when it is loaded, and the
    // linker would leave it out.
    if libtorch.join("libtorch_cuda.so").is_file() {
        for argument in [
            "-Wl,--no-as-needed",
            "-ltorch",
            "-ltorch_cuda",
            "-Wl,--as-needed",
        ] {
            println!("cargo::rustc-link-arg={argument}");
        }
    }
}
