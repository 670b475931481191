//! Labelled images in the IDX format of LeCun, Cortes and Burges' "MNIST database of handwritten digits"
//! (1998): one file with the images, one with the labels.
//!
//! A file is two bytes of zero, one for the type of the elements (8: unsigned bytes), one for the number
//! of dimensions, the dimensions (32 bits each, big-endian), and the elements, row by row.

use std::fs;
use std::path::Path;

use zeroize::Zeroizing;

use super::{Message, TextError};
use crate::examples::{Image, PIXELS, SIDE};

/// The type of elements that can be read: unsigned bytes.
const BYTES: u8 = 0x08;

/// What a compressed file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// No file has more dimensions than images have.
const MAX_DIMENSIONS: usize = 3;

/// An IDX file of unsigned bytes. The elements are as many as the dimensions say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx<'a> {
    /// Sizes, outermost first; three at most.
    pub dimensions: Vec<usize>,
    /// The elements, row by row.
    pub elements: &'a [u8],
}

impl<'a> Idx<'a> {
    /// Reads a file's bytes; nothing is copied.
    ///
    /// # Errors
    /// What is wrong with them, for people.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        if bytes.starts_with(&GZIP) {
            return Err("it is compressed; unpack it with gunzip".to_owned());
        }
        let Some((&[zero_1, zero_2, kind, count], mut rest)) = bytes.split_first_chunk::<4>()
        else {
            let found = bytes.len();
            return Err(format!(
                "{found} bytes are too few for the 4 bytes at the beginning"
            ));
        };
        if [zero_1, zero_2] != [0, 0] {
            return Err(format!(
                "it begins with the bytes {zero_1:#04x} {zero_2:#04x}; an IDX file begins with two \
                 zeros"
            ));
        }
        if kind != BYTES {
            return Err(format!(
                "its elements are of type {kind:#04x}; they must be unsigned bytes, {BYTES:#04x}"
            ));
        }
        let count = usize::from(count);
        if !(1..=MAX_DIMENSIONS).contains(&count) {
            return Err(format!(
                "it has {count} dimensions; labels have 1 and images {MAX_DIMENSIONS}"
            ));
        }
        let mut dimensions = Vec::with_capacity(count);
        for _ in 0..count {
            let Some((size, after)) = rest.split_first_chunk::<4>() else {
                return Err(format!(
                    "it ends within the sizes of its {count} dimensions"
                ));
            };
            rest = after;
            dimensions.push(u32::from_be_bytes(*size) as usize);
        }
        // The file's own length is the bound: nothing is allocated for what the sizes claim.
        let claimed = dimensions
            .iter()
            .try_fold(1_usize, |product, &size| product.checked_mul(size));
        if claimed != Some(rest.len()) {
            return Err(format!(
                "its dimensions are {dimensions:?}, and {} bytes follow; there must be one for each \
                 element",
                rest.len()
            ));
        }
        Ok(Self {
            dimensions,
            elements: rest,
        })
    }

    /// The bytes that [`Idx::parse`] reads.
    ///
    /// # Panics
    /// When a size does not fit into 32 bits, or there are more than 255.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let count = u8::try_from(self.dimensions.len()).expect("a few dimensions");
        let mut bytes = vec![0, 0, BYTES, count];
        for &size in &self.dimensions {
            bytes.extend(u32::try_from(size).expect("32 bits").to_be_bytes());
        }
        bytes.extend(self.elements);
        bytes
    }
}

