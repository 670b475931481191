//! Runs rounds under valgrind with their secrets marked: as they are, and with leaks.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
    process::{Command, Output},
    sync::OnceLock,
};

/// The program as users would build it: in development builds every addition checks for overflow,
/// which is a branch.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // Where cargo has put the debug build of the same program.
        let built = PathBuf::from(env!("CARGO_BIN_EXE_secagg-constant-time"));
        let target = built.ancestors().nth(2).unwrap();
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--release"])
            .args(["--package", env!("CARGO_PKG_NAME"), "--target-dir"])
            .arg(target)
            .status()
            .unwrap();
        assert!(status.success(), "the release build failed");
        target.join("release").join(built.file_name().unwrap())
    })
}

/// What memcheck says of a run; `None`, loudly, where there is no valgrind.
fn run(arguments: &[&str]) -> Option<Output> {
    let known = cfg!(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    ));
    let found = Command::new("valgrind").arg("--version").output();
    if !known || !found.is_ok_and(|output| output.status.success()) {
        // Past the test harness, which hides what a passing test prints.
        let message = "SKIPPED: constant time was not checked: valgrind is not installed\n";
        io::stderr().write_all(message.as_bytes()).unwrap();
        return None;
    }
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--error-limit=no"]);
    Some(valgrind.arg(program()).args(arguments).output().unwrap())
}

fn assert_clean(arguments: &[&str]) {
    if let Some(output) = run(arguments) {
        let report = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{report}");
    }
}

/// The same round as one that is clean, but for the leak: it fails there, and memcheck names the
/// function and what it did.
fn assert_found(leak: &str, function: &str, finding: &str) {
    let Some(output) = run(&["honest", "seeds", leak]) else {
        return;
    };
    let report = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("error: leaking: "), "{report}");
    let lines: Vec<&str> = report.lines().collect();
    // A line without text ends a record.
    let names_both = lines.split(|line| line.ends_with("== ")).any(|record| {
        record.iter().any(|line| line.ends_with(finding))
            && record.iter().any(|line| line.contains(function))
    });
    assert!(names_both, "{report}");
}

#[test]
fn seeds_decide_nothing_where_the_server_is_not_trusted() {
    assert_clean(&["malicious", "seeds", "nothing"]);
}

#[test]
fn seeds_decide_nothing_where_the_server_is_trusted() {
    assert_clean(&["honest", "seeds", "nothing"]);
}

#[test]
fn inputs_decide_nothing_but_whether_they_are_in_range() {
    assert_clean(&["honest", "inputs", "nothing"]);
}

#[test]
fn secret_shares_are_put_together_without_a_decision() {
    assert_clean(&["shamir"]);
}

#[test]
fn a_table_look_up_is_found() {
    let finding = "Use of uninitialised value of size 8";
    assert_found("look-up", "multiply_by_tables", finding);
}

#[test]
fn a_branch_is_found() {
    let finding = "Conditional jump or move depends on uninitialised value(s)";
    assert_found("branch", "count_nonzero_bytes", finding);
}
