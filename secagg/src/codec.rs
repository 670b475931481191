//! The canonical byte encoding: one value, one encoding; lengths known before anything is
//! allocated.

use alloc::vec::Vec;
use core::fmt;

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside a field.
    Truncated {
        /// The field.
        what: &'static str,
        /// Bytes that the field needs.
        needed: usize,
        /// Bytes that were left.
        have: usize,
    },
    /// Bytes follow the end of the message.
    Trailing {
        /// How many.
        extra: usize,
    },
    /// The first byte names a version of the encoding that this crate does not speak.
    UnsupportedVersion {
        /// The version found.
        found: u8,
    },
    /// A message of another kind.
    WrongKind {
        /// The kind that was due.
        expected: u8,
        /// The kind found.
        found: u8,
    },
    /// The message belongs to another session: a replay, or a mix-up of rounds.
    OtherSession,
    /// A number outside its range.
    OutOfRange {
        /// The field.
        what: &'static str,
        /// The value found.
        value: u64,
        /// The smallest value allowed.
        min: u64,
        /// The largest value allowed.
        max: u64,
    },
    /// A list that must be strictly ascending is not, so an entry stands in it twice or out of
    /// place.
    NotAscending {
        /// The list.
        what: &'static str,
    },
    /// A public key that is no canonical encoding of a group element, or is the identity.
    InvalidPoint {
        /// Which key.
        what: &'static str,
    },
    /// Bits that must be zero are not: the value has another, canonical encoding.
    NonCanonical {
        /// The field.
        what: &'static str,
    },
    /// Text that is not UTF-8.
    NotText {
        /// The field.
        what: &'static str,
    },
    /// Parameters that decode but are not valid.
    Parameters(crate::ParametersError),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { what, needed, have } => {
                write!(f, "{what} needs {needed} bytes, {have} are left")
            }
            Self::Trailing { extra } => write!(f, "{extra} bytes follow the end of the message"),
            Self::UnsupportedVersion { found } => {
                write!(f, "encoding version {found} is not supported")
            }
            Self::WrongKind { expected, found } => {
                write!(f, "message kind {found} where kind {expected} is due")
            }
            Self::OtherSession => f.write_str("the message belongs to another session"),
            Self::OutOfRange {
                what,
                value,
                min,
                max,
            } => {
                write!(f, "{what} is {value}, allowed are {min} to {max}")
            }
            Self::NotAscending { what } => write!(f, "{what} is not strictly ascending"),
            Self::InvalidPoint { what } => {
                write!(
                    f,
                    "{what} is not a valid ristretto255 element other than the identity"
                )
            }
            Self::NonCanonical { what } => write!(f, "{what} is not in its canonical encoding"),
            Self::NotText { what } => write!(f, "{what} is not UTF-8 text"),
            Self::Parameters(error) => write!(f, "invalid parameters: {error}"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Takes fields off the front of a byte string.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn bytes(
        &mut self,
        what: &'static str,
        len: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(DecodeError::Truncated {
                what,
                needed: len,
                have: self.rest.len(),
            });
        };
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(DecodeError::Truncated {
                what,
                needed: N,
                have: self.rest.len(),
            });
        };
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// A number that a later allocation or loop depends on: refused outside its range.
    ///
    /// V-25. A few bytes that announce billions of entries would exhaust the receiver's memory.
    pub(crate) fn count(
        &mut self,
        what: &'static str,
        min: u32,
        max: u32,
    ) -> Result<u32, DecodeError> {
        let value = self.u32(what)?;
        if (min..=max).contains(&value) {
            Ok(value)
        } else {
            Err(DecodeError::OutOfRange {
                what,
                value: value.into(),
                min: min.into(),
                max: max.into(),
            })
        }
    }

    /// V-25. Bytes behind the end would give one message many encodings, to tell receivers apart by.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }
}

/// Appends a 32-bit number, little-endian.
pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a length.
pub(crate) fn put_len(out: &mut Vec<u8>, len: usize) {
    put_u32(out, to_u32(len));
}

/// A count of clients, boxes or segments as a 32-bit number.
pub(crate) fn to_u32(count: usize) -> u32 {
    u32::try_from(count).expect("cohorts and layouts are bounded far below 2^32")
}
