//! Every numbered check taken out, one at a time: cargo-mutants removes no statements.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// One check, and the text that takes it out.
#[derive(Debug, Deserialize)]
struct Removal {
    check: String,
    file: String,
    find: String,
    put: String,
}

/// Runs the tests without each check of `secagg/mutants/checks.json`, and says which test noticed
/// first. Returns whether each was noticed.
pub(crate) fn run(tree: &Path, test: impl Fn() -> Command) -> Result<bool> {
    let package = tree.join("secagg");
    let list = package.join("mutants/checks.json");
    let text =
        fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let removals: Vec<Removal> = serde_json::from_str(&text)?;
    let mut all = true;
    for removal in removals {
        let path = package.join(&removal.file);
        let source =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(
            source.matches(&removal.find).count() == 1,
            "{} does not stand once in {}: the list is older than the code",
            removal.find,
            removal.file
        );
        fs::write(&path, source.replace(&removal.find, &removal.put))?;
        let output = test().output().context("cannot start cargo");
        fs::write(&path, source)?;
        let noticed = noticed(&output?);
        all &= noticed.is_some();
        let line = removal.find.lines().next().unwrap_or_default().trim();
        let by = noticed.unwrap_or_else(|| "NO TEST NOTICED, OR IT DOES NOT COMPILE".into());
        println!(
            "| {} | `{}` | `{line}` | {by} |",
            removal.check, removal.file
        );
    }
    Ok(all)
}

/// The first test that failed.
fn noticed(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = text.lines().find_map(|line| {
        let name = line.strip_prefix("test ")?.split(" ... FAILED").next()?;
        line.contains("FAILED").then(|| name.to_owned())
    });
    failed.filter(|_| !output.status.success())
}
