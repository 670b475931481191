use alloc::{vec, vec::Vec};

use curve25519_dalek::{ristretto::RistrettoPoint, scalar::Scalar};
use proptest::prelude::*;

use super::constants::Limbs;
use crate::kernel::Path;

/// What is tested of the field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Plus,
    Minus,
    MinusWide,
    Times,
    Squared,
    Carried,
    Negated,
    Absolute,
    Inverted,
    InverseRoot,
}

/// A result: its limbs, and the words of its canonical encoding.
pub(crate) type Applied = (Limbs, [u64; 4]);

macro_rules! tests {
    ($features:tt) => {
        /// In each lane an operation on elements with these limbs, which repeat.
        #[target_feature(enable = $features)]
        pub(crate) fn apply(operation: Operation, f: &[Limbs], g: &[Limbs]) -> Vec<Applied> {
            let load = |elements: &[Limbs]| {
                Element(each_limb!(i => {
                    from_words(core::array::from_fn(|lane| elements[lane % elements.len()][i]))
                }))
            };
            let (f, g) = (load(f), load(g));
            let result = match operation {
                Operation::Plus => f.plus(&g),
                Operation::Minus => f.minus(&g),
                Operation::MinusWide => f.minus_wide(&g),
                Operation::Times => f.times(&g),
                Operation::Squared => f.squared(),
                Operation::Carried => f.carried(),
                Operation::Negated => f.negated(),
                Operation::Absolute => f.absolute(),
                Operation::Inverted => f.inverted(),
                Operation::InverseRoot => f.inverse_root(),
            };
            let limbs = result.0.map(|limb| to_words(limb));
            let words = result.carried().words().map(|word| to_words(word));
            let lane = |lane: usize| (limbs.map(|limb| limb[lane]), words.map(|word| word[lane]));
            (0..LANES).map(lane).collect()
        }
    };
}

pub(super) use tests;

fn paths() -> impl Iterator<Item = Path> {
    [Path::avx2(), Path::avx512()].into_iter().flatten()
}

/// Above all limbs within so many tenths.
fn bound(tenths: u64, limb: usize) -> u64 {
    tenths * ((1 << (26 - limb % 2)) + (1 << 18)) / 10
}

/// Limbs of eight elements within so many tenths, at the bound or below.
fn within(tenths: u64) -> impl Strategy<Value = Vec<Limbs>> {
    let limb = move |i| {
        let bound = bound(tenths, i);
        prop_oneof![Just(bound - 1), Just(0), 0..bound]
    };
    let limbs: Vec<_> = (0..10).map(limb).collect();
    let limbs = limbs.prop_map(|limbs| Limbs::try_from(limbs).unwrap());
    proptest::collection::vec(limbs, 8)
}

/// An integer below p as 16 digits of 16 bits.
type Reference = [u64; 16];

fn value(limbs: &Limbs) -> Reference {
    let mut digits = vec![0; 20];
    for (i, limb) in limbs.iter().enumerate() {
        let bit = (51 * i).div_ceil(2);
        let shifted = u128::from(*limb) << (bit % 16);
        for j in 0..4 {
            digits[bit / 16 + j] += u64::try_from(shifted >> (16 * j) & 0xffff).unwrap();
        }
    }
    reduced(digits)
}

/// 2^256 is 38, and 2^255 is 19.
fn reduced(mut digits: Vec<u64>) -> Reference {
    carry(&mut digits);
    while digits.len() > 16 {
        let high = digits.split_off(16);
        for (low, high) in digits.iter_mut().zip(high) {
            *low += 38 * high;
        }
        carry(&mut digits);
    }
    for _ in 0..2 {
        digits[0] += 19 * (digits[15] >> 15);
        digits[15] &= 0x7fff;
        carry(&mut digits);
    }
    // Below 2^255; below p, if 19 more still is.
    let mut more = digits.clone();
    more[0] += 19;
    carry(&mut more);
    if more[15] >> 15 == 1 {
        more[15] &= 0x7fff;
        digits = more;
    }
    digits.try_into().unwrap()
}

/// Digits below 2^16 again, and above the first 16 no zeros.
fn carry(digits: &mut Vec<u64>) {
    let mut over = 0;
    for digit in digits.iter_mut() {
        *digit += over;
        over = *digit >> 16;
        *digit &= 0xffff;
    }
    while over > 0 {
        digits.push(over & 0xffff);
        over >>= 16;
    }
    while digits.len() > 16 && digits.last() == Some(&0) {
        digits.pop();
    }
}

