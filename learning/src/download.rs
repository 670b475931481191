//! The weights on their way down to the nodes, in fewer bits.
//!
//! The server keeps its weights in f32 (the *masters*), and sends a copy of them in fewer bits. All nodes
//! get the same copy to the bit, train from it and send what they have changed of *it*; the server adds
//! the mean of that to the masters. So steps that are smaller than the copy's are not lost; they gather in
//! the masters, and show in the copy as soon as they are large enough. Each node's loss and gradients are
//! those of weights that are a little off, and so is the evaluation of what the nodes received.
//!
//! - [`WeightsDown::Bf16`]: each element is rounded to the nearest bf16, ties to the even one: 8 bits of
//!   precision, off by at most 2⁻⁸ of the element (Kalamkar et al., "A Study of BFLOAT16 for Deep
//!   Learning Training", 2019).
//! - [`WeightsDown::Int8`]: each row of a matrix (its elements under one index of the first dimension) has
//!   an f32 scale, its largest magnitude over 127, and each element is the nearest multiple of it: off by
//!   at most half a scale (symmetric, without a zero point: Krishnamoorthi, "Quantizing deep
//!   convolutional networks for efficient inference", 2018, section 2.2). Vectors, and matrices with rows
//!   of fewer than [`MIN_COLUMNS`], are bf16: scales would cost more than they save.
//!
//! Of pruned weights ([`crate::pruning`]) only those that are not zero need to travel: a matrix of f32 or
//! bf16 with enough zeros goes down as a bitmap and the others ([`WeightsDown::skips_zeros`]).
//!
//! Only operations that IEEE 754 rounds in one way are used: every machine reads the same weights.

use serde::{Deserialize, Serialize};

/// In how many bits the weights go down to the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightsDown {
    /// As they are.
    #[default]
    F32,
    /// 16 bits each.
    Bf16,
    /// 8 bits each, and a scale a row.
    Int8,
}

/// How one tensor goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    F32,
    /// 16 bits an element.
    Bf16,
    /// 8 bits an element, and a scale for each row of so many.
    Int8 {
        /// Elements of a row; at least [`MIN_COLUMNS`].
        columns: usize,
    },
}

/// Rows of this many elements at least are sent in 8 bits.
pub const MIN_COLUMNS: usize = 8;

/// What is appended to a tensor's name for its scales, in a file.
pub const SCALES: &str = ".scale";

/// What is appended to a tensor's name for the bitmap that says which of its elements are there, in a
/// file: one bit each, the lowest of each byte first, set where the element is not zero.
pub const NOT_ZERO: &str = ".nonzero";

/// Bytes of such a bitmap.
#[must_use]
pub const fn bitmap_len(elements: usize) -> usize {
    elements.div_ceil(8)
}

/// The bitmap of some elements.
#[must_use]
pub fn bitmap(elements: &[f32]) -> Vec<u8> {
    let mut bitmap = vec![0; bitmap_len(elements.len())];
    for (place, element) in elements.iter().enumerate() {
        bitmap[place / 8] |= u8::from(*element != 0.0) << (place % 8);
    }
    bitmap
}

impl WeightsDown {
    /// How a tensor with these dimensions goes down, outermost first.
    #[must_use]
    pub fn coding(self, dimensions: &[usize]) -> Coding {
        match (self, dimensions) {
            (Self::F32, _) => Coding::F32,
            (Self::Int8, [_, row @ ..])
                if row.iter().product::<usize>() >= MIN_COLUMNS && !row.is_empty() =>
            {
                Coding::Int8 {
                    columns: row.iter().product(),
                }
            }
            _ => Coding::Bf16,
        }
    }

    /// Whether a tensor of pruned weights is shorter without its zeros. Rows of 8 bits keep theirs: a
    /// network of 8 bits reads them as they are.
    #[must_use]
    pub fn skips_zeros(self, dimensions: &[usize], elements: &[f32]) -> bool {
        let bytes = match self.coding(dimensions) {
            Coding::F32 => 4,
            Coding::Bf16 => 2,
            Coding::Int8 { .. } => return false,
        };
        let zeros = elements.iter().filter(|element| **element == 0.0).count();
        dimensions.len() >= 2 && bytes * zeros > bitmap_len(elements.len())
    }

