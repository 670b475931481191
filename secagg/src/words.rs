//! The inner loops over a segment's words: packing, and adding what is packed. The layout is
//! described in `vector.rs`.
#![allow(
    clippy::indexing_slicing,
    reason = "the loops run over arrays of constant size, with positions below it"
)]

use alloc::vec::Vec;

use zeroize::Zeroize;

use crate::kernel::{BLOCK_LEN, Block, Path, Work};

/// Elements of a vertically packed group.
pub(crate) const GROUP: usize = 512;

/// Segments of up to this many bits are packed vertically.
pub(crate) const MAX_VERTICAL_BITS: u8 = 24;

/// 32-bit words of a row.
const ROW: usize = 16;

/// A row is one block of `ChaCha20` keystream.
const _: () = assert!(BLOCK_LEN == 4 * ROW);

/// Whether a mask is put on or taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// Added.
    Plus,
    /// Subtracted.
    Minus,
}

/// Calls a function that is generic over a number with one of these as a constant, so that every
/// shift is an immediate.
macro_rules! with_constant {
    ($number:expr, [$($constant:literal)*], $call:ident $arguments:tt) => {
        match $number {
            $($constant => with_constant!(@call $call $constant $arguments),)*
            other => unreachable!("{other} is not among the constants"),
        }
    };
    (@call $call:ident $constant:literal ($($argument:expr),*)) => {
        $call::<$constant>($($argument),*)
    };
}

/// Appends the packed bits of a narrow segment.
pub(crate) fn pack_narrow(words: &[u32], bits: u8, out: &mut Vec<u8>) {
    let mut tail = words;
    if bits <= MAX_VERTICAL_BITS {
        let (groups, rest) = words.as_chunks::<GROUP>();
        for group in groups {
            with_constant!(
                bits,
                [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24],
                pack_group(group, out)
            );
        }
        tail = rest;
    }
    pack_horizontal(tail.iter().map(|word| u64::from(*word)), bits, out);
}

/// Appends the packed bits of a wide segment.
pub(crate) fn pack_wide(words: &[u64], bits: u8, out: &mut Vec<u8>) {
    pack_horizontal(words.iter().copied(), bits, out);
}

/// Adds a packed narrow segment to its words, wrapping in the word. Above an element's bits a word
/// holds anything afterwards.
pub(crate) fn add_packed_narrow(words: &mut [u32], bits: u8, packed: &[u8]) {
    let (mut tail, mut tail_bytes) = (words, packed);
    if bits <= MAX_VERTICAL_BITS {
        let (groups, rest) = tail.as_chunks_mut::<GROUP>();
        let split = (groups.len() * BLOCK_LEN * usize::from(bits)).min(packed.len());
        let (bytes, rest_bytes) = packed.split_at(split);
        Path::best().run(AddGroups {
            groups,
            bits,
            packed: bytes.as_chunks().0,
            sign: Sign::Plus,
        });
        (tail, tail_bytes) = (rest, rest_bytes);
    }
    let mut bits_left = Horizontal::new(tail_bytes, bits);
    for word in tail {
        *word = word.wrapping_add(narrow(bits_left.next()));
    }
}

/// Adds a packed wide segment to its words, wrapping in the word.
pub(crate) fn add_packed_wide(words: &mut [u64], bits: u8, packed: &[u8]) {
    let mut bits_left = Horizontal::new(packed, bits);
    for word in words {
        *word = word.wrapping_add(bits_left.next());
    }
}

/// Adds or subtracts whole groups of vertically packed keystream; `words` may end within the
/// last group. Above an element's bits a word holds anything afterwards.
pub(crate) fn mask_vertical(
    path: Path,
    words: &mut [u32],
    bits: u8,
    keystream: &[Block],
    sign: Sign,
) {
    let (groups, tail) = words.as_chunks_mut::<GROUP>();
    let split = (groups.len() * usize::from(bits)).min(keystream.len());
    let (packed, rest) = keystream.split_at(split);
    path.run(AddGroups {
        groups,
        bits,
        packed,
        sign,
    });
    if !tail.is_empty() {
        let mut last = [[0; GROUP]];
        last[0][..tail.len()].copy_from_slice(tail);
        path.run(AddGroups {
            groups: &mut last,
            bits,
            packed: rest,
            sign,
        });
        tail.copy_from_slice(&last[0][..tail.len()]);
        last.zeroize();
    }
}

