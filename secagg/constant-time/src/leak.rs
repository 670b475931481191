//! What must be found: code whose time depends on a secret. It is here to show that the test can
//! fail, and it is the code that one would write without a thought.

use std::hint::black_box;

/// How a client leaks the shares that it reveals, before it reveals them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leak {
    /// Not at all.
    Nothing,
    /// It multiplies by looking logarithms up.
    TableLookUp,
    /// It leaves out the bytes that are zero.
    Branch,
}

impl Leak {
    /// Does it.
    pub fn happen(self, secret: &[u8]) {
        match self {
            Self::Nothing => {}
            Self::TableLookUp => {
                black_box(multiply_by_tables(secret));
            }
            Self::Branch => {
                black_box(count_nonzero_bytes(secret));
            }
        }
    }
}

/// x^8 + x^4 + x^3 + x^2 + 1, of which x is a generator.
const POLYNOMIAL: u16 = 0x11d;

/// Multiplies field elements by x the quick way: exp(log(a) + log(x)).
#[inline(never)]
fn multiply_by_tables(secret: &[u8]) -> Vec<u8> {
    let mut logarithms = [0_u8; 256];
    let mut powers = [0_u8; 256];
    let mut power = 1_u16;
    for exponent in 0..=254_u8 {
        let [low, _] = power.to_le_bytes();
        powers[usize::from(exponent)] = low;
        logarithms[usize::from(low)] = exponent;
        power <<= 1;
        if power > 255 {
            power ^= POLYNOMIAL;
        }
    }
    let (logarithms, powers) = (black_box(logarithms), black_box(powers));
    let multiply = |byte: &u8| powers[usize::from(logarithms[usize::from(*byte)].wrapping_add(1))];
    secret.iter().map(multiply).collect()
}

/// Counts with a branch a byte.
#[inline(never)]
fn count_nonzero_bytes(secret: &[u8]) -> usize {
    let mut count = 0;
    for byte in secret {
        if *byte != 0 {
            // Kept from becoming arithmetic.
            count = black_box(count) + 1;
        }
    }
    count
}
