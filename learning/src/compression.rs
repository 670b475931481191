//! Smaller updates: a random rotation, and a random share of the coordinates.
//!
//! Masks cancel only in a sum of vectors of one shape, so whatever makes an update smaller must be
//! linear and the same for everybody. With S the selection of a session's coordinates and R its
//! rotation, a client with the clipped update x sends S·R·x, rounded, and the server turns the mean m
//! of that into Rᵀ·Sᵀ·m.
//!
//! # The rotation
//! R is a product of random signs and Walsh-Hadamard transforms (Suresh, Yu, Kumar and McMahan,
//! "Distributed Mean Estimation with Limited Communication", ICML 2017, section 3): R is orthogonal, and
//! spreads any vector evenly over all coordinates, so that a much smaller range, and fewer bits, hold
//! each of them. The paper pads to a power of two, which would send up to twice as many coordinates.
//! Here, with m the largest power of two up to the length, the first m coordinates are rotated, and
//! then the last m, where m is not the length itself; more than half of the coordinates take part in
//! both. A product of two orthogonal maps is orthogonal, nothing is padded, and no coordinate is rotated
//! among fewer than m > length/2 others. (Blocks of falling powers of two would leave a short last block,
//! over which whatever the last tensor holds would hardly be spread.)
//!
//! # The selection
//! A uniformly random set of so many coordinates, in ascending order (Knuth, "The Art of Computer
//! Programming", volume 2, section 3.4.2, algorithm S). It is made after the rotation, so that each set
//! holds nearly the same share of an update's energy.
//!
//! # Where the randomness comes from
//! From a hash of the session's id. The id binds the nonce of the attempt and the digests of plan and
//! weights, so each attempt has a rotation and coordinates of its own; both sides know it before
//! anything is encoded; and who derives another one has another session as well, whose masks do not
//! cancel. It is public, and nothing depends on its being secret: a coordinator that tries nonces
//! until it likes the coordinates gets a sum over coordinates of its choice, which it gets of all of
//! them where the fraction is 1.

use rand_chacha::rand_core::Rng;
use secagg::Session;

use crate::{
    plan::UpdatePlan,
    randomness::{session_seed, stream_of, with_signs},
};

/// The rotation and the selection of one session.
#[derive(Clone, Debug)]
pub struct Transform {
    rotation: Option<Rotation>,
    /// Which coordinates are sent, ascending; `None` for all.
    positions: Option<Vec<u32>>,
    len: usize,
}

impl Transform {
    /// What a plan asks for in a session.
    #[must_use]
    pub fn new(update: &UpdatePlan, session: &Session) -> Self {
        Self::from_seed(update, session_seed(SEED, session))
    }

    fn from_seed(update: &UpdatePlan, seed: [u8; 32]) -> Self {
        let (len, count) = (update.trained(), update.coordinates());
        Self {
            rotation: update
                .compression
                .rotation
                .map(|_| Rotation::new(len as usize, seed)),
            positions: (count < len).then(|| positions(len, count, seed)),
            len: len as usize,
        }
    }

    /// Rotates an update's trained elements in place. Their L2 norm stays.
    ///
    /// # Panics
    /// When they are not as many as the plan says.
    pub fn rotate(&self, update: &mut [f32]) {
        assert_eq!(
            update.len(),
            self.len,
            "as many elements as the plan trains"
        );
        if let Some(rotation) = &self.rotation {
            rotation.apply(update);
        }
    }

    /// Undoes [`rotate`](Self::rotate).
    ///
    /// # Panics
    /// When the elements are not as many as the plan says.
    pub fn unrotate(&self, rotated: &mut [f32]) {
        assert_eq!(
            rotated.len(),
            self.len,
            "as many elements as the plan trains"
        );
        if let Some(rotation) = &self.rotation {
            rotation.invert(rotated);
        }
    }

    /// Which coordinates of a rotated update are sent, ascending; `None` for all.
    #[must_use]
    pub fn positions(&self) -> Option<&[u32]> {
        self.positions.as_deref()
    }

    /// The coordinates that are sent, of a rotated update.
    #[must_use]
    pub(crate) fn select<'a>(&self, rotated: &'a [f32]) -> std::borrow::Cow<'a, [f32]> {
        match &self.positions {
            None => rotated.into(),
            Some(positions) => {
                let selected = positions.iter().map(|&position| rotated[position as usize]);
                selected.collect::<Vec<f32>>().into()
            }
        }
    }

    /// A rotated update from the coordinates that were sent; the others are zero.
    pub(crate) fn spread(&self, sent: Vec<f32>) -> Vec<f32> {
        let Some(positions) = &self.positions else {
            return sent;
        };
        let mut rotated = vec![0.0; self.len];
        for (&position, element) in positions.iter().zip(sent) {
            rotated[position as usize] = element;
        }
        rotated
    }

    /// How far a rotated vector of norm 1, and one rotated back, can be from the exact one: each of
    /// the log₂ m + 2 roundings of a pass is off by at most half a unit in the last place of every
    /// coordinate, and so of the norm.
    pub(crate) fn rounding_error_of(update: &UpdatePlan) -> f64 {
        if update.compression.rotation.is_none() {
            return 0.0;
        }
        let rotation = Rotation::new(update.trained() as usize, [0; 32]);
        let roundings = rotation.starts().len() * (rotation.block.ilog2() as usize + 2);
        roundings as f64 * f64::from(f32::EPSILON)
    }
}