/// The labelled images of two files, as lines of text ([`Image`]); a label's name is its number.
///
/// # Errors
/// A [`TextError`] that names the file and what is wrong with it.
pub fn read_labelled(images: &Path, labels: &Path) -> Result<Vec<Message>, TextError> {
    let [image_bytes, label_bytes] = [read(images)?, read(labels)?];
    let wrong = |path: &Path, problem: String| TextError::Idx {
        path: path.to_owned(),
        problem,
    };
    let pixels = Idx::parse(&image_bytes).map_err(|problem| wrong(images, problem))?;
    let numbers = Idx::parse(&label_bytes).map_err(|problem| wrong(labels, problem))?;
    let &[count, SIDE, SIDE] = pixels.dimensions.as_slice() else {
        let found = &pixels.dimensions;
        let problem =
            format!("its dimensions are {found:?}; images are of [number, {SIDE}, {SIDE}]");
        return Err(wrong(images, problem));
    };
    if numbers.dimensions != [count] {
        let found = &numbers.dimensions;
        let problem =
            format!("its dimensions are {found:?}; the labels of {count} images are of [{count}]");
        return Err(wrong(labels, problem));
    }
    if count == 0 {
        let path = images.to_owned();
        return Err(TextError::Empty { path });
    }
    let (pixels, _) = pixels.elements.as_chunks::<PIXELS>();
    let lines = pixels.iter().zip(numbers.elements).map(|(pixels, label)| {
        let image = Image {
            label: Zeroizing::new(label.to_string()),
            pixels: Zeroizing::new(*pixels),
        };
        Message {
            user: None,
            text: image.to_line(),
        }
    });
    Ok(lines.collect())
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TextError> {
    let bytes = fs::read(path).map_err(|source| TextError::Io {
        path: path.to_owned(),
        source,
    })?;
    Ok(Zeroizing::new(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problem(bytes: &[u8]) -> String {
        Idx::parse(bytes).unwrap_err()
    }

    #[test]
    fn a_header_that_is_wrong_is_named() {
        assert!(problem(&[0, 0, 8]).contains("3 bytes are too few"));
        assert!(problem(&[0x1f, 0x8b, 8, 0, 0]).contains("gunzip"));
        assert!(problem(&[0, 7, 8, 1]).contains("0x00 0x07"));
        assert!(problem(&[0, 0, 0x0d, 1, 0, 0, 0, 0]).contains("0x0d"));
        assert!(problem(&[0, 0, 8, 4]).contains("4 dimensions"));
        assert!(problem(&[0, 0, 8, 0]).contains("0 dimensions"));
        assert!(problem(&[0, 0, 8, 2, 0, 0, 0, 1, 0]).contains("ends within"));
        assert!(problem(&[0, 0, 8, 1, 0, 0, 0, 2, 9]).contains("[2], and 1 bytes follow"));
    }

    /// Sizes whose product overflows, or would take all memory, are refused by the file's length.
    #[test]
    fn sizes_that_are_not_there_are_refused() {
        let mut bytes = vec![0, 0, 8, 3];
        bytes.extend([0xff; 12]);
        assert!(
            problem(&bytes).contains("0 bytes follow"),
            "{}",
            problem(&bytes)
        );
    }

    fn files(images: &[u8], labels: &[u8]) -> Result<Vec<Message>, TextError> {
        let folder = tempfile::tempdir().unwrap();
        let [left, right] = ["images", "labels"].map(|name| folder.path().join(name));
        fs::write(&left, images).unwrap();
        fs::write(&right, labels).unwrap();
        read_labelled(&left, &right)
    }

    fn idx(dimensions: &[usize], elements: &[u8]) -> Vec<u8> {
        let dimensions = dimensions.to_vec();
        Idx {
            dimensions,
            elements,
        }
        .to_bytes()
    }

    #[test]
    fn images_and_labels_become_lines() {
        let mut pixels = [0; 2 * PIXELS];
        pixels[PIXELS + 5] = 200;
        let messages = files(&idx(&[2, 28, 28], &pixels), &idx(&[2], &[7, 10])).unwrap();
        let images = messages
            .iter()
            .map(|message| Image::parse(&message.text).unwrap());
        let images: Vec<Image> = images.collect();
        assert_eq!(images.len(), 2);
        assert_eq!(
            (images[0].label.as_str(), images[1].label.as_str()),
            ("7", "10")
        );
        assert_eq!((images[0].pixels[5], images[1].pixels[5]), (0, 200));
    }

    #[test]
    fn files_that_do_not_belong_together_are_named() {
        let images = idx(&[2, 28, 28], &[0; 2 * PIXELS]);
        let said = |images: &[u8], labels: &[u8]| files(images, labels).unwrap_err().to_string();
        let three = said(&images, &idx(&[3], &[1, 2, 3]));
        assert!(three.contains("labels: its dimensions are [3]"), "{three}");
        let swapped = said(&idx(&[1], &[1]), &images);
        assert!(
            swapped.contains("images: its dimensions are [1]"),
            "{swapped}"
        );
        let small = said(&idx(&[1, 2, 2], &[0; 4]), &idx(&[1], &[0]));
        assert!(small.contains("[1, 2, 2]"), "{small}");
        let none = said(&idx(&[0, 28, 28], &[]), &idx(&[0], &[]));
        assert!(none.contains("no message"), "{none}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Idx::parse(&bytes);
            let mut valid_start = vec![0, 0, 8];
            valid_start.extend(bytes);
            if let Ok(read) = Idx::parse(&valid_start) {
                prop_assert_eq!(read.to_bytes(), valid_start.clone());
            }
        }

        #[test]
        fn what_was_written_is_read(rows in 0_usize..9, columns in 0_usize..9, byte: u8) {
            let elements = vec![byte; rows * columns];
            let bytes = idx(&[rows, columns], &elements);
            let read = Idx::parse(&bytes).unwrap();
            prop_assert_eq!(read.dimensions, vec![rows, columns]);
            prop_assert_eq!(read.elements, &elements[..]);
        }
    }
}
