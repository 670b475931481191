//! Masked vectors as they lie on the wire.

/// Elements of a packed group.
const GROUP: usize = 512;

/// Up to so many bits, whole groups are packed vertically.
const MOST_VERTICAL_BITS: u32 = 24;

/// Bytes of so many numbers of so many bits.
pub(crate) fn packed_len(elements: usize, bits: u32) -> usize {
    (elements * bits as usize).div_ceil(8)
}

/// Reads a packed segment, as `secagg` lays it out: groups of 512 elements of up to 24 bits are
/// rows of sixteen 32-bit words, and column l, read over the rows, is a string of bits that holds
/// the elements l, 16 + l, 32 + l and so on; what is left of the last group, and wider elements,
/// follow each other from the lowest bit up.
pub(crate) fn unpack(packed: &[u8], elements: usize, bits: u32) -> Vec<f64> {
    let vertical = bits <= MOST_VERTICAL_BITS;
    let groups = if vertical { elements / GROUP } else { 0 };
    let group_bytes = GROUP * bits as usize / 8;
    let mut numbers = Vec::with_capacity(elements);
    for group in packed.chunks_exact(group_bytes.max(1)).take(groups) {
        for place in 0..GROUP {
            let (row, column) = (place / 16, place % 16);
            let bit = |bit: u32| {
                let bit = row * bits as usize + bit as usize;
                let byte = 64 * (bit / 32) + 4 * column + bit % 32 / 8;
                u64::from(group[byte] >> (bit % 8) & 1)
            };
            numbers.push(number(bits, bit));
        }
    }
    let tail = &packed[groups * group_bytes..];
    for place in 0..elements - numbers.len() {
        let bit = |bit: u32| {
            let bit = place * bits as usize + bit as usize;
            u64::from(tail[bit / 8] >> (bit % 8) & 1)
        };
        numbers.push(number(bits, bit));
    }
    numbers
}

fn number(bits: u32, bit: impl Fn(u32) -> u64) -> f64 {
    (0..bits).map(|place| bit(place) << place).sum::<u64>() as f64
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// The layout once more, in the other direction.
    pub(crate) fn pack(numbers: &[u64], bits: u32) -> Vec<u8> {
        let mut packed = vec![0; packed_len(numbers.len(), bits)];
        let vertical = if bits <= 24 {
            numbers.len() / GROUP * GROUP
        } else {
            0
        };
        for (place, number) in numbers.iter().enumerate() {
            for bit in 0..bits as usize {
                let position = if place < vertical {
                    let (group, place) = (place / GROUP, place % GROUP);
                    let in_column = place / 16 * bits as usize + bit;
                    let word = group * 16 * bits as usize + in_column / 32 * 16 + place % 16;
                    32 * word + in_column % 32
                } else {
                    let start = 8 * (vertical / 8) * bits as usize;
                    start + (place - vertical) * bits as usize + bit
                };
                packed[position / 8] |= u8::from(number >> bit & 1 == 1) << (position % 8);
            }
        }
        packed
    }

    /// Numbers of 32 bits.
    pub(crate) fn pseudorandom(count: u32) -> Vec<u64> {
        (0..count)
            .map(|n| {
                let digest = Sha256::digest(n.to_le_bytes());
                u64::from(u32::from_le_bytes([
                    digest[0], digest[1], digest[2], digest[3],
                ]))
            })
            .collect()
    }

    #[test]
    fn unpacking_reverses_packing() {
        for (count, bits) in [
            (1, 3),
            (511, 20),
            (512, 20),
            (1300, 24),
            (600, 21),
            (600, 25),
        ] {
            let numbers: Vec<u64> = pseudorandom(count)
                .into_iter()
                .map(|n| n % (1 << bits))
                .collect();
            let expected: Vec<f64> = numbers.iter().map(|&n| n as f64).collect();
            let found = unpack(&pack(&numbers, bits), numbers.len(), bits);
            assert_eq!(found, expected, "{count} elements of {bits} bits");
        }
    }
}