/// Random signs and Walsh-Hadamard transforms of the first and of the last `block` coordinates.
#[derive(Clone, Debug)]
struct Rotation {
    len: usize,
    /// The largest power of two up to the length; 0 for nothing at all.
    block: usize,
    seed: [u8; 32],
}

impl Rotation {
    fn new(len: usize, seed: [u8; 32]) -> Self {
        let block = len.checked_ilog2().map_or(0, |log| 1 << log);
        Self { len, block, seed }
    }

    /// Where the blocks start, each with the stream of its signs.
    fn starts(&self) -> impl DoubleEndedIterator<Item = (u64, usize)> + ExactSizeIterator {
        let second = self.len - self.block;
        let passes = if second > 0 { 2 } else { 1 };
        [(FIRST_SIGNS, 0), (LAST_SIGNS, second)]
            .into_iter()
            .take(passes)
    }

    fn apply(&self, update: &mut [f32]) {
        for (stream, start) in self.starts() {
            let block = &mut update[start..start + self.block];
            self.signs(stream, block);
            hadamard(block);
        }
    }

    fn invert(&self, rotated: &mut [f32]) {
        for (stream, start) in self.starts().rev() {
            let block = &mut rotated[start..start + self.block];
            hadamard(block);
            self.signs(stream, block);
        }
    }

    /// Multiplies by random signs, and by 1/√m, which makes the transform orthogonal.
    fn signs(&self, stream: u64, block: &mut [f32]) {
        #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]
        let scale = (self.block as f64).sqrt().recip() as f32;
        let random = stream_of(self.seed, stream);
        with_signs(random, scale, block, |element, scale| *element *= scale);
    }
}

/// The Walsh-Hadamard transform in Sylvester's order, without the factor 1/√m: its own inverse but
/// for m, the length, which is a power of two. It halves its way down to what fits into the
/// processor's first cache.
fn hadamard(vector: &mut [f32]) {
    if vector.len() <= CACHED {
        let mut half = vector.len() / 2;
        while half > 0 {
            for block in vector.chunks_exact_mut(2 * half) {
                butterflies(block);
            }
            half /= 2;
        }
        return;
    }
    butterflies(vector);
    let (low, high) = vector.split_at_mut(vector.len() / 2);
    hadamard(low);
    hadamard(high);
}

#[inline]
fn butterflies(block: &mut [f32]) {
    let (low, high) = block.split_at_mut(block.len() / 2);
    for (low, high) in low.iter_mut().zip(high) {
        (*low, *high) = (*low + *high, *low - *high);
    }
}

/// `count` of the numbers below `len`, each set equally likely, ascending.
fn positions(len: u32, count: u32, seed: [u8; 32]) -> Vec<u32> {
    let mut random = stream_of(seed, POSITIONS);
    let mut chosen = Vec::with_capacity(count as usize);
    let mut wanted = count;
    for position in 0..len {
        // With a probability of wanted/left, to within 2^−32.
        let left = u128::from(len - position);
        if (u128::from(random.next_u64()) * left) >> 64 < u128::from(wanted) {
            chosen.push(position);
            wanted -= 1;
            if wanted == 0 {
                break;
            }
        }
    }
    chosen
}

const SEED: &[u8] = b"secagg-learning/v1/compression";

/// The streams of a session's seed.
const POSITIONS: u64 = 0;
const FIRST_SIGNS: u64 = 1;
const LAST_SIGNS: u64 = 2;

