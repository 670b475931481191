//! The picture that makes the point: one node's update in the clear, as the coordinator received
//! it, and the sum, with two statistical tests of what was received.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::packed::{packed_len, unpack};
use super::png::{Colour, Picture};
use super::statistics::{ByteTest, correlation_limit, pearson};
use super::tensors::Tensors;

/// Rows of the picture: so many words of the vocabulary.
const ROWS: usize = 96;

/// The tensor that is shown: one row for each word.
const TENSOR: &str = "embedding";

/// The special tokens at the start of the vocabulary, which are left out.
const SPECIAL: usize = 4;

/// One update in the clear, masked, and in the sum.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Exhibit {
    /// Whose update.
    pub(crate) node: String,
    /// In which round.
    pub(crate) round: u64,
    /// Nodes in the sum.
    pub(crate) contributors: u32,
    /// Whether the picture of the sum shows the decoded mean of the updates itself, and not what an
    /// adaptive optimiser made of it.
    pub(crate) plain_mean: bool,
    /// Numbers of the update.
    pub(crate) elements: usize,
    /// Bits of a number in the masked vector.
    pub(crate) bits: u32,
    /// BLAKE3 of the masked vector that the node has sent.
    pub(crate) sent_blake3: String,
    /// BLAKE3 of the masked vector that the coordinator has received.
    pub(crate) received_blake3: String,
    /// The masked vector under both tests.
    pub(crate) masked: Tests,
    /// The same vector before it was masked, packed in the same way.
    pub(crate) unmasked: Tests,
    /// Correlation of the decoded sum with the node's clear update.
    pub(crate) sum_correlation: f64,
    /// The pictures: clear, masked, sum.
    #[serde(skip)]
    pub(crate) pictures: Option<[Picture; 3]>,
}

/// Both tests of one vector.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Tests {
    /// χ² over the packed bytes.
    pub(crate) bytes: ByteTest,
    /// Pearson's r with the clear update.
    pub(crate) correlation: f64,
    /// The |r| below which it passes: 4/√m.
    pub(crate) correlation_limit: f64,
    /// Whether bytes pass as uniform and numbers as uncorrelated.
    pub(crate) looks_like_noise: bool,
}

impl Tests {
    fn of(packed: &[u8], numbers: &[f64], clear: &[f64]) -> Self {
        let bytes = ByteTest::of(packed);
        let correlation = pearson(numbers, clear);
        let correlation_limit = correlation_limit(clear.len());
        Self {
            bytes,
            correlation,
            correlation_limit,
            looks_like_noise: bytes.passes() && correlation.abs() < correlation_limit,
        }
    }

    /// Whether it fails both tests.
    pub(crate) fn fails_both(&self) -> bool {
        !self.bytes.passes() && self.correlation.abs() >= self.correlation_limit
    }
}

/// What the picture is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources<'a> {
    /// The node.
    pub(crate) node: &'a str,
    /// The round.
    pub(crate) round: u64,
    /// Nodes in the sum.
    pub(crate) contributors: u32,
    /// How the coordinator moves the weights.
    pub(crate) step: Step,
    /// Where the node has written its update.
    pub(crate) dump: &'a Path,
    /// Bits of a number in the masked vector.
    pub(crate) bits: u32,
    /// What the coordinator has logged.
    pub(crate) received_blake3: &'a str,
    /// The global weights a round earlier, where there was one.
    pub(crate) earlier: Option<&'a Path>,
    /// The global weights before the round.
    pub(crate) before: &'a Path,
    /// The global weights after the round.
    pub(crate) after: &'a Path,
}

/// How the coordinator moves the weights by the mean of the updates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// m ← momentum·m + mean, and the weights by rate·m: `fedavg` with a momentum of 0, `fedavgm`.
    Linear {
        /// Of the coordinator.
        rate: f64,
        /// Of the coordinator.
        momentum: f64,
    },
    /// In another way, from which the mean cannot be told.
    Adaptive,
}

