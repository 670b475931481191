//! Vectors over Z_{2^b} in named segments, and how they are packed into bits.
//!
//! A segment of b ≤ 24 bits is packed in groups of 512 elements, vertically: a group is b rows of
//! sixteen 32-bit words; column l, read over the rows, is a string of 32·b bits, and element
//! (r, l), number 16·r + l of the group, is its bits [r·b, r·b + b). What is left of the last group,
//! and every segment of more than 24 bits, is packed element after element from the lowest bit
//! up. Words are little-endian. The masks' keystream has the same layout (see `mask.rs`), so a
//! group of mask costs as little as a group of input.

mod error;

use alloc::{string::String, sync::Arc, vec, vec::Vec};
use core::fmt;

use zeroize::Zeroize;

pub use self::error::InputError;
use crate::{params::ParametersError, session::Session, words};

/// One named part of a vector: `len` elements of `bits` bits each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    name: String,
    len: u32,
    bits: u8,
}

impl Segment {
    /// Longest name, in bytes.
    pub const MAX_NAME_LEN: usize = 64;

    /// A segment of `len` elements modulo 2^`bits`.
    ///
    /// # Errors
    ///
    /// When the name is empty or too long, `len` is zero, or `bits` is not within 1..=64.
    pub fn new(name: &str, len: u32, bits: u8) -> Result<Self, ParametersError> {
        if name.is_empty() || name.len() > Self::MAX_NAME_LEN {
            return Err(ParametersError::SegmentName { len: name.len() });
        }
        if !(1..=64).contains(&bits) {
            return Err(ParametersError::SegmentBits {
                name: name.into(),
                bits,
            });
        }
        if len == 0 {
            return Err(ParametersError::SegmentEmpty { name: name.into() });
        }
        Ok(Self {
            name: name.into(),
            len,
            bits,
        })
    }

    /// The segment's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of elements.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Always false: a segment has at least one element.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Bits of one element: elements are numbers modulo 2^bits.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.bits
    }

    /// The largest element, 2^bits − 1.
    #[must_use]
    pub const fn max_element(&self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }

    /// Bytes of this segment in a packed vector.
    #[must_use]
    pub fn packed_len(&self) -> usize {
        usize::try_from(self.packed_bits().div_ceil(8)).unwrap_or(usize::MAX)
    }

    /// Bits of this segment in a packed vector, without the padding.
    const fn packed_bits(&self) -> u64 {
        // At most 2^32 · 64: a 32-bit machine's `usize` would overflow.
        self.len as u64 * self.bits as u64
    }

    /// Bits that pad the packed segment to a whole byte, in its last byte from the highest down.
    pub(crate) const fn padding_bits(&self) -> u32 {
        (self.packed_bits().wrapping_neg() % 8) as u32
    }
}

/// The shape of a vector: its segments in order.
///
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    segments: Arc<[Segment]>,
}

impl Layout {
    /// Largest number of segments.
    pub const MAX_SEGMENTS: usize = 256;

    /// A layout of these segments.
    ///
    /// # Errors
    ///
    /// When there is no segment, there are too many, or two have the same name.
    pub fn new(segments: Vec<Segment>) -> Result<Self, ParametersError> {
        if segments.is_empty() || segments.len() > Self::MAX_SEGMENTS {
            return Err(ParametersError::SegmentCount {
                count: segments.len(),
            });
        }
        for (position, segment) in segments.iter().enumerate() {
            if segments
                .iter()
                .take(position)
                .any(|earlier| earlier.name == segment.name)
            {
                return Err(ParametersError::DuplicateSegment {
                    name: segment.name.clone(),
                });
            }
        }
        Ok(Self {
            segments: segments.into(),
        })
    }

    /// The segments in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The segment of this name.
    #[must_use]
    pub fn segment(&self, name: &str) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.name == name)
    }

    /// Bytes of a packed vector: each segment is padded to a whole byte.
    #[must_use]
    pub fn packed_len(&self) -> usize {
        self.segments
            .iter()
            .fold(0, |sum, segment| sum.saturating_add(segment.packed_len()))
    }
}

/// The elements of one segment, in the narrowest words that hold them. Above the element's bits
/// the words may hold carries until [`Vector::reduce`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Words {
    /// Up to 32 bits.
    Narrow(Vec<u32>),
    /// 33 to 64 bits.
    Wide(Vec<u64>),
}

