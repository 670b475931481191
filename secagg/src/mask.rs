//! From a key to a keystream to a mask on a vector.
//!
//! The stream is `ChaCha20` under a 256-bit key (RFC 8439), with the nonce LE32(segment index) ‖
//! 0^8 and the block counter from 0, so that every segment has a stream of its own. Up to 24 bits
//! an element the stream is read in groups of 512 elements with the vertical layout of
//! `vector.rs` (a group is b consecutive blocks); from 25 to 32 bits an element is the low bits of
//! one 32-bit word, from 33 on of one 64-bit word.
//!
//! The sign rule: of two neighbours the one with the smaller id adds their mask, the other
//! subtracts it. A self mask is added.

use zeroize::Zeroize;

use crate::{
    id::ClientId,
    kernel::{BATCH, BLOCK_LEN, Block, Path},
    parallel,
    secret::Key,
    vector::{Vector, Words},
    words::{self, GROUP, MAX_VERTICAL_BITS, Sign},
};

/// Groups that all masks are applied to before the next: they and their keystream stay in the
/// first-level cache.
const GROUPS: usize = 8;

/// Blocks of keystream for as much as that.
const BLOCKS: usize = GROUPS * MAX_VERTICAL_BITS as usize;

/// Words of segments without groups that all masks are applied to before the next.
const NARROW_WORDS: usize = 128 * BLOCK_LEN / 4;
const WIDE_WORDS: usize = 128 * BLOCK_LEN / 8;

/// A mask to be put on or taken off.
#[derive(Debug)]
pub(crate) struct Mask {
    pub(crate) key: Key,
    pub(crate) sign: Sign,
}

/// What `own` does with the mask that it shares with `peer`.
pub(crate) fn sign(own: ClientId, peer: ClientId) -> Sign {
    if own < peer { Sign::Plus } else { Sign::Minus }
}

/// The sign that takes a mask off again.
pub(crate) const fn opposite(sign: Sign) -> Sign {
    match sign {
        Sign::Plus => Sign::Minus,
        Sign::Minus => Sign::Plus,
    }
}

/// Adds or subtracts masks, piece after piece of the vector: each piece is loaded once for all
/// masks. The words may hold carries above each element's bits afterwards, until the vector is
/// reduced.
pub(crate) fn apply(masks: &[Mask], vector: &mut Vector) {
    apply_by(Path::best(), masks, vector);
}

/// The same by a path of the caller's choice.
pub(crate) fn apply_by(path: Path, masks: &[Mask], vector: &mut Vector) {
    parallel::for_each(pieces(vector), Keystream::new, |keystream, mut piece| {
        for mask in masks {
            piece.apply(path, mask, keystream);
        }
    });
}

/// The block counter has 32 bits; past it the keystream would repeat. A segment's length has 32
/// bits as well, and none of the layouts takes a block for each element.
const _: () = {
    const LEN: u64 = u32::MAX as u64;
    assert!(LEN.div_ceil(GROUP as u64) * (MAX_VERTICAL_BITS as u64) < 1 << 32);
    assert!(LEN.div_ceil(BLOCK_LEN as u64 / 8) < 1 << 32);
    assert!(BLOCKS.is_multiple_of(BATCH) && BLOCKS >= 128);
};

/// A part of a vector's segment.
struct Piece<'a> {
    /// V-27. One stream for two segments would tell the server the difference of the two.
    segment: u32,
    /// The block of the segment's stream that the piece begins with.
    counter: u32,
    words: PieceWords<'a>,
}

