//! Secret bytes: they are neither copied, compared nor printed, and are wiped when dropped.
//!
//! They stay in one place on the heap: a value that moves from state to state, or out of a list,
//! moves a pointer, and leaves no bytes behind that nobody would wipe.

use alloc::boxed::Box;
use core::fmt;

use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub(crate) struct $name(Box<[u8; 32]>);

        impl $name {
            pub(crate) fn from_bytes(mut bytes: [u8; 32]) -> Self {
                let secret = Self(Box::new(bytes));
                bytes.zeroize();
                secret
            }

            pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }

        impl ZeroizeOnDrop for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    };
}

secret! {
    /// A 256-bit seed that keys are derived from; what Shamir shares are made of.
    Seed
}

secret! {
    /// A 256-bit key of a cipher.
    Key
}

secret! {
    /// One holder's share of a seed.
    Share
}

impl Seed {
    pub(crate) fn random(rng: &mut dyn CryptoRng) -> Self {
        let mut seed = Self::from_bytes([0; 32]);
        rng.fill_bytes(&mut *seed.0);
        seed
    }
}
