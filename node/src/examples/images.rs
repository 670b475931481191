//! Labelled images of 28 × 28 pixels, and the line of text that holds one.
//!
//! A line is the label, a tab, and the 784 bytes of the pixels, row by row from the top left, in base64
//! (RFC 4648, section 4, with padding); 0 is the background and 255 the brightest. So images are kept,
//! held out, dealt out and named by their users just as messages are.

use data_encoding::BASE64;
use secagg_wire::digest::Hasher;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use super::ExampleError;
use crate::model::Batch;
use crate::vocabulary::{END, SPECIAL_WORDS, Token, Vocabulary};

/// Rows of an image, and columns.
pub const SIDE: usize = 28;

/// Pixels of an image.
pub const PIXELS: usize = SIDE * SIDE;

/// The first token that names a label.
const SPECIAL: Token = END + 1;

/// One labelled image. Wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// What it shows.
    pub label: Zeroizing<String>,
    /// Row by row from the top left; 0 is the background.
    pub pixels: Zeroizing<[u8; PIXELS]>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It is private: a log must not hold it.
        write!(formatter, "Image({PIXELS} pixels)")
    }
}

/// Why a line is no image.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// There is no label before a tab.
    #[error(
        "a label, a tab and the pixels must stand in its line, and there is no tab after a label"
    )]
    NoLabel,
    /// The pixels are not base64.
    #[error("its pixels are not base64, at byte {position} after the tab: {problem}")]
    NotBase64 {
        /// Where, counted from 0.
        position: usize,
        /// What is wrong there.
        problem: String,
    },
    /// There are more or fewer pixels.
    #[error("it has {found} pixels; it must have {PIXELS}, which are {SIDE} rows of {SIDE}")]
    Pixels {
        /// How many there are.
        found: usize,
    },
}

impl Image {
    /// Reads a line.
    ///
    /// # Errors
    /// An [`ImageError`] that says what is wrong with it.
    pub fn parse(line: &str) -> Result<Self, ImageError> {
        let (label, pixels) = line.trim().split_once('\t').ok_or(ImageError::NoLabel)?;
        let label = label.trim();
        if label.is_empty() {
            return Err(ImageError::NoLabel);
        }
        let decoded = BASE64.decode(pixels.trim().as_bytes());
        let decoded = Zeroizing::new(decoded.map_err(|error| ImageError::NotBase64 {
            position: error.position,
            problem: error.kind.to_string(),
        })?);
        let found = decoded.len();
        let pixels = <[u8; PIXELS]>::try_from(decoded.as_slice());
        let pixels = pixels.map_err(|_| ImageError::Pixels { found })?;
        Ok(Self {
            label: Zeroizing::new(label.to_owned()),
            pixels: Zeroizing::new(pixels),
        })
    }

    /// What [`Image::parse`] reads.
    #[must_use]
    pub fn to_line(&self) -> Zeroizing<String> {
        let pixels = Zeroizing::new(BASE64.encode(&*self.pixels));
        Zeroizing::new([&self.label, "\t", &pixels].concat())
    }
}

/// The label of a line, without a look at the pixels.
pub(super) fn label(line: &str) -> &str {
    line.split('\t').next().unwrap_or_default()
}

/// Labelled images, in two pieces of memory. Wiped when dropped.
pub struct Images {
    pixels: Vec<u8>,
    /// The labels' numbers, from 0.
    labels: Vec<u32>,
}

impl std::fmt::Debug for Images {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Images({})", self.len())
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        self.pixels.zeroize();
        self.labels.zeroize();
    }
}

impl Images {
    /// Reads lines; blank ones are left out. A vocabulary names the labels after its special words.
    ///
    /// # Errors
    /// An [`ExampleError`] that names the line.
    pub fn new<'a>(
        vocabulary: &Vocabulary,
        lines: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ExampleError> {
        let mut images = Self {
            pixels: Vec::new(),
            labels: Vec::new(),
        };
        for (line, place) in lines.into_iter().zip(1..) {
            if line.trim().is_empty() {
                continue;
            }
            let image =
                Image::parse(line).map_err(|problem| ExampleError::Image { place, problem })?;
            let label = vocabulary.token(&image.label).checked_sub(SPECIAL);
            let label = label.ok_or_else(|| unknown(vocabulary, place))?;
            images.pixels.extend_from_slice(&*image.pixels);
            images.labels.push(label);
        }
        Ok(images)
    }