impl Words {
    fn zero(segment: &Segment) -> Self {
        let len = segment.len as usize;
        if segment.bits <= 32 {
            Self::Narrow(vec![0; len])
        } else {
            Self::Wide(vec![0; len])
        }
    }
}

/// A vector of a layout's shape.
///
/// It may be one client's private input: it is wiped when dropped, and `Debug` shows its shape
/// only.
#[derive(Clone, PartialEq, Eq)]
pub struct Vector {
    layout: Layout,
    words: Vec<Words>,
}

impl Vector {
    /// The vector of zeros.
    #[must_use]
    pub fn zero(layout: &Layout) -> Self {
        let words = layout.segments.iter().map(Words::zero).collect();
        Self {
            layout: layout.clone(),
            words,
        }
    }

    /// Starts a client's input for this session, checked segment by segment.
    #[must_use]
    pub fn builder(session: &Session) -> VectorBuilder<'_> {
        VectorBuilder {
            session,
            vector: Self::zero(session.layout()),
            filled: Vec::new(),
        }
    }

    /// The vector's shape.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The elements of the segment of this name.
    pub fn segment(&self, name: &str) -> Option<impl ExactSizeIterator<Item = u64> + '_> {
        let mut parts = self.layout.segments.iter().zip(&self.words);
        let (_, words) = parts.find(|(segment, _)| segment.name == name)?;
        let (narrow, wide): (&[u32], &[u64]) = match words {
            Words::Narrow(words) => (words, &[]),
            Words::Wide(words) => (&[], words),
        };
        Some(Elements {
            narrow: narrow.iter(),
            wide: wide.iter(),
        })
    }

    /// Adds another vector of the same layout, element by element modulo 2^b.
    ///
    /// # Errors
    ///
    /// When the layouts differ.
    pub fn add(&mut self, other: &Self) -> Result<(), InputError> {
        if self.layout != other.layout {
            return Err(InputError::OtherLayout);
        }
        for (to, from) in self.words.iter_mut().zip(&other.words) {
            match (to, from) {
                (Words::Narrow(to), Words::Narrow(from)) => {
                    to.iter_mut()
                        .zip(from)
                        .for_each(|(to, from)| *to = to.wrapping_add(*from));
                }
                (Words::Wide(to), Words::Wide(from)) => {
                    to.iter_mut()
                        .zip(from)
                        .for_each(|(to, from)| *to = to.wrapping_add(*from));
                }
                _ => unreachable!("equal layouts have equal words"),
            }
        }
        self.reduce();
        Ok(())
    }

    /// Whether every element is within [`Session::max_input`].
    pub(crate) fn check_input(&self, session: &Session) -> Result<(), InputError> {
        if self.layout != *session.layout() {
            return Err(InputError::OtherLayout);
        }
        for segment in self.layout.segments() {
            let mut range = Range::new(session.max_input(segment));
            let elements = self.segment(&segment.name).into_iter().flatten();
            elements.for_each(|element| range.see(element));
            range.all(&segment.name)?;
        }
        Ok(())
    }

    /// Each segment with its words.
    pub(crate) fn parts_mut(&mut self) -> impl Iterator<Item = (&Segment, &mut Words)> {
        self.layout.segments.iter().zip(&mut self.words)
    }

    /// Clears the carries above each element's bits.
    pub(crate) fn reduce(&mut self) {
        for (segment, words) in self.parts_mut() {
            let mask = segment.max_element();
            match words {
                Words::Narrow(words) => {
                    let mask = u32::try_from(mask).expect("narrow words have at most 32 bits");
                    words.iter_mut().for_each(|word| *word &= mask);
                }
                Words::Wide(words) => words.iter_mut().for_each(|word| *word &= mask),
            }
        }
    }

    /// Appends the packed bits of a reduced vector.
    pub(crate) fn pack(&self, out: &mut Vec<u8>) {
        for (segment, words) in self.layout.segments.iter().zip(&self.words) {
            match words {
                Words::Narrow(words) => words::pack_narrow(words, segment.bits, out),
                Words::Wide(words) => words::pack_wide(words, segment.bits, out),
            }
        }
    }

    /// Adds a packed vector of the same layout without unpacking it to memory first. Above each
    /// element's bits the words hold anything until [`reduce`](Self::reduce).
    pub(crate) fn add_packed(&mut self, packed: &[u8]) {
        let mut rest = packed;
        for (segment, words) in self.parts_mut() {
            let (bytes, tail) = rest
                .split_at_checked(segment.packed_len())
                .unwrap_or((rest, &[]));
            rest = tail;
            match words {
                Words::Narrow(words) => words::add_packed_narrow(words, segment.bits, bytes),
                Words::Wide(words) => words::add_packed_wide(words, segment.bits, bytes),
            }
        }
    }
}