    /// Turns a flat vector into what the nodes receive of it. `shapes` are the tensors' dimensions, in the
    /// flat vector's order; elements after them stay.
    ///
    /// # Panics
    /// When the flat vector is shorter than the tensors.
    pub fn received<'a>(self, shapes: impl Iterator<Item = &'a [usize]>, flat: &mut [f32]) {
        let mut rest = flat;
        for dimensions in shapes {
            let (tensor, after) = rest.split_at_mut(dimensions.iter().product());
            rest = after;
            match self.coding(dimensions) {
                Coding::F32 => {}
                Coding::Bf16 => {
                    for element in tensor {
                        *element = from_bf16(to_bf16(*element));
                    }
                }
                Coding::Int8 { columns } => {
                    let rows = Int8Rows::nearest(columns, tensor);
                    tensor.copy_from_slice(&rows.values());
                }
            }
        }
    }

    /// Bytes of pruned tensors' elements, bitmaps and scales, without the header of a file.
    ///
    /// # Panics
    /// When the flat vector is shorter than the tensors.
    pub fn pruned_bytes<'a>(self, shapes: impl Iterator<Item = &'a [usize]>, flat: &[f32]) -> u64 {
        let mut rest = flat;
        let bytes = shapes.map(|dimensions| {
            let (tensor, after) = rest.split_at(dimensions.iter().product());
            rest = after;
            if !self.skips_zeros(dimensions, tensor) {
                return self.bytes(std::iter::once(dimensions));
            }
            let others = tensor.iter().filter(|element| **element != 0.0).count();
            bitmap_len(tensor.len()) as u64 + self.bytes(std::iter::once([others].as_slice()))
        });
        bytes.sum()
    }

    /// Bytes of these tensors' elements and scales, without the header of a file.
    pub fn bytes<'a>(self, shapes: impl Iterator<Item = &'a [usize]>) -> u64 {
        let bytes = shapes.map(|dimensions| {
            let elements = dimensions.iter().product::<usize>() as u64;
            match self.coding(dimensions) {
                Coding::F32 => 4 * elements,
                Coding::Bf16 => 2 * elements,
                Coding::Int8 { columns } => elements + 4 * (elements / columns as u64),
            }
        });
        bytes.sum()
    }
}

/// The nearest bf16 of a finite number, ties to even, as its bits; beyond the largest finite bf16 that
/// one, so that weights stay finite.
#[must_use]
pub const fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let half = (rounded & 0xffff) as u16;
    match half & 0x7fff {
        INFINITE_BF16 if value.is_finite() => half - 1,
        _ => half,
    }
}

/// The number that a bf16 stands for.
#[must_use]
pub const fn from_bf16(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

const INFINITE_BF16: u16 = 0x7f80;

/// Rows of 8-bit weights, each with a scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8Rows {
    /// Row by row, from −127 to 127.
    pub weights: Vec<i8>,
    /// Of each row; finite, and not negative.
    pub scales: Vec<f32>,
}

impl Int8Rows {
    /// The nearest to finite values in rows of so many, at least 1; what is left over of the last row is
    /// left out.
    #[must_use]
    pub fn nearest(columns: usize, values: &[f32]) -> Self {
        let mut weights = Vec::with_capacity(values.len());
        let mut scales = Vec::with_capacity(values.len() / columns);
        for row in values.chunks_exact(columns) {
            let largest = row.iter().fold(0.0_f32, |largest, w| largest.max(w.abs()));
            let scale = scale_of(largest);
            scales.push(scale);
            weights.extend(row.iter().map(|&value| match scale > 0.0 {
                true => nearest(value / scale),
                false => 0,
            }));
        }
        Self { weights, scales }
    }