    /// How many images there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The labels' numbers: the places of their names after the vocabulary's special words, from 0.
    #[must_use]
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The pixels of one.
    ///
    /// # Panics
    /// When `index` is not below [`Images::len`].
    #[must_use]
    pub fn pixels(&self, index: usize) -> &[u8] {
        &self.pixels[index * PIXELS..][..PIXELS]
    }

    /// The most frequent label, as a token.
    pub(super) fn most_frequent(&self) -> Option<(Token, u64)> {
        let mut counts = std::collections::BTreeMap::new();
        for label in &self.labels {
            *counts.entry(label + SPECIAL).or_insert(0_u64) += 1;
        }
        let counts = counts.into_iter();
        counts.max_by_key(|&(token, count)| (count, std::cmp::Reverse(token)))
    }

    /// How often a label occurs, given as a token.
    pub(super) fn count(&self, token: Token) -> u64 {
        let labels = self.labels.iter();
        labels.filter(|&&label| label + SPECIAL == token).count() as u64
    }

    pub(super) fn batch(&self, indices: &[usize]) -> Batch {
        let mut pixels = Zeroizing::new(Vec::with_capacity(indices.len() * PIXELS));
        let mut labels = Vec::with_capacity(indices.len());
        for &index in indices {
            pixels.extend_from_slice(self.pixels(index));
            labels.push(i64::from(self.labels[index]));
        }
        Batch::images(&pixels, &labels)
    }

    pub(super) fn digest(&self, hasher: &mut Hasher) {
        for label in &self.labels {
            hasher.update(&label.to_le_bytes());
        }
        hasher.update(&self.pixels);
    }
}

fn unknown(vocabulary: &Vocabulary, place: usize) -> ExampleError {
    const SHOWN: usize = 10;
    let labels = vocabulary.len() - SPECIAL_WORDS;
    let all = (0..).map_while(|token| vocabulary.word(token));
    let known: Vec<&str> = all.skip(SPECIAL_WORDS).take(SHOWN).collect();
    let more = if labels > SHOWN { ", …" } else { "" };
    ExampleError::UnknownLabel {
        place,
        labels,
        known: known.join(", ") + more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        Vocabulary::from_text(["0 1 2"], 7).unwrap()
    }

    fn image(label: &str) -> Image {
        let mut pixels = [0; PIXELS];
        for (pixel, index) in pixels.iter_mut().zip(0_usize..) {
            *pixel = u8::try_from(index * 7 % 256).unwrap();
        }
        Image {
            label: Zeroizing::new(label.to_owned()),
            pixels: Zeroizing::new(pixels),
        }
    }

    #[test]
    fn a_line_gives_back_what_was_written() {
        let line = image("2").to_line();
        assert_eq!(line.len(), 2 + 1_048);
        assert_eq!(Image::parse(&line).unwrap(), image("2"));
        assert_eq!(label(&line), "2");
        let lines = [line.as_str(), " \t", &image("0").to_line()].map(str::to_owned);
        let images = Images::new(&vocabulary(), lines.iter().map(String::as_str)).unwrap();
        assert_eq!(images.labels(), [2, 0]);
        assert_eq!(images.pixels(1), image("0").pixels.as_slice());
        assert_eq!(
            format!("{images:?} {:?}", image("2")),
            "Images(2) Image(784 pixels)"
        );
    }

    #[test]
    fn what_is_no_image_is_named() {
        assert_eq!(Image::parse("see you soon"), Err(ImageError::NoLabel));
        assert_eq!(Image::parse("\tAAAA"), Err(ImageError::NoLabel));
        assert_eq!(
            Image::parse("7\tAAAA"),
            Err(ImageError::Pixels { found: 3 })
        );
        let error = Image::parse("7\tAA*A").unwrap_err();
        assert!(
            matches!(error, ImageError::NotBase64 { position: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn an_example_that_is_wrong_is_named_by_its_place_alone() {
        let good = image("1").to_line();
        let read = |line: &str| Images::new(&vocabulary(), [good.as_str(), line]).unwrap_err();
        assert_eq!(
            read("see you soon"),
            ExampleError::Image {
                place: 2,
                problem: ImageError::NoLabel
            }
        );
        for label in ["7", "<unk>", "<pad>"] {
            let error = read(&image(label).to_line());
            assert_eq!(
                error,
                ExampleError::UnknownLabel {
                    place: 2,
                    labels: 3,
                    known: "0, 1, 2".to_owned()
                }
            );
            assert!(!error.to_string().contains(label), "{error}");
        }
    }
}
