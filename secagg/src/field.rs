//! GF(2^16), the field that seeds are shared over, sixteen elements at a time.
//!
//! The reduction polynomial is x^16 + x^12 + x^3 + x + 1. Nothing here looks a table up or
//! branches on an element: a multiplication is sixteen masked additions and doublings, which the
//! compiler spreads over the lanes of a vector register.

/// x^16 modulo the reduction polynomial.
const REDUCTION: u16 = 0x100b;

/// A 32-byte secret is sixteen field elements, each shared by a polynomial of its own.
pub(crate) const LANES: usize = 16;

/// Sixteen field elements.
pub(crate) type Lanes = [u16; LANES];

pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Lanes {
    let (pairs, _) = bytes.as_chunks::<2>();
    let mut lanes = [0; LANES];
    for (lane, pair) in lanes.iter_mut().zip(pairs) {
        *lane = u16::from_le_bytes(*pair);
    }
    lanes
}

pub(crate) fn to_bytes(lanes: &Lanes) -> [u8; 32] {
    let mut bytes = [0; 32];
    let (pairs, _) = bytes.as_chunks_mut::<2>();
    for (pair, lane) in pairs.iter_mut().zip(lanes) {
        *pair = lane.to_le_bytes();
    }
    bytes
}

#[inline(always)]
pub(crate) fn add_assign(a: &mut Lanes, b: &Lanes) {
    for (a, b) in a.iter_mut().zip(b) {
        *a ^= b;
    }
}

/// Multiplies every lane by the same element.
#[inline(always)]
pub(crate) fn scale(lanes: &Lanes, by: u16) -> Lanes {
    multiply(lanes, &[by; LANES])
}

/// Multiplies lane by lane.
#[inline(always)]
pub(crate) fn multiply(a: &Lanes, b: &Lanes) -> Lanes {
    let mut product = [0; LANES];
    for bit in (0..u16::BITS).rev() {
        for ((product, a), b) in product.iter_mut().zip(a).zip(b) {
            *product = doubled(*product) ^ (a & 0_u16.wrapping_sub((b >> bit) & 1));
        }
    }
    product
}

/// The product of two elements.
pub(crate) fn product(a: u16, b: u16) -> u16 {
    let step = |product, bit| doubled(product) ^ (a & 0_u16.wrapping_sub((b >> bit) & 1));
    (0..u16::BITS).rev().fold(0, step)
}

/// The inverse of an element; that of zero is given as zero.
pub(crate) fn inverse(a: u16) -> u16 {
    let [inverse, ..] = invert(&[a; LANES]);
    inverse
}

/// Inverts lane by lane: a^(2^16 − 2). The inverse of zero is given as zero.
pub(crate) fn invert(a: &Lanes) -> Lanes {
    // 2^16 − 2 = 2 + 4 + … + 2^15.
    let mut power = multiply(a, a);
    let mut inverse = power;
    for _ in 2..u16::BITS {
        power = multiply(&power, &power);
        inverse = multiply(&inverse, &power);
    }
    inverse
}

/// Multiplies every lane by x.
#[inline(always)]
pub(crate) fn double(lanes: &mut Lanes) {
    for lane in lanes {
        *lane = doubled(*lane);
    }
}

#[inline(always)]
const fn doubled(a: u16) -> u16 {
    (a << 1) ^ (REDUCTION & 0_u16.wrapping_sub(a >> 15))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Schoolbook product of polynomials and long division: slow, and obviously right.
    fn reference(a: u16, b: u16) -> u16 {
        let mut product = 0_u32;
        for bit in 0..16 {
            if b >> bit & 1 == 1 {
                product ^= u32::from(a) << bit;
            }
        }
        for bit in (16..32).rev() {
            if product >> bit & 1 == 1 {
                product ^= 0x1_100b << (bit - 16);
            }
        }
        u16::try_from(product).unwrap()
    }

    #[test]
    fn the_polynomial_is_primitive() {
        // x generates the whole group, so its order is 65,535 and no proper divisor of it.
        let mut power = [2; LANES];
        let mut order = 1;
        while power != [1; LANES] {
            power = scale(&power, 2);
            order += 1;
        }
        assert_eq!(order, 65_535);
    }

    proptest! {
        #[test]
        fn products_equal_the_schoolbook(a: Lanes, b: Lanes) {
            let product = multiply(&a, &b);
            for lane in 0..LANES {
                prop_assert_eq!(product[lane], reference(a[lane], b[lane]));
                prop_assert_eq!(super::product(a[lane], b[lane]), product[lane]);
            }
            let scaled = scale(&a, b[0]);
            for lane in 0..LANES {
                prop_assert_eq!(scaled[lane], reference(a[lane], b[0]));
            }
        }

        #[test]
        fn a_number_times_its_inverse_is_one(a: Lanes) {
            let product = multiply(&a, &invert(&a));
            for lane in 0..LANES {
                prop_assert_eq!(product[lane], u16::from(a[lane] != 0));
            }
        }

        #[test]
        fn bytes_round_trip(bytes: [u8; 32]) {
            prop_assert_eq!(to_bytes(&from_bytes(&bytes)), bytes);
        }
    }
}