    /// What they stand for.
    #[must_use]
    pub fn values(&self) -> Vec<f32> {
        let columns = self.weights.len() / self.scales.len().max(1);
        let mut values = Vec::with_capacity(self.weights.len());
        for (row, scale) in self.weights.chunks_exact(columns.max(1)).zip(&self.scales) {
            values.extend(row.iter().map(|&weight| f32::from(weight) * scale));
        }
        values
    }
}

/// 0 for a row that is zero, or too small for a scale.
fn scale_of(largest: f32) -> f32 {
    let scale = largest / LARGEST;
    if !scale.is_normal() {
        return 0.0;
    }
    match (scale * LARGEST).is_finite() {
        true => scale,
        // Of the largest floats, where it was rounded up.
        false => scale.next_down(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a whole number from −127 to 127"
)]
fn nearest(value: f32) -> i8 {
    value.round_ties_even().clamp(-LARGEST, LARGEST) as i8
}

const LARGEST: f32 = 127.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEAST: f32 = f32::MIN_POSITIVE;

    fn finite() -> impl Strategy<Value = f32> {
        prop_oneof![
            any::<f32>().prop_filter("finite", |value| value.is_finite()),
            -1.0_f32..1.0,
            Just(f32::MAX),
            Just(f32::MIN),
        ]
    }

    proptest! {
        #[test]
        fn bf16_is_the_nearest(value in finite()) {
            let found = to_bf16(value);
            let error = |bits| (f64::from(from_bf16(bits)) - f64::from(value)).abs();
            prop_assert!(from_bf16(found).is_finite());
            // Neither neighbour is nearer, nor as near where this one is odd.
            for other in [found.wrapping_sub(1), found.wrapping_add(1)] {
                if from_bf16(other).is_finite() {
                    prop_assert!(error(found) <= error(other));
                    prop_assert!(error(found) < error(other) || found & 1 == 0 || value.abs() > 3.38e38);
                }
            }
            if value.abs() >= LEAST && value.abs() < 3.38e38 {
                prop_assert!(error(found) <= f64::from(value).abs() / 256.0);
            }
            prop_assert_eq!(to_bf16(from_bf16(found)), found);
        }

        #[test]
        fn int8_is_off_by_at_most_half_a_scale(
            values in prop::collection::vec(-1.0_f32..1.0, 24),
            size in prop::sample::select(vec![1e-30_f32, 1e-3, 1.0, 1e30, f32::MAX]),
        ) {
            let values: Vec<f32> = values.iter().map(|value| value * size).collect();
            let rows = Int8Rows::nearest(8, &values);
            prop_assert_eq!(rows.scales.len(), 3);
            for (n, (found, value)) in rows.values().iter().zip(&values).enumerate() {
                let scale = f64::from(rows.scales[n / 8]);
                let error = (f64::from(*found) - f64::from(*value)).abs();
                // The division and the product round once each.
                prop_assert!(error <= scale * 0.5001, "{} {}", found, value);
                prop_assert!(found.is_finite());
                let row = &values[8 * (n / 8)..][..8];
                let largest = row.iter().fold(0.0_f64, |most, v| most.max(f64::from(v.abs())));
                prop_assert!(scale <= largest / 126.99);
            }
        }
    }

    #[test]
    fn bf16_rounds_ties_to_even_and_stays_finite() {
        for (value, bits) in [
            (1.0, 0x3f80),
            (-2.0, 0xc000),
            (0.0, 0),
            // Between 1 and 1 + 2⁻⁷, and between that and 1 + 2⁻⁶.
            (1.0 + 2.0_f32.powi(-8), 0x3f80),
            (1.0 + 3.0 * 2.0_f32.powi(-8), 0x3f82),
            (f32::MAX, 0x7f7f),
            (f32::MIN, 0xff7f),
        ] {
            assert_eq!(to_bf16(value), bits, "{value}");
        }
        assert_eq!(from_bf16(0x3f82), 1.015_625);
    }

    #[test]
    fn rows_of_zeros_and_of_the_largest_floats_come_back() {
        let rows = Int8Rows::nearest(2, &[0.0, -0.0, f32::MAX, f32::MIN, 1e-45, 0.0, 2.0, -1.0]);
        assert_eq!(rows.weights, [0, 0, 127, -127, 0, 0, 127, -64]);
        assert_eq!((rows.scales[0], rows.scales[2]), (0.0, 0.0));
        assert!(rows.values().iter().all(|value| value.is_finite()));
        assert_eq!(Int8Rows::nearest(3, &[]).values(), [0.0; 0]);
    }

    /// The CIFG-LSTM of the experiments: 8 and 16 bits an element, and little more.
    #[test]
    fn bytes_are_a_quarter_and_a_half() {
        let shapes: [&[usize]; 5] = [&[1_000], &[1_000, 96], &[5_000, 96], &[96, 250], &[3, 2, 5]];
        let bytes = |down: WeightsDown| down.bytes(shapes.into_iter()) as f64;
        let whole = bytes(WeightsDown::F32);
        assert_eq!(
            whole,
            4.0 * (1_000.0 + 96_000.0 + 480_000.0 + 24_000.0 + 30.0)
        );
        assert_eq!(bytes(WeightsDown::Bf16), whole / 2.0);
        assert!(bytes(WeightsDown::Int8) < 0.265 * whole);
        assert_eq!(
            WeightsDown::Int8.coding(shapes[4]),
            Coding::Int8 { columns: 10 }
        );
        assert_eq!(WeightsDown::Int8.coding(&[9, 7]), Coding::Bf16);
        assert_eq!(WeightsDown::Int8.coding(&[9]), Coding::Bf16);
    }

    #[test]
    fn zeros_are_skipped_where_that_is_shorter() {
        // 16 elements have a bitmap of 2 bytes: one zero of bf16 more than that pays, and one of f32.
        let with_zeros = |zeros: usize| -> Vec<f32> {
            (0..16).map(|n| if n < zeros { 0.0 } else { 1.5 }).collect()
        };
        for (down, pays_from) in [(WeightsDown::F32, 1), (WeightsDown::Bf16, 2)] {
            let pays = |zeros| down.skips_zeros(&[4, 4], &with_zeros(zeros));
            assert!(!pays(pays_from - 1) && pays(pays_from), "{down:?}");
            assert!(!down.skips_zeros(&[16], &with_zeros(16)));
        }
        assert!(!WeightsDown::Int8.skips_zeros(&[2, 8], &with_zeros(16)));
        // Of the first tensor 2 bytes and 6 elements; the vector is whole.
        let flat = [with_zeros(10), with_zeros(16)].concat();
        let shapes: [&[usize]; 2] = [&[4, 4], &[16]];
        let bytes = |down: WeightsDown| down.pruned_bytes(shapes.into_iter(), &flat);
        assert_eq!(bytes(WeightsDown::F32), 2 + 4 * 6 + 4 * 16);
        assert_eq!(bytes(WeightsDown::Bf16), 2 + 2 * 6 + 2 * 16);
        assert_eq!(
            bitmap(&[1.0, 0.0, -0.0, -2.0, 0.0, 0.0, 0.0, 1e-40, 3.0]),
            [0b1000_1001, 1]
        );
        assert!(bitmap(&[]).is_empty());
    }

    #[test]
    fn each_tensor_is_received_as_its_coding_says() {
        let mut flat: Vec<f32> = (0..22_u8).map(|n| f32::from(n) / 7.0).collect();
        let before = flat.clone();
        WeightsDown::F32.received([[22].as_slice()].into_iter(), &mut flat);
        assert_eq!(flat, before);
        let shapes: [&[usize]; 2] = [&[4], &[2, 8]];
        WeightsDown::Int8.received(shapes.into_iter(), &mut flat);
        let halves: Vec<f32> = before[..4].iter().map(|&x| from_bf16(to_bf16(x))).collect();
        assert_eq!(flat[..4], halves);
        assert_eq!(flat[4..20], Int8Rows::nearest(8, &before[4..20]).values());
        assert_ne!(flat[4..20], before[4..20]);
        assert_eq!(flat[20..], before[20..]);
    }
}