/// Elements that are transformed without halving: 16 KiB of them.
const CACHED: usize = 1 << 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::{Compression, Parts, Rotated};

    fn update(len: u32, rotated: bool, fraction: f32) -> UpdatePlan {
        UpdatePlan {
            parameters: len,
            clip_norm: 1.0,
            range: 1.0,
            value_bits: 8,
            weight_cap: 1,
            max_cohort: 3,
            compression: Compression {
                rotation: rotated.then_some(Rotated { range: 4.0 }),
                fraction,
                feedback: false,
            },
            parts: Parts::ALL,
        }
    }

    fn transform(len: u32, rotated: bool, fraction: f32, seed: u8) -> Transform {
        Transform::from_seed(&update(len, rotated, fraction), [seed; 32])
    }

    fn norm(vector: &[f32]) -> f64 {
        let squares = vector.iter().map(|&element| f64::from(element).powi(2));
        squares.sum::<f64>().sqrt()
    }

    fn distance(a: &[f32], b: &[f32]) -> f64 {
        let differences: Vec<f32> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        norm(&differences)
    }

    proptest! {
        #[test]
        fn rotating_back_is_the_identity_and_the_norm_stays(
            vector in prop::collection::vec(-1.0_f32..1.0, 1..3_000),
            size in prop::sample::select(vec![1e-6_f32, 1.0, 1e9]),
            seed: u8,
        ) {
            let vector: Vec<f32> = vector.iter().map(|element| element * size).collect();
            let plan = update(u32::try_from(vector.len()).unwrap(), true, 1.0);
            let transform = Transform::from_seed(&plan, [seed; 32]);
            let mut rotated = vector.clone();
            transform.rotate(&mut rotated);
            let (before, error) = (norm(&vector), Transform::rounding_error_of(&plan));
            prop_assert!((norm(&rotated) - before).abs() <= error * before);
            transform.unrotate(&mut rotated);
            prop_assert!(distance(&rotated, &vector) <= 2.0 * error * before);
        }

        #[test]
        fn positions_are_so_many_and_ascend(len in 1_u32..500, fraction in 1e-6_f32..=1.0, seed: u8) {
            let transform = transform(len, false, fraction, seed);
            let expected = (f64::from(fraction) * f64::from(len)).ceil();
            let Some(positions) = transform.positions() else {
                prop_assert_eq!(expected, f64::from(len));
                return Ok(());
            };
            prop_assert_eq!(positions.len() as f64, expected);
            prop_assert!(positions.is_sorted_by(|a, b| a < b));
            prop_assert!(positions.iter().all(|&position| position < len));
        }
    }

    /// Against the definition: element (i, j) of Sylvester's matrix is −1 to the number of common
    /// ones of i and j.
    #[test]
    fn the_transform_is_that_of_the_definition() {
        for len in [1_usize, 2, 8, 64, 2 * CACHED] {
            let vector: Vec<f32> = (0..len).map(|n| ((n * 37) % 23) as f32 - 11.0).collect();
            let mut found = vector.clone();
            hadamard(&mut found);
            for row in [0, len / 3, len / 2, len - 1] {
                let expected: f32 = vector
                    .iter()
                    .enumerate()
                    .map(|(column, element)| match (row & column).count_ones() % 2 {
                        0 => *element,
                        _ => -element,
                    })
                    .sum();
                assert_eq!(found[row], expected, "{len}: {row}");
            }
        }
    }

    /// Whatever holds all of an update, its first element, its last or one in the middle, is spread
    /// over at least half of the coordinates, to no more than 8/√length each.
    #[test]
    fn one_large_element_is_spread_evenly() {
        for len in [1_u32, 2, 3, 127, 128, 129, 1_000, 5_000] {
            for place in [0, len / 2, len - 1] {
                let mut update = vec![0.0; len as usize];
                update[place as usize] = 1.0;
                let transform = transform(len, true, 1.0, 3);
                transform.rotate(&mut update);
                let unit = f64::from(len).sqrt().recip();
                let largest = update
                    .iter()
                    .fold(0.0_f64, |a, b| a.max(f64::from(b.abs())));
                assert!(largest <= 8.0 * unit, "{len}, {place}: {}", largest / unit);
                let moved = update.iter().filter(|element| **element != 0.0).count();
                assert!(2 * moved >= len as usize, "{len}, {place}: {moved}");
            }
        }
    }

    #[test]
    fn a_seed_gives_each_purpose_randomness_of_its_own() {
        let rotated = |seed| {
            let mut update = vec![1.0; 100];
            transform(100, true, 1.0, seed).rotate(&mut update);
            update
        };
        assert_eq!(rotated(1), rotated(1));
        assert_ne!(rotated(1), rotated(2));
        let first = positions(100, 20, [1; 32]);
        assert_eq!(first, positions(100, 20, [1; 32]));
        assert_ne!(first, positions(100, 20, [2; 32]));
        let mut streams = [POSITIONS, FIRST_SIGNS, LAST_SIGNS]
            .map(|stream| stream_of([1; 32], stream).next_u64());
        streams.sort_unstable();
        assert!(streams[0] < streams[1] && streams[1] < streams[2]);
    }

    /// Each of 40 positions is chosen in a quarter of 4,000 sessions, and each pair of neighbours as
    /// often as for independent choices without repetition.
    #[test]
    fn positions_are_uniform() {
        let (len, count, sessions) = (40_u32, 10_u32, 4_000_u32);
        let mut singles = vec![0_u32; len as usize];
        let mut neighbours = 0_u32;
        for session in 0..sessions {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&session.to_le_bytes());
            let chosen = positions(len, count, seed);
            for &position in &chosen {
                singles[position as usize] += 1;
            }
            let pairs = chosen.windows(2).filter(|pair| pair[0] + 1 == pair[1]);
            neighbours += u32::try_from(pairs.count()).unwrap();
        }
        // Five standard deviations of a binomial distribution.
        let deviation = (f64::from(sessions) * 0.25 * 0.75).sqrt();
        for (position, &found) in singles.iter().enumerate() {
            let off = (f64::from(found) - f64::from(sessions) / 4.0).abs();
            assert!(off <= 5.0 * deviation, "{position}: {found}");
        }
        // 39 pairs, each with a probability of 10·9/(40·39).
        let expected = f64::from(sessions) * 39.0 * 90.0 / (40.0 * 39.0);
        assert!(
            (f64::from(neighbours) / expected - 1.0).abs() < 0.05,
            "{neighbours} pairs, {expected} expected"
        );
    }
}
