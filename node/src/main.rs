//! The `secagg-node` binary: see the library.

// Under it nothing is sealed and anybody can sign: see secagg/src/lib.rs.
#[cfg(fuzzing)]
compile_error!("`--cfg fuzzing` is for fuzz targets: programs built with it protect nobody");

fn main() -> std::process::ExitCode {
    secagg_node::commands::main()
}
