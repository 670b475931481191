//! Sets of positions, one bit each.

use alloc::{vec, vec::Vec};

use crate::codec::{DecodeError, Reader};

/// A subset of 0..len.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    bits: Vec<u8>,
    len: usize,
}

impl Set {
    pub(crate) fn empty(len: usize) -> Self {
        Self {
            bits: vec![0; len.div_ceil(8)],
            len,
        }
    }

    pub(crate) fn from_positions(len: usize, positions: impl IntoIterator<Item = usize>) -> Self {
        let mut set = Self::empty(len);
        for position in positions {
            set.insert(position);
        }
        set
    }

    /// Adds a position; one outside the range is left out.
    pub(crate) fn insert(&mut self, position: usize) {
        if position < self.len
            && let Some(byte) = self.bits.get_mut(position / 8)
        {
            *byte |= 1 << (position % 8);
        }
    }

    pub(crate) fn contains(&self, position: usize) -> bool {
        self.bits
            .get(position / 8)
            .is_some_and(|byte| (byte >> (position % 8)) & 1 == 1)
    }

    /// The size of the range, not of the set.
    pub(crate) const fn range(&self) -> usize {
        self.len
    }

    pub(crate) fn count(&self) -> usize {
        self.bits
            .iter()
            .map(|byte| byte.count_ones() as usize)
            .sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len).filter(|position| self.contains(*position))
    }

    /// The encoding: see [`encode`](Self::encode).
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// One bit a position from the lowest up, zeros to a whole byte.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bits);
    }

    pub(crate) fn decode(
        reader: &mut Reader<'_>,
        what: &'static str,
        len: usize,
    ) -> Result<Self, DecodeError> {
        let bits = reader.bytes(what, len.div_ceil(8))?.to_vec();
        let set = Self { bits, len };
        // V-25. Bits behind the end would be counted, and give one set many encodings to sign.
        let used = len % 8;
        let padding = set
            .bits
            .last()
            .map_or(0, |byte| if used == 0 { 0 } else { byte >> used });
        if padding == 0 {
            Ok(set)
        } else {
            Err(DecodeError::NonCanonical { what })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn padding_bits_must_be_zero() {
        let mut reader = Reader::new(&[0b1111_1000]);
        let error = Set::decode(&mut reader, "set", 3).unwrap_err();
        assert_eq!(error, DecodeError::NonCanonical { what: "set" });
    }

    #[test]
    fn positions_outside_the_range_are_left_out() {
        let set = Set::from_positions(3, [0, 2, 3, 7, 8, usize::MAX]);
        assert!(set.iter().eq([0, 2]));
        assert_eq!((set.count(), set.as_bytes()), (2, [0b101].as_slice()));
    }

    proptest! {
        #[test]
        fn encoding_round_trips(members: Vec<bool>) {
            let positions = members.iter().enumerate().filter(|member| *member.1).map(|m| m.0);
            let set = Set::from_positions(members.len(), positions.clone());
            prop_assert!(set.iter().eq(positions));
            prop_assert_eq!(set.count(), set.iter().count());
            let mut bytes = Vec::new();
            set.encode(&mut bytes);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(Set::decode(&mut reader, "set", members.len()).unwrap(), set);
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }
}
