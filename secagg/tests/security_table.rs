//! The table of attacks in SECURITY.md against the code: every numbered check stands in it and in a
//! comment beside the check, and every test that it names exists.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap fails the test"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The workspace, where SECURITY.md is and from where it names files.
fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap().to_path_buf()
}

/// The rows of the table, split into cells.
fn rows() -> Vec<[String; 3]> {
    let text = fs::read_to_string(workspace().join("SECURITY.md")).unwrap();
    let table = text
        .lines()
        .skip_while(|line| !line.starts_with("| attack | checks |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let rows = table.map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        [(); 3].map(|()| cells.next().unwrap().to_owned())
    });
    rows.collect()
}

/// The numbers of checks in a text, each with what follows it.
fn numbers(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.match_indices("V-").filter_map(|(at, _)| {
        let (number, rest) = text[at..].split_at_checked(4)?;
        let digits = number[2..].bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| (number.to_owned(), rest))
    })
}

/// The numbers in the comments of every source file below a folder.
fn in_comments(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            in_comments(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            // Tests name checks; the comment beside the check is what is asked for.
            && path.file_name().is_some_and(|name| name != "tests.rs")
        {
            let text = fs::read_to_string(path).unwrap();
            let comments = text.lines().map(str::trim_start);
            for line in comments.filter(|line| line.starts_with("//")) {
                found.extend(numbers(line).map(|(number, _)| number));
            }
        }
    }
}

#[test]
fn every_check_stands_in_the_table_and_in_the_code() {
    let mut code = BTreeSet::new();
    in_comments(&workspace().join("secagg/src"), &mut code);
    let (mut here, mut elsewhere) = (BTreeSet::new(), BTreeSet::new());
    for [_, checks, _] in rows() {
        for (number, rest) in numbers(&checks) {
            let of_the_node = rest.starts_with(" (node)");
            let numbers = if of_the_node {
                &mut elsewhere
            } else {
                &mut here
            };
            numbers.insert(number);
        }
    }
    assert_eq!(here, code);
    let mut node = BTreeSet::new();
    in_comments(&workspace().join("node/src"), &mut node);
    assert_eq!(elsewhere, node);
    // Together they are all the numbers there are.
    let all = here.union(&elsewhere).cloned();
    assert!(all.eq((1..=45).map(|number| format!("V-{number:02}"))));
}

#[test]
fn every_test_in_the_table_exists() {
    let mut count = 0;
    for [attack, _, tests] in rows() {
        // Between backticks: a file and a function.
        for name in tests.split('`').skip(1).step_by(2) {
            let (file, function) = name.split_once("::").unwrap();
            let text = fs::read_to_string(workspace().join(file));
            let text = text.unwrap_or_else(|error| panic!("{attack}: {file}: {error}"));
            let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
            let declared = format!("fn {function}(");
            let tested = lines
                .windows(2)
                .any(|pair| match pair[1].strip_prefix("async ") {
                    Some(test) => {
                        pair[0].starts_with("#[tokio::test") && test.starts_with(&declared)
                    }
                    None => pair[0] == "#[test]" && pair[1].starts_with(&declared),
                });
            assert!(tested, "{attack}: {name} is no test");
            count += 1;
        }
    }
    assert!(count > 50, "the table was not found");
}