fn sum(a: &Reference, b: &Reference) -> Reference {
    reduced(a.iter().zip(b).map(|(a, b)| a + b).collect())
}

fn product(a: &Reference, b: &Reference) -> Reference {
    let mut digits = vec![0; 32];
    for (i, a) in a.iter().enumerate() {
        for (j, b) in b.iter().enumerate() {
            digits[i + j] += a * b;
        }
    }
    reduced(digits)
}

const ZERO: Reference = [0; 16];
const ONE: Reference = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn negative(a: &Reference) -> Reference {
    let mut minus_one = [0xffff; 16];
    (minus_one[0], minus_one[15]) = (0xffec, 0x7fff);
    product(a, &minus_one)
}

fn digits(words: &[u64; 4]) -> Reference {
    core::array::from_fn(|i| words[i / 4] >> (16 * (i % 4)) & 0xffff)
}

/// Checks an operation in all lanes of all paths.
fn check(
    operation: Operation,
    f: &[Limbs],
    g: &[Limbs],
    expected: impl Fn(&Reference, &Reference) -> Reference,
) -> Result<(), TestCaseError> {
    use Operation::{Minus, MinusWide, Plus};
    let tight = !matches!(operation, Plus | Minus | MinusWide);
    for path in paths() {
        let applied = path.apply(operation, f, g);
        prop_assert!(!applied.is_empty());
        for (lane, (limbs, words)) in applied.iter().enumerate() {
            let expected = expected(&value(&f[lane]), &value(&g[lane]));
            prop_assert_eq!(digits(words), expected, "{:?} {:?}", operation, path);
            prop_assert_eq!(value(limbs), expected, "{:?} {:?}", operation, path);
            let mut limbs = limbs.iter().enumerate();
            prop_assert!(!tight || limbs.all(|(i, limb)| *limb < bound(10, i)));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn products_are_those_of_integers(
        tight in within(10), three in within(30), most in within(33), five in within(50),
        wide in within(84), widest in within(280),
    ) {
        check(Operation::Times, &wide, &most, product)?;
        check(Operation::Times, &five, &three, product)?;
        check(Operation::Times, &widest, &tight, product)?;
        check(Operation::Squared, &most, &tight, |f, _| product(f, f))?;
        check(Operation::Squared, &tight, &tight, |f, _| product(f, f))?;
    }

    #[test]
    fn sums_and_differences_are_those_of_integers(
        tight in within(10), wide in within(39), widest in within(630),
    ) {
        let minus = |f: &Reference, g: &Reference| sum(f, &negative(g));
        check(Operation::Plus, &wide, &tight, sum)?;
        check(Operation::Minus, &wide, &tight, minus)?;
        check(Operation::MinusWide, &tight, &wide, minus)?;
        check(Operation::Carried, &widest, &tight, |f, _| *f)?;
        check(Operation::Negated, &wide, &tight, |f, _| negative(f))?;
        check(Operation::Absolute, &tight, &tight, |f, _| {
            if f[0] & 1 == 1 { negative(f) } else { *f }
        })?;
    }

    #[test]
    fn inverses_and_roots_are_those_of_integers(tight in within(10)) {
        for path in paths() {
            let inverses = path.apply(Operation::Inverted, &tight, &tight);
            for (f, (inverse, _)) in tight.iter().zip(inverses) {
                let f = value(f);
                let expected = if f == ZERO { ZERO } else { ONE };
                prop_assert_eq!(product(&f, &value(&inverse)), expected, "{:?}", path);
            }
            let squares = path.apply(Operation::Squared, &tight, &tight);
            let squares: Vec<Limbs> = squares.into_iter().map(|(limbs, _)| limbs).collect();
            let roots = path.apply(Operation::InverseRoot, &squares, &squares);
            for (f, (root, _)) in squares.iter().zip(roots) {
                let (f, root) = (value(f), value(&root));
                let expected = if f == ZERO { ZERO } else { ONE };
                prop_assert_eq!(product(&f, &product(&root, &root)), expected, "{:?}", path);
            }
        }
    }
}

/// About 0, p and 2^255 encodings are the hardest to make canonical.
#[test]
fn encodings_are_canonical() {
    let (even, odd) = ((1 << 26) - 1, (1 << 25) - 1);
    for distance in 0..64 {
        let from = |limb| [limb, odd, even, odd, even, odd, even, odd, even, odd];
        let below = from(even - distance);
        // Limb 0 is carried through all others.
        let above = from(even + 1 + distance);
        let small = [distance, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let all = [below, above, small, below].repeat(2);
        check(Operation::Plus, &all, &[[0; 10]; 8], |f, _| *f).unwrap();
    }
}

/// RFC 9496, appendix A.1.
#[test]
fn multiples_of_the_generator_are_those_of_the_rfc() {
    let encodings = MULTIPLES.map(unhex);
    let scalars: Vec<Scalar> = (0..16_u8).map(Scalar::from).collect();
    for path in paths() {
        for (i, point) in encodings.iter().enumerate() {
            // As many as the list has multiples of this one.
            let count = encodings.len().div_ceil(i.max(1));
            let pairs: Vec<_> = scalars[..count]
                .iter()
                .map(|scalar| (point, scalar))
                .collect();
            for (j, shared) in path.multiply(&pairs).unwrap().iter().enumerate() {
                assert_eq!(
                    *shared.as_bytes(),
                    encodings[i * j],
                    "{i} times {j}, {path:?}"
                );
            }
        }
    }
}

/// The identity has no inverse to share: it must not spoil those of others in its lane.
#[test]
fn identities_stand_among_others() {
    let points: Vec<RistrettoPoint> = (0..40_u8)
        .map(|byte| RistrettoPoint::mul_base(&Scalar::from(byte / 2)))
        .collect();
    let encodings: Vec<[u8; 32]> = points
        .iter()
        .map(|point| point.compress().to_bytes())
        .collect();
    let scalar = |i: u64| {
        if i.is_multiple_of(3) {
            Scalar::ZERO
        } else {
            -Scalar::from(i)
        }
    };
    let scalars: Vec<Scalar> = (0..40).map(scalar).collect();
    let pairs: Vec<_> = encodings.iter().zip(&scalars).collect();
    let references: Vec<&Scalar> = scalars.iter().collect();
    let jobs: Vec<_> = encodings
        .iter()
        .map(|encoding| (encoding, &*references))
        .collect();
    let expected = |(point, scalar): (&RistrettoPoint, &Scalar)| (point * scalar).compress();
    for path in paths() {
        let shared = path.multiply(&pairs).unwrap();
        for (shared, pair) in shared.iter().zip(points.iter().zip(&scalars)) {
            assert_eq!(*shared.as_bytes(), expected(pair).0, "{path:?}");
        }
        let shared = path.multiply_by_each(&jobs).unwrap();
        for (shared, point) in shared.iter().zip(&points) {
            for (shared, scalar) in shared.iter().zip(&scalars) {
                assert_eq!(*shared.as_bytes(), expected((point, scalar)).0, "{path:?}");
            }
        }
    }
}

fn unhex(text: &str) -> [u8; 32] {
    core::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
}

const MULTIPLES: [&str; 16] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
    "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
    "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
    "da80862773358b466ffadfe0b3293ab3d9fd53c5ea6c955358f568322daf6a57",
    "e882b131016b52c1d3337080187cf768423efccbb517bb495ab812c4160ff44e",
    "f64746d3c92b13050ed8d80236a7f0007c3b3f962f5ba793d19a601ebb1df403",
    "44f53520926ec81fbd5a387845beb7df85a96a24ece18738bdcfa6a7822a176d",
    "903293d8f2287ebe10e2374dc1a53e0bc887e592699f02d077d5263cdd55601c",
    "02622ace8f7303a31cafc63f8fc48fdc16e1c8c8d234b2f0d6685282a9076031",
    "20706fd788b2720a1ed2a5dad4952b01f413bcf0e7564de8cdc816689e2db95f",
    "bce83f8ba5dd2fa572864c24ba1810f9522bc6004afe95877ac73241cafdab42",
    "e4549ee16b9aa03099ca208c67adafcafa4c3f3e4e5303de6026e3ca8ff84460",
    "aa52e000df2e16f55fb1032fc33bc42742dad6bd5a8fc0be0167436c5948501f",
    "46376b80f409b29dc2b5f6f0c52591990896e5716f41477cd30085ab7f10301e",
    "e0c418f7c8d9c4cdd7395b93ea124f3ad99021bb681dfc3302a9d99a2e53e64e",
];