/// Adds or subtracts one 32-bit word of keystream an element.
pub(crate) fn mask_narrow(path: Path, words: &mut [u32], keystream: &[Block], sign: Sign) {
    let masks = keystream.as_flattened().as_chunks().0;
    path.run(AddWords { words, masks, sign });
}

/// Adds or subtracts one 64-bit word of keystream an element.
pub(crate) fn mask_wide(path: Path, words: &mut [u64], keystream: &[Block], sign: Sign) {
    let masks = keystream.as_flattened().as_chunks().0;
    path.run(AddWords { words, masks, sign });
}

/// An element of a narrow segment as its word.
pub(crate) fn narrow(element: u64) -> u32 {
    u32::try_from(element).expect("an element of a narrow segment has at most 32 bits")
}

/// Adds or subtracts words of keystream.
struct AddWords<'a, W, const BYTES: usize> {
    words: &'a mut [W],
    masks: &'a [[u8; BYTES]],
    sign: Sign,
}

macro_rules! add_words {
    ($($word:ty)*) => {$(
        impl Work for AddWords<'_, $word, { size_of::<$word>() }> {
            #[inline(always)]
            fn run(self) {
                let masks = self.masks.iter().map(|mask| <$word>::from_le_bytes(*mask));
                let pairs = self.words.iter_mut().zip(masks);
                match self.sign {
                    Sign::Plus => pairs.for_each(|(word, mask)| *word = word.wrapping_add(mask)),
                    Sign::Minus => pairs.for_each(|(word, mask)| *word = word.wrapping_sub(mask)),
                }
            }
        }
    )*};
}

add_words!(u32 u64);

/// Adds or subtracts groups that are packed vertically.
struct AddGroups<'a> {
    groups: &'a mut [[u32; GROUP]],
    bits: u8,
    packed: &'a [Block],
    sign: Sign,
}

/// Groups of which the same row is added at a time: one jump to the code for its shift, and all is
/// loaded before anything is stored, because the rows of every second group look alike to a
/// processor that asks whether a load must wait for a store.
const TOGETHER: usize = 8;

impl Work for AddGroups<'_> {
    #[inline(always)]
    fn run(self) {
        let bits = usize::from(self.bits);
        let (together, rest) = self.groups.as_chunks_mut::<TOGETHER>();
        let split = (together.len() * TOGETHER * bits).min(self.packed.len());
        let (packed, packed_rest) = self.packed.split_at(split);
        for (groups, packed) in together
            .iter_mut()
            .zip(packed.chunks_exact(TOGETHER * bits))
        {
            for position in 0..GROUP / ROW {
                let place = Place::of(position, bits);
                with_constant!(
                    place.shift,
                    [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29
                     30 31],
                    add_rows(groups, packed, bits, &place, self.sign)
                );
            }
        }
        for (group, packed) in rest.iter_mut().zip(packed_rest.chunks_exact(bits)) {
            for position in 0..GROUP / ROW {
                let place = Place::of(position, bits);
                let elements = row_of(group, position);
                match self.sign {
                    Sign::Plus => add_row(elements, packed, &place, u32::wrapping_add),
                    Sign::Minus => add_row(elements, packed, &place, u32::wrapping_sub),
                }
            }
        }
    }
}

/// Where the elements at one position of their strings stand.
struct Place {
    position: usize,
    /// The row of packed words that holds their lowest bits.
    row: usize,
    shift: usize,
    /// Whether the next row holds their highest bits.
    spills: bool,
}

impl Place {
    #[inline(always)]
    const fn of(position: usize, bits: usize) -> Self {
        let (row, shift) = (position * bits / 32, position * bits % 32);
        Self {
            position,
            row,
            shift,
            spills: shift + bits > 32,
        }
    }
}

#[inline(always)]
fn row_of(group: &mut [u32; GROUP], position: usize) -> &mut [u32; ROW] {
    &mut group.as_chunks_mut::<ROW>().0[position]
}