enum PieceWords<'a> {
    Vertical(&'a mut [u32], u8),
    Narrow(&'a mut [u32]),
    Wide(&'a mut [u64]),
}

fn pieces(vector: &mut Vector) -> impl Iterator<Item = Piece<'_>> {
    let parts = vector.parts_mut().zip(0_u32..);
    parts.flat_map(|((segment, words), index)| {
        let bits = segment.bits();
        let (narrow, wide): (&mut [u32], &mut [u64]) = match words {
            Words::Narrow(words) => (words, &mut []),
            Words::Wide(words) => (&mut [], words),
        };
        let vertical = bits <= MAX_VERTICAL_BITS;
        let (len, blocks) = if vertical {
            (GROUPS * GROUP, GROUPS * usize::from(bits))
        } else {
            (NARROW_WORDS, 128)
        };
        let narrow = narrow.chunks_mut(len).map(move |words| {
            if vertical {
                PieceWords::Vertical(words, bits)
            } else {
                PieceWords::Narrow(words)
            }
        });
        let wide = wide.chunks_mut(WIDE_WORDS).map(PieceWords::Wide);
        let counters = (0_u32..).step_by(blocks);
        let words = narrow.chain(wide).zip(counters);
        words.map(move |(words, counter)| Piece {
            segment: index,
            counter,
            words,
        })
    })
}

impl Piece<'_> {
    fn apply(&mut self, path: Path, mask: &Mask, keystream: &mut Keystream) {
        let blocks = match &self.words {
            PieceWords::Vertical(words, bits) => words.len().div_ceil(GROUP) * usize::from(*bits),
            PieceWords::Narrow(words) => (4 * words.len()).div_ceil(BLOCK_LEN),
            PieceWords::Wide(words) => (8 * words.len()).div_ceil(BLOCK_LEN),
        };
        let stream = keystream.expand(path, &mask.key, self.segment, self.counter, blocks);
        match &mut self.words {
            PieceWords::Vertical(words, bits) => {
                words::mask_vertical(path, words, *bits, stream, mask.sign);
            }
            PieceWords::Narrow(words) => words::mask_narrow(path, words, stream, mask.sign),
            PieceWords::Wide(words) => words::mask_wide(path, words, stream, mask.sign),
        }
    }
}

/// Room for the keystream of one piece. Who has it and the masked vector has the input: it is
/// wiped. Aligned, because a vector register's worth of bytes over two cache lines takes twice the
/// time.
#[repr(align(64))]
struct Keystream([[Block; BATCH]; BLOCKS / BATCH]);

impl Keystream {
    const fn new() -> Self {
        Self([[[0; BLOCK_LEN]; BATCH]; BLOCKS / BATCH])
    }

    /// The blocks from `counter` on of a segment's stream, at least `blocks` of them.
    fn expand(
        &mut self,
        path: Path,
        key: &Key,
        segment: u32,
        counter: u32,
        blocks: usize,
    ) -> &[Block] {
        let (batches, _) = self.0.split_at_mut(blocks.div_ceil(BATCH));
        path.expand(key, [segment, 0, 0], counter, batches);
        batches.as_flattened()
    }
}

