//! `cargo xtask mutants`: which changes to `secagg` its tests do not notice.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::process::{self, cargo};
use crate::workspace;

mod checks;

/// Arguments of `cargo xtask mutants`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leave out the tests of whole rounds and attacks: enough for most of the arithmetic.
    #[arg(long)]
    units: bool,
    /// Instead, take out the numbered checks of `secagg/mutants/checks.json`, one at a time.
    #[arg(long)]
    checks: bool,
    /// Passed on to cargo-mutants: `--file secagg/src/server/**`, `--shard 3/20`, `--iterate`.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENT"
    )]
    rest: Vec<String>,
}

/// Clones what is committed, compiles the integration tests into the unit tests there, and runs
/// cargo-mutants in the clone. Its answers lie in `target/mutants/mutants.out`.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut version = cargo();
    version
        .args(["mutants", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    ensure!(
        version.status().is_ok_and(|status| status.success()),
        "cargo-mutants is not installed: `cargo install --locked cargo-mutants`"
    );
    let folder = workspace::target().join("mutants");
    let tree = folder.join("tree");
    clone_head(&tree)?;
    merge_tests(&tree)?;

    let prepared = || {
        let mut command = cargo();
        command
            .current_dir(&tree)
            .env("CARGO_TARGET_DIR", folder.join("target"))
            .env("PROPTEST_CASES", "16");
        command
    };
    let skipped = SLOW.into_iter().chain(
        ROUNDS
            .iter()
            .map(|(module, _)| *module)
            .filter(|_| arguments.units),
    );
    let of_harness: Vec<&str> = ["-Z", "unstable-options", "--fail-fast"]
        .into_iter()
        .chain(skipped.flat_map(|test| ["--skip", test]))
        .collect();
    if arguments.checks {
        let noticed = checks::run(&tree, || {
            let mut test = prepared();
            test.args(["test", "--package", "secagg"])
                .args(BUILD)
                .arg(format!("--config={RUNNER}"))
                .arg("--")
                .args(&of_harness);
            test
        })?;
        return Ok(if noticed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }

    let mut mutants = prepared();
    mutants
        .args(["mutants", "--package", "secagg", "--in-place"])
        // A mutant may take long because the machine is busy: RUNNER limits processor time.
        .args(["--baseline", "skip", "--timeout", "3600"])
        .arg("--output")
        .arg(&folder);
    for file in NOT_THE_PRODUCT {
        mutants.args(["--exclude", file]);
    }
    for argument in BUILD {
        mutants.arg(format!("--cargo-arg={argument}"));
    }
    mutants.arg(format!("--cargo-arg=--config={RUNNER}"));
    mutants
        .args(&arguments.rest)
        .args(["--", "--"])
        .args(&of_harness);
    Ok(process::exit_code(process::status(&mut mutants)?))
}

/// What no user runs: the seam for fuzzing and the door for benches.
const NOT_THE_PRODUCT: [&str; 4] = [
    "secagg/src/fuzzing.rs",
    "secagg/src/fuzzing/**",
    "secagg/src/internals.rs",
    "secagg/src/internals/**",
];

/// Compiling takes longer than testing, so the crate is not optimised.
const BUILD: [&str; 4] = [
    "--lib",
    "--config=profile.dev.package.secagg.opt-level=0",
    "--config=profile.dev.package.secagg.codegen-units=256",
    "--config=profile.dev.debug=false",
];

/// A mutant that never ends is ended by the system, and counts as caught, with SIGXCPU in its log.
/// Stopping at the first failure is an option that the test harness has only when asked like this.
const RUNNER: &str = r#"target.'cfg(unix)'.runner=["sh", "-c", "ulimit -t 120; ulimit -v 8000000; exec env RUSTC_BOOTSTRAP=1 \"$0\" \"$@\""]"#;

/// Tests that take as long as all others: they visit the whole field or every value of a byte.
const SLOW: [&str; 4] = [
    "one_share_fewer_is_consistent_with_every_seed",
    "values_are_those_of_horners_rule",
    "all_points_of_the_field_are_reached",
    "the_bounds_that_would_do_are_the_largest",
];

/// The integration tests, by the name of the module that they become. Tests run in the order of
/// their names: those that notice most in the shortest time come first.
const ROUNDS: [(&str, &str); 9] = [
    ("a0_vectors", "vectors.rs"),
    ("a1_messages", "messages.rs"),
    ("a2_errors", "errors.rs"),
    ("a3_parameters", "parameters.rs"),
    ("a4_simulator", "simulator.rs"),
    ("a5_attacks", "attacks/main.rs"),
    ("it_sparse", "sparse.rs"),
    ("it_traffic", "traffic.rs"),
    ("it_wrong_shares", "wrong_shares.rs"),
];

/// A clone of what is committed, or the clone of last time brought to it.
fn clone_head(tree: &Path) -> Result<()> {
    let git = |folder: &Path, arguments: &[&str]| -> Result<()> {
        let mut git = Command::new("git");
        git.current_dir(folder).args(arguments);
        ensure!(
            process::status(&mut git)?.success(),
            "git could not bring {} to what is committed",
            tree.display()
        );
        Ok(())
    };
    if !tree.exists() {
        fs::create_dir_all(tree).with_context(|| format!("cannot make {}", tree.display()))?;
        git(tree, &["init", "--quiet"])?;
    }
    let root = workspace::root();
    let root = root
        .to_str()
        .context("the path of the checkout is not UTF-8")?;
    git(tree, &["fetch", "--quiet", root, "HEAD"])?;
    git(tree, &["reset", "--quiet", "--hard", "FETCH_HEAD"])
}

/// Makes the integration tests modules of the crate's unit tests: one crate is compiled again for a
/// mutant, and not ten.
fn merge_tests(tree: &Path) -> Result<()> {
    let edit = |path: &Path, change: &dyn Fn(String) -> String| -> Result<()> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        fs::write(path, change(text)).with_context(|| format!("cannot write {}", path.display()))
    };
    edit(&tree.join("secagg/src/lib.rs"), &|text| {
        let mut text = text.replace("#![no_std]\n", "#![cfg_attr(not(test), no_std)]\n");
        text.push_str("\n#[cfg(test)]\nextern crate self as secagg;\n");
        for (module, file) in ROUNDS {
            text.push_str(&format!(
                "#[cfg(test)]\n#[path = \"../tests/{file}\"]\nmod {module};\n"
            ));
        }
        text
    })?;
    let attacks = tree.join("secagg/tests/attacks");
    let files = fs::read_dir(&attacks)
        .with_context(|| format!("cannot read {}", attacks.display()))?
        .collect::<Result<Vec<_>, _>>()?;
    for file in files {
        edit(&file.path(), &|text| {
            text.replace("crate::", "crate::a5_attacks::")
        })?;
    }
    Ok(())
}