/// One row of each group; `SHIFT` is that of the place.
#[inline(always)]
fn add_rows<const SHIFT: usize>(
    groups: &mut [[u32; GROUP]; TOGETHER],
    packed: &[Block],
    bits: usize,
    place: &Place,
    sign: Sign,
) {
    let place = &Place {
        shift: SHIFT,
        ..*place
    };
    match sign {
        Sign::Plus => add_rows_by(groups, packed, bits, place, u32::wrapping_add),
        Sign::Minus => add_rows_by(groups, packed, bits, place, u32::wrapping_sub),
    }
}

#[inline(always)]
fn add_rows_by(
    groups: &mut [[u32; GROUP]; TOGETHER],
    packed: &[Block],
    bits: usize,
    place: &Place,
    add: impl Fn(u32, u32) -> u32 + Copy,
) {
    let mut rows = [[0; ROW]; TOGETHER];
    for (row, group) in rows.iter_mut().zip(groups.iter_mut()) {
        *row = *row_of(group, place.position);
    }
    for (row, packed) in rows.iter_mut().zip(packed.chunks_exact(bits)) {
        add_row(row, packed, place, add);
    }
    for (row, group) in rows.iter().zip(groups.iter_mut()) {
        *row_of(group, place.position) = *row;
    }
}

/// What stands above an element's bits is added with it: carries only move up, and are cleared
/// when the vector is reduced.
#[inline(always)]
fn add_row(
    elements: &mut [u32; ROW],
    packed: &[Block],
    place: &Place,
    add: impl Fn(u32, u32) -> u32,
) {
    let low = words_of(&packed[place.row]);
    for lane in 0..ROW {
        elements[lane] = add(elements[lane], low[lane] >> place.shift);
    }
    if place.spills {
        let high = words_of(&packed[place.row + 1]);
        for lane in 0..ROW {
            elements[lane] = add(elements[lane], high[lane] << (32 - place.shift));
        }
    }
}

#[inline(always)]
fn words_of(block: &Block) -> [u32; ROW] {
    let mut words = [0; ROW];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

fn pack_group<const B: usize>(group: &[u32; GROUP], out: &mut Vec<u8>) {
    let mut rows = [[0_u32; ROW]; B];
    for (position, elements) in group.as_chunks::<ROW>().0.iter().enumerate() {
        let (row, shift) = (position * B / 32, position * B % 32);
        for lane in 0..ROW {
            rows[row][lane] |= elements[lane] << shift;
            if shift + B > 32 {
                rows[row + 1][lane] |= elements[lane] >> (32 - shift);
            }
        }
    }
    out.extend(rows.iter().flatten().flat_map(|word| word.to_le_bytes()));
}

/// Packs elements one after another from the lowest bit up, padded with zeros to a whole byte.
fn pack_horizontal(elements: impl Iterator<Item = u64>, bits: u8, out: &mut Vec<u8>) {
    let mut pending = 0_u128;
    let mut pending_bits = 0;
    for element in elements {
        pending |= u128::from(element) << pending_bits;
        pending_bits += u32::from(bits);
        if pending_bits >= 64 {
            let [low, high] = halves(pending);
            out.extend_from_slice(&low.to_le_bytes());
            pending = high.into();
            pending_bits -= 64;
        }
    }
    let bytes = pending.to_le_bytes();
    out.extend(bytes.iter().take(pending_bits.div_ceil(8) as usize));
}

/// Takes elements off horizontally packed bytes; past the end it gives zeros.
struct Horizontal<'a> {
    bytes: &'a [u8],
    bits: u32,
    pending: u128,
    pending_bits: u32,
}

impl<'a> Horizontal<'a> {
    fn new(bytes: &'a [u8], bits: u8) -> Self {
        Self {
            bytes,
            bits: bits.into(),
            pending: 0,
            pending_bits: 0,
        }
    }

    fn next(&mut self) -> u64 {
        if self.pending_bits < self.bits {
            let word = match self.bytes.split_first_chunk() {
                Some((word, rest)) => {
                    self.bytes = rest;
                    u64::from_le_bytes(*word)
                }
                None => self.last_word(),
            };
            self.pending |= u128::from(word) << self.pending_bits;
            self.pending_bits += 64;
        }
        let mask = u64::MAX >> (64 - self.bits);
        let [low, _] = halves(self.pending);
        let element = low & mask;
        self.pending >>= self.bits;
        self.pending_bits -= self.bits;
        element
    }