impl Drop for Keystream {
    fn drop(&mut self) {
        self.0.as_flattened_mut().as_flattened_mut().zeroize();
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use chacha20::{ChaCha20, KeyIvInit, cipher::StreamCipher};
    use proptest::{prelude::*, sample::select};

    use super::*;
    use crate::{
        params::{GraphKind, Parameters, ThreatModel},
        session::{Context, Session},
        vector::{Layout, Segment},
    };

    const KEY: [u8; 32] = *b"0123456789abcdef0123456789ABCDEF";

    fn session(segments: &[(u32, u8)]) -> Session {
        let segments = segments
            .iter()
            .enumerate()
            .map(|(i, (len, bits))| Segment::new(&alloc::format!("s{i}"), *len, *bits).unwrap())
            .collect();
        let parameters = Parameters::new(
            ThreatModel::HonestButCurious,
            GraphKind::Complete,
            3..=3,
            Layout::new(segments).unwrap(),
        );
        let context = Context {
            round: 0,
            nonce: [0; 32],
            model_digest: [0; 32],
            plan_digest: [0; 32],
        };
        Session::new(parameters.unwrap(), context)
    }

    fn mask(key: [u8; 32], sign: Sign) -> Mask {
        let key = Key::from_bytes(key);
        Mask { key, sign }
    }

    fn masked(layout: &Layout) -> Vector {
        let mut vector = Vector::zero(layout);
        apply(&[mask(KEY, Sign::Plus)], &mut vector);
        vector.reduce();
        vector
    }

    /// The mask of a segment is the keystream of RFC 8439 read in the documented layout, over
    /// several of the pieces in which it is made: no part of it comes twice.
    #[test]
    fn masks_are_the_keystream_in_its_layout() {
        let layout = [(9_000, 20), (5_000, 32), (2_500, 33), (8_200, 3)];
        let session = session(&layout);
        let vector = masked(session.layout());
        for (index, (len, bits)) in layout.into_iter().enumerate() {
            let bits = usize::from(bits);
            let mut stream = vec![0; 64 * 1024];
            let mut nonce = [0; 12];
            nonce[0] = u8::try_from(index).unwrap();
            ChaCha20::new(&KEY.into(), &nonce.into()).write_keystream(&mut stream);
            let bit = |position: usize| u64::from(stream[position / 8] >> (position % 8) & 1);
            let expected: Vec<u64> = (0..len as usize)
                .map(|element| {
                    let (group, within) = (element / 512, element % 512);
                    let (row, column) = (within / 16, within % 16);
                    (0..bits).fold(0, |value, i| {
                        let position = if bits <= 24 {
                            let string = row * bits + i;
                            ((group * bits + string / 32) * 16 + column) * 32 + string % 32
                        } else {
                            element * if bits <= 32 { 32 } else { 64 } + i
                        };
                        value | bit(position) << i
                    })
                })
                .collect();
            let name = alloc::format!("s{index}");
            assert_eq!(vector.segment(&name).unwrap().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn taking_a_mask_off_restores_the_vector() {
        for bits in 2..=64 {
            let session = session(&[(9_000, bits)]);
            let mut vector = Vector::zero(session.layout());
            apply(&[mask([bits; 32], Sign::Minus)], &mut vector);
            apply(&[mask([bits; 32], opposite(Sign::Minus))], &mut vector);
            vector.reduce();
            assert!(vector == Vector::zero(session.layout()));
        }
    }

    proptest! {
        /// Several masks of both signs in one pass, by every path, are the same masks one by one
        /// by the reference.
        #[test]
        fn every_path_masks_as_the_reference_does(
            bits in 1_u8..=64,
            groups in 0_usize..19,
            beyond in select(vec![1_usize, 2, 15, 16, 17, 255, 256, 257, 511, 512]),
            keys in proptest::collection::vec((any::<[u8; 32]>(), any::<bool>()), 1..4),
            fill: u64,
        ) {
            let len = u32::try_from(groups * GROUP + beyond).unwrap();
            let layout = Layout::new(vec![
                Segment::new("first", 3, 7).unwrap(),
                Segment::new("second", len, bits).unwrap(),
            ]);
            let mut start = Vector::zero(&layout.unwrap());
            for (segment, words) in start.parts_mut() {
                let element = fill & segment.max_element();
                match words {
                    Words::Narrow(words) => words.fill(words::narrow(element)),
                    Words::Wide(words) => words.fill(element),
                }
            }
            let sign = |plus| if plus { Sign::Plus } else { Sign::Minus };
            let masks: Vec<Mask> =
                keys.into_iter().map(|(key, plus)| mask(key, sign(plus))).collect();
            let mut expected = start.clone();
            for mask in masks.chunks(1) {
                apply_by(Path::PORTABLE, mask, &mut expected);
            }
            expected.reduce();
            for path in [Path::avx2(), Path::avx512()].into_iter().flatten() {
                let mut masked = start.clone();
                apply_by(path, &masks, &mut masked);
                masked.reduce();
                prop_assert!(masked == expected, "{path:?}");
            }
        }
    }

    #[test]
    fn of_two_neighbours_exactly_one_adds() {
        let (low, high) = (ClientId::from_bytes([1; 16]), ClientId::from_bytes([2; 16]));
        assert_eq!(sign(low, high), Sign::Plus);
        assert_eq!(sign(high, low), Sign::Minus);
    }
}
