//! Every numbered check taken out, one at a time: cargo-mutants removes no statements.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::Tree;
use super::runs::Outcome;

/// One check, and the text that takes it out.
#[derive(Debug, Deserialize)]
struct Removal {
    check: String,
    file: String,
    find: String,
    put: String,
}

/// Runs the tests without each check of `secagg/mutants/checks.json` (only those called one of
/// `names`, if there are any), and says which test noticed first. Returns whether each was noticed.
pub(super) fn run(tree: &Tree, names: &[String]) -> Result<bool> {
    let package = tree.root.join("secagg");
    let list = package.join("mutants/checks.json");
    let text =
        fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let removals: Vec<Removal> = serde_json::from_str(&text)?;
    let mut all = true;
    for removal in removals {
        if !names.is_empty() && !names.contains(&removal.check) {
            continue;
        }
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
        let outcome = tree.outcome(&removal.file);
        fs::write(&path, source)?;
        let by = match outcome? {
            Outcome::Caught(by) => format!("`{by}`"),
            Outcome::Limit => "the limit of processor time".into(),
            Outcome::Missed | Outcome::NotReached => "NO TEST NOTICED".into(),
            Outcome::Unviable => "IT DOES NOT COMPILE".into(),
        };
        all &= !by.starts_with(char::is_uppercase);
        let line = removal.find.lines().next().unwrap_or_default().trim();
        println!(
            "| {} | `{}` | `{line}` | {by} |",
            removal.check, removal.file
        );
    }
    Ok(all)
}
