//! The examples say and assert what they should: `cargo test` builds them, and this runs them.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::{env, path::Path, process::Command};

/// What an example prints. Cargo puts examples beside the folder of the tests.
fn output_of(example: &str) -> String {
    let test = env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let example = profile.join("examples").join(example);
    assert!(
        Path::new(&example)
            .with_extension(env::consts::EXE_EXTENSION)
            .is_file(),
        "{} is not there: build it with `cargo build -p secagg --examples`",
        example.display()
    );
    let output = Command::new(example).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_histogram_counts_everybody() {
    let printed = output_of("private_histogram");
    assert!(
        printed.starts_with("under 20     1\n20 to 39     4\n"),
        "{printed}"
    );
}

#[test]
fn a_mean_is_over_those_who_stayed() {
    let printed = output_of("private_mean");
    let expected = "10 readings of 6 clients, 5.3875 degrees on average\n";
    assert_eq!(printed, expected);
}

#[test]
fn a_sum_between_threads_survives_a_loss() {
    let printed = output_of("sum_between_threads");
    assert!(printed.starts_with("lost in masked-input: "), "{printed}");
    let expected = "the sum of those who stayed: [21, 2100]\n";
    assert!(printed.ends_with(expected), "{printed}");
}
