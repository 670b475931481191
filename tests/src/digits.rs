//! Drawn digits, for models that classify images.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    binaries::{self, Build},
    process::succeed,
};

/// Draws digits into a file of JSON Lines, with `digits` and these options of it; the lines of each
/// person.
///
/// # Errors
/// When the command fails.
pub fn draw(path: &Path, options: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut command = Command::new(binaries::node(Build::Hooks)?);
    succeed(command.arg("digits").arg(path).args(options))?;
    let mut people: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in fs::read_to_string(path)?.lines() {
        let line: Value = serde_json::from_str(line)?;
        let [user, text] = ["user", "text"].map(|field| line[field].as_str().map(str::to_owned));
        let (user, text) = user.zip(text).context("a line without a user or a text")?;
        people.entry(user).or_default().push(text);
    }
    Ok(people.into_values().collect())
}

/// The share of digits in a file that a model with these weights tells right.
///
/// # Errors
/// When `eval` fails.
pub fn accuracy(model: &Path, weights: &Path, digits: &Path) -> Result<f64> {
    let mut command = Command::new(binaries::node(Build::Hooks)?);
    command.args(["eval", "--json", "--model"]).arg(model);
    command.arg("--weights").arg(weights);
    command.arg("--text").arg(digits);
    let report: Value = serde_json::from_str(&succeed(&mut command)?)?;
    let accuracy = report["accuracy"].as_f64();
    accuracy.with_context(|| format!("no accuracy in {report}"))
}
