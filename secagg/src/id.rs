//! Who a client is.

use crate::primitives;

/// Shows keys and ids, which are public, as hexadecimal digits.
macro_rules! hex_fmt {
    ($($name:ident)*) => {$(
        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    )*};
}

pub(crate) use hex_fmt;

/// A client's name in the protocol: the first 16 bytes of a labelled SHA-256 of its long-term
/// identity key.
///
/// The server never assigns ids, so it cannot let one identity fill several positions of a roster.
/// The order of ids (bytewise) is the order of the roster and decides who adds and who subtracts
/// a pairwise mask.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId([u8; Self::LEN]);

impl ClientId {
    /// Length of an id in bytes.
    pub const LEN: usize = 16;

    /// The id of the owner of a 32-byte identity key (an Ed25519 public key).
    #[must_use]
    pub fn from_identity_key(key: &[u8; 32]) -> Self {
        let digest = primitives::hash(primitives::label::CLIENT_ID, &[key]);
        let mut id = [0; Self::LEN];
        for (to, from) in id.iter_mut().zip(digest) {
            *to = from;
        }
        Self(id)
    }

    /// An id from its bytes, for example read from storage.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

hex_fmt!(ClientId);