    /// What is left, with zeros behind it.
    #[cold]
    fn last_word(&mut self) -> u64 {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(self.bytes) {
            *to = *from;
        }
        self.bytes = &[];
        u64::from_le_bytes(word)
    }
}

/// The low and the high 64 bits.
fn halves(value: u128) -> [u64; 2] {
    let bytes = value.to_le_bytes();
    let (words, _) = bytes.as_chunks::<8>();
    [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    /// The layout by its definition, one bit at a time.
    fn reference_bit(
        words: &[u32],
        bits: usize,
        packed: &[u8],
        element: usize,
        bit: usize,
    ) -> bool {
        let (group, within) = (element / GROUP, element % GROUP);
        let whole_groups = if bits <= 24 { words.len() / GROUP } else { 0 };
        let position = if group < whole_groups {
            let (row, column) = (within / 16, within % 16);
            let string = row * bits + bit;
            let (word, word_bit) = (string / 32, string % 32);
            group * bits * 512 + (word * 16 + column) * 32 + word_bit
        } else {
            element * bits + bit
        };
        packed[position / 8] >> (position % 8) & 1 == 1
    }

    #[test]
    fn narrow_packing_is_the_layout_and_adding_undoes_it() {
        for bits in 1..=32_u8 {
            for len in [1, 15, 511, 512, 513, 1_300, 5_000] {
                let mask = u32::MAX >> (32 - bits);
                let words: Vec<u32> = (0..len)
                    .map(|i: u32| i.wrapping_mul(0x9e37_79b9).rotate_left(i % 31) & mask)
                    .collect();
                let mut packed = Vec::new();
                pack_narrow(&words, bits, &mut packed);
                assert_eq!(packed.len(), (words.len() * usize::from(bits)).div_ceil(8));
                for (element, word) in words.iter().enumerate() {
                    for bit in 0..usize::from(bits) {
                        let expected = word >> bit & 1 == 1;
                        let found = reference_bit(&words, bits.into(), &packed, element, bit);
                        assert_eq!(found, expected, "{bits} bits, element {element}, bit {bit}");
                    }
                }
                let mut sum = vec![5; words.len()];
                add_packed_narrow(&mut sum, bits, &packed);
                let mut added = words.iter().zip(&sum);
                assert!(added.all(|(word, sum)| word.wrapping_add(5) & mask == sum & mask));
            }
        }
    }

    proptest! {
        #[test]
        fn wide_packing_round_trips(bits in 33_u8..=64, words: Vec<u64>) {
            let mask = u64::MAX >> (64 - bits);
            let words: Vec<u64> = words.into_iter().map(|word| word & mask).collect();
            let mut packed = Vec::new();
            pack_wide(&words, bits, &mut packed);
            prop_assert_eq!(packed.len(), (words.len() * usize::from(bits)).div_ceil(8));
            let mut sum = vec![0; words.len()];
            add_packed_wide(&mut sum, bits, &packed);
            prop_assert_eq!(sum, words);
        }

        #[test]
        fn masking_and_unmasking_are_inverse_and_follow_the_layout(
            bits in 1_u8..=24, len in prop_oneof![1_usize..1_200, 4_000_usize..9_000],
            keystream in any::<[u8; 32]>(),
        ) {
            let groups = len.div_ceil(GROUP);
            let bytes: Vec<u8> = keystream
                .iter()
                .copied()
                .cycle()
                .enumerate()
                .map(|(i, byte)| byte.wrapping_add(u8::try_from(i / 32 % 251).unwrap()))
                .take(groups * BLOCK_LEN * usize::from(bits))
                .collect();
            let stream = bytes.as_chunks().0;
            let mask = u32::MAX >> (32 - bits);
            let mut words = vec![0; len];
            mask_vertical(Path::PORTABLE, &mut words, bits, stream, Sign::Plus);
            // Whole groups of keystream have the layout of packed whole groups.
            let whole = vec![0; groups * GROUP];
            for (element, word) in words.iter().enumerate() {
                for bit in 0..usize::from(bits) {
                    let expected = reference_bit(&whole, bits.into(), &bytes, element, bit);
                    prop_assert_eq!(word >> bit & 1 == 1, expected);
                }
            }
            mask_vertical(Path::PORTABLE, &mut words, bits, stream, Sign::Minus);
            prop_assert!(words.iter().all(|word| word & mask == 0));
        }
    }
}
