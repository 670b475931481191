//! `digits`: drawn digits, for models that classify images.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::digits::Sheet;
use crate::examples::{PIXELS, SIDE};
use crate::text::Idx;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file to write: JSON Lines in which each person is a user, or, with --labels, images in the IDX
    /// format.
    #[arg(value_name = "FILE")]
    out: PathBuf,
    /// How many people write.
    #[arg(long, value_name = "N", default_value_t = 10)]
    people: u32,
    /// Images of each person.
    #[arg(long, value_name = "N", default_value_t = 200)]
    images: u32,
    /// Number of the first person: others write otherwise, as is needed for a test of what was learnt.
    #[arg(long, value_name = "N", default_value_t = 0)]
    first_person: u32,
    /// Fixes all people and what they write.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Spread each person's digits unevenly, by a Dirichlet distribution with this concentration: at 0.1
    /// most people write one or two digits only, at 100 all about equally often. Without it: equally
    /// often.
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true)]
    alpha: Option<f64>,
    /// Write the labels here, and all images in the IDX format.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
}

/// The most images of all people together.
const MAX_IMAGES: u64 = 10_000_000;

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments {
        people,
        images,
        first_person,
        ..
    } = *arguments;
    let total = u64::from(people) * u64::from(images);
    ensure!(
        (1..=MAX_IMAGES).contains(&total),
        "--people {people} with --images {images} make {total} images; there must be from 1 to \
         {MAX_IMAGES}"
    );
    if let Some(alpha) = arguments.alpha {
        ensure!(
            alpha.is_finite() && alpha > 0.0,
            "--alpha is {alpha}; it must be above 0"
        );
    }
    let last = first_person.checked_add(people);
    let last = last.with_context(|| format!("--first-person {first_person} is too large"))?;
    let sheet = Sheet {
        seed: arguments.seed,
        images,
        alpha: arguments.alpha,
    };
    match &arguments.labels {
        None => write_lines(&arguments.out, sheet, first_person..last),
        Some(labels) => write_idx(&arguments.out, labels, sheet, first_person..last),
    }?;
    println!(
        "{}: {total} digits by {people} people",
        arguments.out.display()
    );
    Ok(())
}

fn write_lines(path: &Path, sheet: Sheet, people: std::ops::Range<u32>) -> anyhow::Result<()> {
    let named = || path.display().to_string();
    let mut file = BufWriter::new(File::create(path).with_context(named)?);
    for person in people {
        let user = format!("person-{person}");
        for image in sheet.person(person) {
            let line = json!({ "user": user, "text": image.to_line().as_str() });
            writeln!(file, "{line}").with_context(named)?;
        }
    }
    file.flush().with_context(named)
}

fn write_idx(
    path: &Path,
    labels_path: &Path,
    sheet: Sheet,
    people: std::ops::Range<u32>,
) -> anyhow::Result<()> {
    let mut pixels = Vec::new();
    let mut labels: Vec<u8> = Vec::new();
    for image in people.flat_map(|person| sheet.person(person)) {
        pixels.extend_from_slice(&*image.pixels);
        labels.push(image.label.parse().context("a digit is a number")?);
    }
    let count = pixels.len() / PIXELS;
    for (path, dimensions, elements) in [
        (path, vec![count, SIDE, SIDE], &pixels),
        (labels_path, vec![count], &labels),
    ] {
        let file = Idx {
            dimensions,
            elements,
        };
        fs::write(path, file.to_bytes()).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
