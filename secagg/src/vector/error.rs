//! Why a client's input is refused.

use alloc::string::String;
use core::fmt;

/// Why a vector cannot be a client's input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputError {
    /// The layout has no segment of this name.
    UnknownSegment {
        /// The name.
        name: String,
    },
    /// The segment was set before.
    SegmentTwice {
        /// The name.
        name: String,
    },
    /// The segment was not set.
    SegmentMissing {
        /// The name.
        name: String,
    },
    /// The number of elements is not the segment's length.
    Length {
        /// The segment.
        name: String,
        /// The segment's length.
        expected: u32,
        /// How many elements there were; `None` for more than expected.
        found: Option<usize>,
    },
    /// An element is so large that a sum over the largest cohort could wrap around.
    OutOfRange {
        /// The segment.
        name: String,
        /// The element's position. The element itself is private: an error may be logged.
        index: usize,
        /// The largest value allowed.
        max: u64,
    },
    /// The vector has another layout than the session.
    OtherLayout,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSegment { name } => write!(f, "the layout has no segment {name:?}"),
            Self::SegmentTwice { name } => write!(f, "segment {name:?} was set twice"),
            Self::SegmentMissing { name } => write!(f, "segment {name:?} was not set"),
            Self::Length {
                name,
                expected,
                found: Some(found),
            } => {
                write!(
                    f,
                    "segment {name:?} has {expected} elements, {found} were given"
                )
            }
            Self::Length {
                name,
                expected,
                found: None,
            } => {
                write!(
                    f,
                    "segment {name:?} has {expected} elements, more were given"
                )
            }
            Self::OutOfRange { name, index, max } => write!(
                f,
                "element {index} of segment {name:?} is too large; at most {max} is allowed, so \
                 that no sum over the largest cohort wraps around"
            ),
            Self::OtherLayout => f.write_str("the vector has another layout than the session"),
        }
    }
}

impl core::error::Error for InputError {}
