//! The sum that a round must give, from the masked vectors that were sent and the inputs behind
//! them.

use secagg::{Session, Vector};

/// Numbers modulo 2^b, segment by segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    elements: Vec<Vec<u64>>,
    masks: Vec<u64>,
}

impl Sum {
    /// The sum of nothing.
    #[must_use]
    pub fn zero(session: &Session) -> Self {
        Self::of(&Vector::zero(session.layout()))
    }

    /// The elements of a vector.
    ///
    /// # Panics
    ///
    /// When a vector has not the segments of its own layout.
    #[must_use]
    pub fn of(vector: &Vector) -> Self {
        let segments = vector.layout().segments();
        let elements = |name| vector.segment(name).expect("a segment of the layout");
        Self {
            elements: segments
                .iter()
                .map(|s| elements(s.name()).collect())
                .collect(),
            masks: segments.iter().map(secagg::Segment::max_element).collect(),
        }
    }

    /// The elements of a masked vector's message. None of the segments has a group of 512 elements,
    /// so each is packed one element after the other.
    ///
    /// # Panics
    ///
    /// When the message is too short.
    #[must_use]
    pub fn of_message(session: &Session, message: &[u8]) -> Self {
        let mut sum = Self::zero(session);
        let mut packed = &message[18..];
        for (segment, elements) in session.layout().segments().iter().zip(&mut sum.elements) {
            let (own, rest) = packed.split_at(segment.packed_len());
            packed = rest;
            for (place, element) in elements.iter_mut().enumerate() {
                let bits = usize::from(segment.bits());
                let bit = |i: usize| u64::from(own[i / 8] >> (i % 8) & 1);
                *element = (0..bits).map(|i| bit(place * bits + i) << i).sum();
            }
        }
        sum
    }

    /// Adds another sum.
    pub fn add(&mut self, other: &Self) {
        self.each(other, u64::wrapping_add);
    }

    /// Takes another sum off.
    pub fn subtract(&mut self, other: &Self) {
        self.each(other, u64::wrapping_sub);
    }

    fn each(&mut self, other: &Self, operation: impl Fn(u64, u64) -> u64) {
        let segments = self.elements.iter_mut().zip(&other.elements);
        for ((to, from), mask) in segments.zip(&self.masks) {
            for (to, from) in to.iter_mut().zip(from) {
                *to = operation(*to, *from) & mask;
            }
        }
    }
}
