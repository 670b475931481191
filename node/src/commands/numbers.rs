//! `numbers`: examples for a model that turns texts into others, numbers in words.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, ensure};
use secagg_wire::process::{Access, write_atomic};
use serde::Serialize;

use crate::numbers::{Numbers, Style};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file to write, JSON Lines: {"user": "person-0001", "text": "342<TAB>three four two"}.
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// How many people.
    #[arg(long, value_name = "N", default_value_t = 10)]
    people: u64,
    /// Lines of each person. Every tenth, which `add` holds out, has a number that nobody trains on.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pairs: u64,
    /// How many digits the numbers have.
    #[arg(long, value_name = "N..=N", default_value = "1..=4")]
    digits: Digits,
    /// How a number is said: three four two, or three hundred and forty-two.
    #[arg(long, value_enum, default_value_t)]
    style: Style,
    /// Fixes the numbers; people of another seed have others, and hold others out.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Replace a file that is there already.
    #[arg(long)]
    force: bool,
}

/// The fewest and the most digits, as `1..=4` or `3`.
#[derive(Clone, Debug)]
struct Digits(RangeInclusive<u32>);

impl FromStr for Digits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once("..=").unwrap_or((text, text));
        let number = |side: &str| {
            let number = side.trim().parse::<u32>();
            number.map_err(|_| format!("\"{text}\" is no range of digits like 1..=4"))
        };
        Ok(Self(number(least)?..=number(most)?))
    }
}

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    user: &'a str,
    text: &'a str,
}

/// The most lines that are made: a gigabyte or so.
const MAX_LINES: u64 = 10_000_000;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (people, pairs) = (arguments.people, arguments.pairs);
    let lines = people.saturating_mul(pairs);
    ensure!(
        (1..=MAX_LINES).contains(&lines),
        "{people} people with {pairs} lines each; there must be from 1 to {MAX_LINES} lines altogether"
    );
    let Digits(digits) = &arguments.digits;
    let numbers = Numbers::new(
        *digits.start(),
        *digits.end(),
        arguments.style,
        arguments.seed,
    )?;
    ensure!(
        arguments.force || !arguments.out.exists(),
        "{} is there already; take another name, or replace it with --force",
        arguments.out.display()
    );
    let mut file = String::new();
    for person in 0..people {
        let user = format!("person-{person:04}");
        for text in numbers.lines(person, pairs) {
            let line = Line {
                user: &user,
                text: &text,
            };
            writeln!(file, "{}", serde_json::to_string(&line)?)?;
        }
    }
    write_atomic(&arguments.out, file.as_bytes(), Access::Shared)
        .with_context(|| format!("cannot write {}", arguments.out.display()))?;
    println!(
        "{}: {people} people with {pairs} numbers each",
        arguments.out.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_a_range_or_a_number() {
        for (text, range) in [("1..=4", 1..=4), ("3", 3..=3), (" 2 ..= 12", 2..=12)] {
            assert_eq!(text.parse::<Digits>().unwrap().0, range);
        }
        for bad in ["", "1..4", "..=4", "-1", "1..=x"] {
            let error = bad.parse::<Digits>().unwrap_err();
            assert!(error.contains(&format!("\"{bad}\"")), "{error}");
        }
    }
}