impl Drop for Vector {
    fn drop(&mut self) {
        for words in &mut self.words {
            match words {
                Words::Narrow(words) => words.zeroize(),
                Words::Wide(words) => words.zeroize(),
            }
        }
    }
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vector")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

/// Iterates over a segment's elements; one of the two slices is empty.
struct Elements<'a> {
    narrow: core::slice::Iter<'a, u32>,
    wide: core::slice::Iter<'a, u64>,
}

impl Iterator for Elements<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.narrow
            .next()
            .copied()
            .map(u64::from)
            .or_else(|| self.wide.next().copied())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.narrow.len() + self.wide.len();
        (len, Some(len))
    }
}

impl ExactSizeIterator for Elements<'_> {}

/// Fills a client's input segment by segment.
#[derive(Debug)]
pub struct VectorBuilder<'a> {
    session: &'a Session,
    vector: Vector,
    filled: Vec<String>,
}

impl VectorBuilder<'_> {
    /// Sets the elements of a segment.
    ///
    /// # Errors
    ///
    /// When the layout has no such segment, it was set before, the number of elements differs
    /// from the segment's length, or an element is above [`Session::max_input`], so that a sum
    /// over the largest cohort could wrap around.
    pub fn segment(
        mut self,
        name: &str,
        elements: impl IntoIterator<Item = u64>,
    ) -> Result<Self, InputError> {
        if self.filled.iter().any(|filled| filled == name) {
            return Err(InputError::SegmentTwice { name: name.into() });
        }
        let session = self.session;
        let Some((segment, words)) = self.vector.parts_mut().find(|part| part.0.name == name)
        else {
            return Err(InputError::UnknownSegment { name: name.into() });
        };
        let mut range = Range::new(session.max_input(segment));
        let mut elements = elements.into_iter();
        let mut next = |index: usize| {
            let element = elements.next().ok_or_else(|| InputError::Length {
                name: name.into(),
                expected: segment.len,
                found: Some(index),
            })?;
            range.see(element);
            Ok(element)
        };
        match words {
            Words::Narrow(words) => {
                for (index, word) in words.iter_mut().enumerate() {
                    // What is cut off here is out of range.
                    *word = (next(index)? & 0xffff_ffff) as u32;
                }
            }
            Words::Wide(words) => {
                for (index, word) in words.iter_mut().enumerate() {
                    *word = next(index)?;
                }
            }
        }
        range.all(name)?;
        if elements.next().is_some() {
            let expected = segment.len;
            return Err(InputError::Length {
                name: name.into(),
                expected,
                found: None,
            });
        }
        self.filled.push(name.into());
        Ok(self)
    }

    /// The finished input.
    ///
    /// # Errors
    ///
    /// When a segment was not set.
    pub fn build(self) -> Result<Vector, InputError> {
        let mut segments = self.session.layout().segments().iter();
        match segments.find(|segment| !self.filled.contains(&segment.name)) {
            Some(missing) => Err(InputError::SegmentMissing {
                name: missing.name.clone(),
            }),
            None => Ok(self.vector),
        }
    }
}

/// Whether all elements are at most `max`, found out without a branch on any one of them: only
/// the verdict on a whole segment shows in the time.
struct Range {
    max: u64,
    all: bool,
    /// Elements before the first that is too large.
    leading: usize,
}

impl Range {
    const fn new(max: u64) -> Self {
        Self {
            max,
            all: true,
            leading: 0,
        }
    }

    fn see(&mut self, element: u64) {
        self.all &= element <= self.max;
        self.leading += usize::from(self.all);
    }

    fn all(self, name: &str) -> Result<(), InputError> {
        let Self { max, all, leading } = self;
        if all {
            return Ok(());
        }
        Err(InputError::OutOfRange {
            name: name.into(),
            index: leading,
            max,
        })
    }
}
