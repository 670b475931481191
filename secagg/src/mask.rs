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

use chacha20::{ChaCha20, KeyIvInit, cipher::StreamCipher};
use zeroize::Zeroize;

use crate::{
    id::ClientId,
    secret::Key,
    vector::{Vector, Words},
    words::{self, GROUP, MAX_VERTICAL_BITS, ROW_BYTES, Sign},
};

/// Groups, or their worth in words, that are expanded at once: keystream and words stay in the
/// first-level cache.
const GROUPS_AT_ONCE: usize = 8;

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

/// Adds or subtracts the mask of this key. The words may hold carries above each element's bits
/// afterwards, until the vector is reduced.
pub(crate) fn apply(key: &Key, sign: Sign, vector: &mut Vector) {
    for ((segment, words), index) in vector.parts_mut().zip(0_u32..) {
        let mut keystream = Keystream::new(key, index);
        match words {
            Words::Narrow(words) if segment.bits() <= MAX_VERTICAL_BITS => {
                let group_bytes = ROW_BYTES * usize::from(segment.bits());
                for words in words.chunks_mut(GROUPS_AT_ONCE * GROUP) {
                    let stream = keystream.next(words.len().div_ceil(GROUP) * group_bytes);
                    words::mask_vertical(words, segment.bits(), stream, sign);
                }
            }
            Words::Narrow(words) => {
                for words in words.chunks_mut(GROUPS_AT_ONCE * GROUP / 2) {
                    words::mask_narrow(words, keystream.next(4 * words.len()), sign);
                }
            }
            Words::Wide(words) => {
                for words in words.chunks_mut(GROUPS_AT_ONCE * GROUP / 4) {
                    words::mask_wide(words, keystream.next(8 * words.len()), sign);
                }
            }
        }
    }
}

/// The block counter has 32 bits; past it the keystream would repeat. A segment's length has 32
/// bits as well, and none of the layouts takes a block for each element.
const _: () = {
    const LEN: u64 = u32::MAX as u64;
    assert!(LEN.div_ceil(GROUP as u64) * (MAX_VERTICAL_BITS as u64) < 1 << 32);
    assert!(LEN.div_ceil(ROW_BYTES as u64 / 8) < 1 << 32);
};

/// The keystream of one segment, as much at once as stays in the first-level cache.
struct Keystream {
    cipher: ChaCha20,
    buffer: [u8; GROUPS_AT_ONCE * ROW_BYTES * MAX_VERTICAL_BITS as usize],
}

impl Keystream {
    fn new(key: &Key, segment: u32) -> Self {
        // V-27. One stream for two segments would tell the server the difference of the two.
        let mut nonce = [0; 12];
        for (to, from) in nonce.iter_mut().zip(segment.to_le_bytes()) {
            *to = from;
        }
        let cipher = ChaCha20::new(key.as_bytes().into(), &nonce.into());
        Self {
            cipher,
            buffer: [0; _],
        }
    }

    /// The next bytes of the stream. `len` is at most the buffer's size and, but for the last
    /// call, a multiple of the block's 64 bytes.
    fn next(&mut self, len: usize) -> &[u8] {
        let (stream, _) = self.buffer.split_at_mut(len);
        self.cipher.write_keystream(stream);
        stream
    }
}

impl Drop for Keystream {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

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

    fn masked(layout: &Layout) -> Vector {
        let mut vector = Vector::zero(layout);
        apply(&Key::from_bytes(KEY), Sign::Plus, &mut vector);
        vector.reduce();
        vector
    }

    /// The mask of a segment is the keystream of RFC 8439 read in the documented layout.
    #[test]
    fn masks_are_the_keystream_in_its_layout() {
        let layout = [(700, 20), (5, 32), (5, 33), (70, 3)];
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
            let key = Key::from_bytes([bits; 32]);
            let mut vector = Vector::zero(session.layout());
            apply(&key, Sign::Minus, &mut vector);
            apply(&key, opposite(Sign::Minus), &mut vector);
            vector.reduce();
            assert!(vector == Vector::zero(session.layout()));
        }
    }

    #[test]
    fn of_two_neighbours_exactly_one_adds() {
        let (low, high) = (ClientId::from_bytes([1; 16]), ClientId::from_bytes([2; 16]));
        assert_eq!(sign(low, high), Sign::Plus);
        assert_eq!(sign(high, low), Sign::Minus);
    }
}
