//! What the fuzzer's bytes mean where a target is not a decoder: one choice after the other.

/// Choices made by bytes; when the bytes are used up, every choice is the first.
#[derive(Clone, Debug)]
pub struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    /// The choices that these bytes make.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether the bytes are used up.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Any bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let (head, rest) = self.rest.split_at(self.rest.len().min(N));
        array[..head.len()].copy_from_slice(head);
        self.rest = rest;
        array
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `end`; zero where `end` is zero.
    pub fn below(&mut self, end: usize) -> usize {
        let number: usize = if end <= 256 {
            self.byte().into()
        } else {
            u16::from_le_bytes(self.array()).into()
        };
        if end == 0 { 0 } else { number % end }
    }

    /// One of some values.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn one_of<'v, V>(&mut self, values: &'v [V]) -> &'v V {
        &values[self.below(values.len())]
    }

    /// A set of positions below `end`, each a bit.
    pub fn set(&mut self, end: usize) -> Vec<bool> {
        let bytes: Vec<u8> = (0..end.div_ceil(8)).map(|_| self.byte()).collect();
        (0..end).map(|i| bytes[i / 8] >> (i % 8) & 1 == 1).collect()
    }

    /// Changes some bytes as a liar would: bits and bytes changed, parts copied over others, the end
    /// cut off or more appended.
    pub fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let len = bytes.len();
            match self.below(8) {
                0..=2 if len > 0 => bytes[self.below(len)] ^= 1 << self.below(8),
                3 if len > 0 => bytes[self.below(len)] = self.byte(),
                4 | 5 => {
                    let part = *self.one_of(&[16, 32, 33, 80, 232]);
                    let (from, to) = (self.below(len), self.below(len));
                    let part = part.min(len - from).min(len - to);
                    bytes.copy_within(from..from + part, to);
                }
                6 => bytes.truncate(self.below(len + 1)),
                _ => bytes.extend(self.array::<33>().into_iter().take(self.byte().into())),
            }
        }
    }
}