impl Exhibit {
    /// Reads, tests, draws.
    ///
    /// # Errors
    ///
    /// When a file is missing or does not have the size that the others ask for.
    pub(crate) fn new(sources: Sources<'_>) -> Result<Self> {
        let read = |name: &str| {
            let path = sources.dump.join(name);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let clear: Vec<f64> = floats(&read("update-clear.f32")?)?;
        let (quantised, masked) = (read("quantised.bin")?, read("masked.bin")?);
        let before = Tensors::read(sources.before)?;
        let after = Tensors::read(sources.after)?;
        ensure!(
            clear.len() == before.len() && clear.len() == after.len(),
            "the update has {} numbers, the weights before {} and after {}",
            clear.len(),
            before.len(),
            after.len()
        );
        let earlier = sources.earlier.map(Tensors::read).transpose()?;
        let sum = decoded(
            sources.step,
            earlier.as_ref().unwrap_or(&before),
            &before,
            &after,
        );

        let packed = packed_len(clear.len(), sources.bits);
        // The uploaded message begins with a header; the dump of the vector before masking has none.
        let header = masked.len().saturating_sub(quantised.len());
        let masked_vector = masked.get(header..).unwrap_or_default();
        let (masked_packed, quantised_packed) =
            (part(masked_vector, packed)?, part(&quantised, packed)?);
        let masked_numbers = unpack(masked_packed, clear.len(), sources.bits);
        let unmasked_numbers = unpack(quantised_packed, clear.len(), sources.bits);

        let window = Window::of(&before)?;
        let centre = 2_f64.powi(i32::try_from(sources.bits)? - 1);
        let pictures = [
            window.picture(&clear, 3.0 * window.deviation(&clear))?,
            window.picture(&centred(&masked_numbers, centre), centre)?,
            window.picture(&sum, 3.0 * window.deviation(&sum))?,
        ];
        Ok(Self {
            node: sources.node.to_owned(),
            round: sources.round,
            contributors: sources.contributors,
            plain_mean: sources.step != Step::Adaptive,
            elements: clear.len(),
            bits: sources.bits,
            sent_blake3: blake3::hash(&masked).to_hex().to_string(),
            received_blake3: sources.received_blake3.to_owned(),
            masked: Tests::of(masked_packed, &masked_numbers, &clear),
            unmasked: Tests::of(quantised_packed, &unmasked_numbers, &clear),
            sum_correlation: pearson(&sum, &clear),
            pictures: Some(pictures),
        })
    }

    /// Whether what the node has sent is what the coordinator has received.
    pub(crate) fn hashes_agree(&self) -> bool {
        self.sent_blake3 == self.received_blake3
    }
}

/// The mean of the updates, from how the weights moved in this round and in the one before; where
/// it cannot be told, how they moved.
fn decoded(step: Step, earlier: &Tensors, before: &Tensors, after: &Tensors) -> Vec<f64> {
    let (rate, momentum) = match step {
        Step::Linear { rate, momentum } => (rate, momentum),
        Step::Adaptive => (1.0, 0.0),
    };
    let moved = |from: f32, to: f32| f64::from(to) - f64::from(from);
    let weights = earlier
        .values()
        .iter()
        .zip(before.values())
        .zip(after.values());
    weights
        .map(|((&earlier, &before), &after)| {
            (moved(before, after) - momentum * moved(earlier, before)) / rate
        })
        .collect()
}

/// A corner of the tensor that is shown.
#[derive(Clone, Copy, Debug)]
struct Window {
    offset: usize,
    columns: usize,
    rows: usize,
}

impl Window {
    fn of(tensors: &Tensors) -> Result<Self> {
        let found = tensors.find(TENSOR);
        let (offset, shape) = found.with_context(|| format!("no tensor is called {TENSOR}"))?;
        let &[words, columns] = shape else {
            anyhow::bail!("{TENSOR} has {} dimensions, not two", shape.len());
        };
        let skipped = SPECIAL.min(words.saturating_sub(1));
        Ok(Self {
            offset: offset + skipped * columns,
            columns,
            rows: ROWS.min(words - skipped),
        })
    }

    fn of_vector<'a>(&self, vector: &'a [f64]) -> &'a [f64] {
        &vector[self.offset..self.offset + self.rows * self.columns]
    }

    fn deviation(&self, vector: &[f64]) -> f64 {
        let part = self.of_vector(vector);
        let squares: f64 = part.iter().map(|value| value * value).sum();
        (squares / part.len() as f64).sqrt()
    }

    /// Zero in the middle of the palette, ±`reach` at its ends. A row of the picture is an element
    /// of the words' vectors, a column is a word.
    fn picture(&self, vector: &[f64], reach: f64) -> Result<Picture> {
        let part = self.of_vector(vector);
        let mut pixels = Vec::with_capacity(part.len());
        for column in 0..self.columns {
            for row in 0..self.rows {
                pixels.push(level(part[row * self.columns + column], reach));
            }
        }
        let width = u32::try_from(self.rows)?;
        Picture::new(width, palette(), pixels).context("the picture has no pixel")
    }
}

/// Levels on each side of zero.
const SIDE: u8 = 127;

fn level(value: f64, reach: f64) -> u8 {
    let share = if reach > 0.0 {
        (value / reach).clamp(-1.0, 1.0)
    } else {
        0.0
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 254, by the clamp"
    )]
    let level = (f64::from(SIDE) * (1.0 + share)).round() as u8;
    level
}

/// From blue over near-white to orange: told apart by people who cannot tell red from green.
fn palette() -> Vec<Colour> {
    const ENDS: [Colour; 3] = [[24, 78, 170], [244, 243, 238], [196, 82, 8]];
    let mix = |from: u8, to: u8, share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between two bytes"
        )]
        let mixed = (f64::from(from) + share * (f64::from(to) - f64::from(from))).round() as u8;
        mixed
    };
    (0..=2 * SIDE)
        .map(|level| {
            let share = f64::from(level) / f64::from(SIDE);
            let (from, to, share) = if share <= 1.0 {
                (ENDS[0], ENDS[1], share)
            } else {
                (ENDS[1], ENDS[2], share - 1.0)
            };
            std::array::from_fn(|channel| mix(from[channel], to[channel], share))
        })
        .collect()
}

fn centred(numbers: &[f64], centre: f64) -> Vec<f64> {
    numbers.iter().map(|number| number - centre).collect()
}

fn floats(bytes: &[u8]) -> Result<Vec<f64>> {
    let (floats, rest) = bytes.as_chunks::<4>();
    ensure!(rest.is_empty(), "the clear update ends within a number");
    Ok(floats
        .iter()
        .map(|&bytes| f64::from(f32::from_le_bytes(bytes)))
        .collect())
}

fn part(vector: &[u8], length: usize) -> Result<&[u8]> {
    vector.get(..length).with_context(|| {
        format!(
            "a vector of {} bytes cannot hold an update of {length}",
            vector.len()
        )
    })
}

#[cfg(test)]
mod tests;
