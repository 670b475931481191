use std::collections::BTreeMap;

use super::*;
use crate::examples::{PIXELS, SIDE};

const SHEET: Sheet = Sheet {
    seed: 1,
    images: 100,
    alpha: None,
};

fn counts(images: &[Image]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for image in images {
        *counts.entry(image.label.to_string()).or_default() += 1;
    }
    counts
}

#[test]
fn the_same_seed_gives_the_same_digits_and_no_two_alike() {
    let images = SHEET.person(3);
    assert_eq!(images, SHEET.person(3));
    for (index, image) in images.iter().enumerate() {
        for other in &images[..index] {
            assert_ne!(image.pixels, other.pixels);
        }
    }
    assert_ne!(images, SHEET.person(4));
    assert_ne!(images, Sheet { seed: 2, ..SHEET }.person(3));
}

#[test]
fn all_digits_come_equally_often_or_by_the_persons_shares() {
    let even = counts(&SHEET.person(0));
    assert_eq!(even.len(), DIGITS);
    assert!(even.values().all(|&count| count == 10), "{even:?}");
    let skewed = Sheet {
        alpha: Some(0.1),
        ..SHEET
    };
    let mut largest = Vec::new();
    let mut all = BTreeMap::new();
    for person in 0..20 {
        let own = counts(&skewed.person(person));
        largest.push(own.values().copied().max().unwrap());
        all.extend(own);
    }
    // With α = 0.1 most people write little else than one or two digits; all together write all.
    largest.sort_unstable();
    assert!(largest[10] > 50, "{largest:?}");
    assert_eq!(all.len(), DIGITS);
}

/// Ink stays in the middle, there is enough of it, and never a blot.
#[test]
fn digits_are_in_the_frame() {
    for person in 0..20 {
        for image in SHEET.person(person) {
            let bright = |pixel: &u8| *pixel > 110;
            let ink = image.pixels.iter().filter(|pixel| bright(pixel)).count();
            assert!(
                (12..PIXELS * 2 / 5).contains(&ink),
                "{}: {ink}",
                &*image.label
            );
            let rows = image.pixels.chunks(SIDE);
            let edge =
                rows.map(|row| usize::from(bright(&row[0])) + usize::from(bright(&row[SIDE - 1])));
            assert!(edge.sum::<usize>() <= 4, "{}", &*image.label);
        }
    }
}
