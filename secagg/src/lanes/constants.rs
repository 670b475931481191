//! Constants of the field and the curve (RFC 9496, section 4.1), as limbs.

/// A field element as limbs of alternately 26 and 25 bits, lowest first.
pub(crate) type Limbs = [u64; 10];

/// The bits of the limbs.
pub(super) const EVEN: u64 = (1 << 26) - 1;
pub(super) const ODD: u64 = (1 << 25) - 1;

pub(super) const ZERO: Limbs = [0; 10];
pub(super) const ONE: Limbs = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// 2p and 4p, each limb that many times the limb of p.
pub(super) const P_2: Limbs = multiple_of_p(2);
pub(super) const P_4: Limbs = multiple_of_p(4);

/// The constant d of the curve.
pub(super) const D: Limbs = limbs([
    0x75eb_4dca_1359_78a3,
    0x0070_0a4d_4141_d8ab,
    0x8cc7_4079_7779_e898,
    0x5203_6cee_2b6f_fe73,
]);

/// 2d, not reduced: limbs of at most 27 and 26 bits.
pub(super) const D_2: Limbs = doubled(D);

/// A square root of −1.
pub(super) const SQRT_M1: Limbs = limbs([
    0xc4ee_1b27_4a0e_a0b0,
    0x2f43_1806_ad2f_e478,
    0x2b4d_0099_3dfb_d7a7,
    0x2b83_2480_4fc1_df0b,
]);

/// 1/sqrt(a − d).
pub(super) const INVSQRT_A_MINUS_D: Limbs = limbs([
    0x99c8_fdaa_805d_40ea,
    0x9d2f_1617_5a41_72be,
    0x16c2_7b91_fe01_d840,
    0x786c_8905_cfaf_fca2,
]);

/// The limbs of little-endian words.
const fn limbs([a, b, c, d]: [u64; 4]) -> Limbs {
    [
        a & EVEN,
        (a >> 26) & ODD,
        (a >> 51 | b << 13) & EVEN,
        (b >> 13) & ODD,
        b >> 38,
        c & ODD,
        (c >> 25) & EVEN,
        (c >> 51 | d << 13) & ODD,
        (d >> 12) & EVEN,
        (d >> 38) & ODD,
    ]
}

const fn multiple_of_p(times: u64) -> Limbs {
    let (even, odd) = (times * EVEN, times * ODD);
    let lowest = even - times * 18;
    [lowest, odd, even, odd, even, odd, even, odd, even, odd]
}

const fn doubled(limbs: Limbs) -> Limbs {
    let mut doubled = limbs;
    let mut i = 0;
    while i < doubled.len() {
        doubled[i] *= 2;
        i += 1;
    }
    doubled
}
