//! `audit`: what this node did in which rounds, from its ledger.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::json;
use time::OffsetDateTime;

use crate::participate::ledger::{Entry, Hash, LEDGER_FILE, Record};
use crate::participate::policy::NodePolicy;
use crate::participate::receipts::{Outcome, Receipt, receipts};
use crate::participate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The node's directory.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Fail unless the ledger goes on from this check, as an earlier audit printed it.
    #[arg(long, value_name = "CHECK")]
    noted: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { dir, noted, json } = arguments;
    let settings = Settings::read(dir)?;
    let policy = NodePolicy::read(dir)?;
    if !dir.join(LEDGER_FILE).exists() {
        bail!(
            "{} has no {LEDGER_FILE}: this node has taken part in no round, or the file was removed",
            dir.display()
        );
    }
    let record = Record::read(dir)?;
    if let Some(noted) = noted {
        check_noted(&record, noted)?;
    }
    let entries = || record.lines.iter().map(|(_, entry)| entry);
    let receipts = receipts(entries());
    let findings: Vec<String> = receipts
        .iter()
        .flat_map(|receipt| receipt.below(&policy))
        .collect();
    if *json {
        let lines = record.lines.iter();
        return super::print_json(&json!({
            "node": settings.name,
            "client": settings.client_id.to_string(),
            "check": record.check(),
            "last_line_cut": record.cut,
            "lines": lines.map(|(check, entry)| json!({ "check": check, "entry": entry }))
                .collect::<Vec<_>>(),
            "below_policy": findings,
        }));
    }
    let mut text = table(&receipts);
    for (what, counts) in digests(entries()) {
        for (digest, count) in counts {
            let _ = writeln!(text, "{what} {digest}: {count} rounds");
        }
    }
    for finding in &findings {
        let _ = writeln!(text, "below the policy as it is now: {finding}");
    }
    if record.cut {
        text += "the last line is not whole: it is being written, or a crash cut it off\n";
    }
    let _ = writeln!(
        text,
        "{} lines, none changed or removed before the last one; check {}",
        record.lines.len(),
        record.check()
    );
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write")
}

/// Whether lines were cut off at the end shows only to who has noted where it was.
fn check_noted(record: &Record, noted: &str) -> anyhow::Result<()> {
    let found = record
        .lines
        .iter()
        .any(|(check, _)| check.to_string() == noted);
    if !found && record.check().to_string() != noted {
        bail!(
            "no line has the check {noted}: lines were removed or rewritten since it was noted, or it \
             is another node's"
        );
    }
    Ok(())
}

/// One row a round, the oldest first.
fn table(receipts: &[Receipt]) -> String {
    let mut text = format!(
        "{:<16}  {:>5}  {:>7}  {:<18}  {:>5}  {:>10}  {:>9}  {:>10}  {}\n",
        "when (UTC)",
        "round",
        "attempt",
        "threat model",
        "nodes",
        "neighbours",
        "threshold",
        "in the sum",
        "what this node did",
    );
    for receipt in receipts {
        let cell = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let upload = receipt.upload.as_ref();
        let outcome = match receipt.outcome() {
            Outcome::Joined => "joined, sent no vector".to_owned(),
            Outcome::Uploaded => "sent its masked vector, revealed nothing".to_owned(),
            Outcome::Revealed => "helped to open the sum".to_owned(),
            Outcome::Left { uploaded, reason } => {
                let sent = if uploaded {
                    "revealed nothing"
                } else {
                    "sent no vector"
                };
                format!("left, {sent}: {reason}")
            }
        };
        let _ = writeln!(
            text,
            "{:<16}  {:>5}  {:>7}  {:<18}  {:>5}  {:>10}  {:>9}  {:>10}  {outcome}",
            when(receipt.at),
            receipt.round,
            receipt.attempt,
            receipt
                .join
                .as_ref()
                .map_or("-", |join| join.threat_model.as_str()),
            cell(upload.map(|upload| upload.cohort)),
            cell(upload.map(|upload| upload.degree)),
            cell(upload.map(|upload| upload.threshold)),
            cell(receipt.reveal.as_ref().map(|reveal| reveal.survivors)),
        );
    }
    text
}

/// How many rounds each model and each plan had.
fn digests<'a>(
    entries: impl Iterator<Item = &'a Entry>,
) -> [(&'static str, BTreeMap<Hash, u32>); 2] {
    let (mut models, mut plans) = (BTreeMap::new(), BTreeMap::new());
    for entry in entries {
        if let Some(join) = entry.joined() {
            *models.entry(join.architecture).or_insert(0) += 1;
            *plans.entry(join.plan).or_insert(0) += 1;
        }
    }
    [("model", models), ("plan", plans)]
}

/// To the minute, as people read it.
fn when(at: u64) -> String {
    let moment = i64::try_from(at)
        .ok()
        .map(OffsetDateTime::from_unix_timestamp);
    match moment {
        Some(Ok(moment)) => format!(
            "{}-{:02}-{:02} {:02}:{:02}",
            moment.year(),
            u8::from(moment.month()),
            moment.day(),
            moment.hour(),
            moment.minute()
        ),
        _ => format!("{at} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_to_the_minute() {
        assert_eq!(when(0), "1970-01-01 00:00");
        assert_eq!(when(1_700_049_659), "2023-11-15 12:00");
        assert_eq!(when(u64::MAX), format!("{} s", u64::MAX));
    }
}
