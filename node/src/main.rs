//! The `secagg-node` binary: see the library.

fn main() -> std::process::ExitCode {
    secagg_node::commands::main()
}
