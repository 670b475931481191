//! Which of the shares of a seed are wrong: Reed–Solomon decoding over GF(2^16).
//!
//! With h shares, of which t make a seed, up to ⌊(h − t)/2⌋ wrong ones are found. A share has sixteen
//! lanes; instead of each lane, two combinations of all lanes are decoded, with weights that nobody
//! can foresee who does not know every share. So a wrong share looks right in both with
//! probability 2^−32, and a liar gains nothing by choosing lanes.
//!
//! It need not take constant time: the shares were revealed to the server that runs it.

use alloc::{vec, vec::Vec};

use zeroize::{Zeroize, Zeroizing};

use crate::{
    field::{self, LANES, Lanes},
    primitives::{self, label},
    secret::{Seed, Share},
    shamir::Coefficients,
};

/// A seed, and the places among its shares where a wrong one stood, ascending.
#[derive(Debug)]
pub(crate) struct Corrected {
    pub(crate) seed: Seed,
    pub(crate) wrong: Vec<usize>,
}

/// The seed that all but ⌊(h − t)/2⌋ of these h shares agree on, if it is the one that was
/// committed to. `coordinates` are those of the shares, in their order.
///
/// There is none for coordinates that are zero or stand twice, another number of them than of
/// shares, and a threshold that is zero or above that number.
///
/// # Security
///
/// More wrong shares than that can agree with others on another seed: only the commitment tells.
/// Holders that are found wrong may be honest, where the dealer dealt wrong shares, or where more
/// holders than that lie and agree with each other.
pub(crate) fn correct(
    coordinates: &[u16],
    shares: &[&Share],
    threshold: usize,
    committed: impl FnOnce(&Seed) -> bool,
) -> Option<Corrected> {
    let wrong = wrong_shares(coordinates, shares, threshold)?;
    let all = coordinates.iter().copied().zip(shares.iter().copied());
    let right = all
        .enumerate()
        .filter(|(place, _)| wrong.binary_search(place).is_err())
        .map(|(_, share)| share);
    let (coordinates, shares): (Vec<u16>, Vec<&Share>) = right.take(threshold).unzip();
    let seed = Coefficients::new(&coordinates)?.reconstruct(shares);
    committed(&seed).then_some(Corrected { seed, wrong })
}

/// The places of the shares that differ from the only polynomials of degree t − 1 from which at
/// most ⌊(h − t)/2⌋ of them differ.
fn wrong_shares(coordinates: &[u16], shares: &[&Share], threshold: usize) -> Option<Vec<usize>> {
    let checks = shares.len().checked_sub(threshold)?;
    if threshold == 0 || coordinates.len() != shares.len() {
        return None;
    }
    let code = Code::new(coordinates, checks)?;
    let mut wrong = Vec::new();
    for combination in 0..COMBINATIONS {
        wrong.extend(code.errors(&combine(shares, combination))?);
    }
    wrong.sort_unstable();
    wrong.dedup();
    (wrong.len() <= checks / 2).then_some(wrong)
}

/// How many combinations of the lanes are decoded.
const COMBINATIONS: u8 = 2;

/// Each share as one field element, sixteen shares side by side: the sum of its lanes, weighted by
/// a hash of all shares. Shares of polynomials are shares of their weighted sum.
fn combine(shares: &[&Share], combination: u8) -> Zeroizing<Vec<Lanes>> {
    let number = [combination];
    let parts = shares.iter().map(|share| share.as_bytes().as_slice());
    let parts: Vec<&[u8]> = core::iter::once(number.as_slice()).chain(parts).collect();
    let weights = field::from_bytes(&primitives::hash(label::SHARE_WEIGHTS, &parts));
    let chunks = shares.chunks(LANES).map(|chunk| {
        let mut combined = [0; LANES];
        for (combined, share) in combined.iter_mut().zip(chunk) {
            let mut weighted = field::multiply(&field::from_bytes(share.as_bytes()), &weights);
            *combined = sum(&weighted);
            weighted.zeroize();
        }
        combined
    });
    Zeroizing::new(chunks.collect())
}

/// The words that are the values of a polynomial of degree h − `checks` − 1 at h coordinates.
struct Code {
    checks: usize,
    /// The number of coordinates; the last sixteen may be filled up with zeros.
    len: usize,
    coordinates: Vec<Lanes>,
    /// The Lagrange coefficients at zero of all coordinates (λ_i).
    coefficients: Vec<Lanes>,
}

impl Code {
    fn new(coordinates: &[u16], checks: usize) -> Option<Self> {
        let coefficients: Vec<u16> = Coefficients::new(coordinates)?.iter().collect();
        Some(Self {
            checks,
            len: coordinates.len(),
            coordinates: chunks(coordinates),
            coefficients: chunks(&coefficients),
        })
    }

    /// The places where a word differs from the one nearest to it, if at most half as many as
    /// there are checks.
    fn errors(&self, word: &[Lanes]) -> Option<Vec<usize>> {
        let (locator, length) = locator(&self.syndromes(word), self.checks / 2)?;
        let places = self.roots(&locator);
        // A locator that does not split over the coordinates explains the syndromes by no errors;
        // one that does, explains them by the fewest.
        (places.len() == length).then_some(places)
    }

    /// S_j = Σ λ_i y_i x_i^(j+1) for each check. For a word y_i = f(x_i) of the code this is the
    /// value at zero of x^(j+1) · f, of degree below h, so it is zero: syndromes tell of errors, and
    /// nothing of the word.
    fn syndromes(&self, word: &[Lanes]) -> Vec<u16> {
        let mut syndromes = vec![0; self.checks];
        let coefficients = self.coordinates.iter().zip(&self.coefficients);
        for ((coordinates, coefficients), word) in coefficients.zip(word) {
            let mut term = Zeroizing::new(field::multiply(coefficients, word));
            for syndrome in &mut syndromes {
                *term = field::multiply(&term, coordinates);
                *syndrome ^= sum(&term);
            }
        }
        syndromes
    }

    /// The places of the coordinates at whose inverse a polynomial is zero.
    fn roots(&self, polynomial: &[u16]) -> Vec<usize> {
        let values = self.coordinates.iter().flat_map(|coordinates| {
            let inverses = field::invert(coordinates);
            let mut values = [0; LANES];
            for coefficient in polynomial.iter().rev() {
                values = field::multiply(&values, &inverses);
                field::add_assign(&mut values, &[*coefficient; LANES]);
            }
            values
        });
        let places = values.take(self.len).enumerate();
        places
            .filter_map(|(place, value)| (value == 0).then_some(place))
            .collect()
    }
}

/// The shortest linear recurrence that syndromes follow (Berlekamp and Massey, without divisions),
/// from the constant term up, and its length: its roots are the inverses of the coordinates of the
/// errors. `None` if it is longer than `most`.
fn locator(syndromes: &[u16], most: usize) -> Option<(Vec<u16>, usize)> {
    let (mut locator, mut length) = (vec![1], 0);
    let (mut previous, mut previous_discrepancy) = (vec![1], 1);
    for seen in 1..=syndromes.len() {
        // Newest first, beside the coefficients from the constant term up.
        let recent = syndromes.iter().take(seen).rev();
        let discrepancy = locator
            .iter()
            .zip(recent)
            .fold(0, |sum, (a, b)| sum ^ field::product(*a, *b));
        previous.insert(0, 0);
        if discrepancy == 0 {
            continue;
        }
        let mut next = vec![0; locator.len().max(previous.len())];
        for (polynomial, by) in [(&locator, previous_discrepancy), (&previous, discrepancy)] {
            for (next, coefficient) in next.iter_mut().zip(polynomial) {
                *next ^= field::product(*coefficient, by);
            }
        }
        if 2 * length < seen {
            length = seen - length;
            if length > most {
                return None;
            }
            (previous, previous_discrepancy) = (locator, discrepancy);
        }
        locator = next;
    }
    Some((locator, length))
}

/// Sixteen side by side, the last filled up with zeros.
fn chunks(elements: &[u16]) -> Vec<Lanes> {
    let filled = elements.chunks(LANES).map(|chunk| {
        let mut lanes = [0; LANES];
        for (lane, element) in lanes.iter_mut().zip(chunk) {
            *lane = *element;
        }
        lanes
    });
    filled.collect()
}

fn sum(lanes: &Lanes) -> u16 {
    lanes.iter().fold(0, |sum, lane| sum ^ lane)
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::subsequence};
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;
    use crate::shamir;

    /// Some shares of a seed, with their coordinates.
    fn dealt(seed: [u8; 32], threshold: usize, coordinates: &[u16], coins: [u8; 32]) -> Vec<Share> {
        let holders = coordinates.iter().max().copied().unwrap_or(1);
        let threshold = u32::try_from(threshold).unwrap();
        let seed = Seed::from_bytes(seed);
        let mut rng = ChaCha20Rng::from_seed(coins);
        let all = shamir::split(&seed, threshold, holders.into(), &mut rng);
        let chosen = coordinates
            .iter()
            .map(|x| all[usize::from(*x) - 1].as_bytes());
        chosen.map(|bytes| Share::from_bytes(*bytes)).collect()
    }

    fn add(share: &mut Share, error: &Lanes) {
        let mut lanes = field::from_bytes(share.as_bytes());
        field::add_assign(&mut lanes, error);
        *share = Share::from_bytes(field::to_bytes(&lanes));
    }

    /// Coordinates in any order, a threshold, places, and what is added to the shares there:
    /// anything but nothing, in all lanes or in one.
    fn cases() -> impl Strategy<Value = (Vec<u16>, usize, Vec<(usize, Lanes)>)> {
        let coordinates = (1_usize..30).prop_flat_map(|h| {
            let some = subsequence((1..60).collect::<Vec<u16>>(), h).prop_shuffle();
            (
                some,
                1..=h,
                subsequence((0..h).collect::<Vec<usize>>(), 0..=h),
            )
        });
        coordinates.prop_flat_map(|(coordinates, threshold, places)| {
            let error = (any::<Lanes>(), any::<bool>(), 0..LANES).prop_map(|(any, all, lane)| {
                let mut error = if all { any } else { [0; LANES] };
                error[lane] = any[lane] | 1;
                error
            });
            let errors = proptest::collection::vec(error, places.len());
            let errors =
                errors.prop_map(move |errors| places.iter().copied().zip(errors).collect());
            (Just(coordinates), Just(threshold), errors)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn wrong_shares_within_the_bound_are_corrected_and_named(
            (coordinates, threshold, mut errors) in cases(), seed: [u8; 32], coins: [u8; 32],
        ) {
            errors.truncate((coordinates.len() - threshold) / 2);
            let mut shares = dealt(seed, threshold, &coordinates, coins);
            for (place, error) in &errors {
                add(&mut shares[*place], error);
            }
            let shares: Vec<&Share> = shares.iter().collect();
            let places: Vec<usize> = errors.iter().map(|(place, _)| *place).collect();
            let committed = |found: &Seed| *found.as_bytes() == seed;
            let corrected = correct(&coordinates, &shares, threshold, committed).unwrap();
            prop_assert_eq!(corrected.seed.as_bytes(), &seed);
            prop_assert_eq!(corrected.wrong, places);
        }

        #[test]
        fn wrong_shares_beyond_the_bound_never_give_a_wrong_seed(
            (coordinates, threshold, errors) in cases(), seed: [u8; 32], coins: [u8; 32],
        ) {
            prop_assume!(errors.len() > (coordinates.len() - threshold) / 2);
            let mut shares = dealt(seed, threshold, &coordinates, coins);
            for (place, error) in &errors {
                add(&mut shares[*place], error);
            }
            let shares: Vec<&Share> = shares.iter().collect();
            let committed = |found: &Seed| *found.as_bytes() == seed;
            // Errors can happen to cancel: then the seed is the right one.
            if let Some(corrected) = correct(&coordinates, &shares, threshold, committed) {
                prop_assert_eq!(*corrected.seed.as_bytes(), seed);
            }
        }

        /// What the decoder leaves agrees, whatever it was given.
        #[test]
        fn any_input_is_answered(
            input in proptest::collection::vec((0_u16..40, any::<[u8; 32]>()), 0..20),
            threshold in 0_usize..20,
            cut in 0_usize..2,
        ) {
            let (mut coordinates, shares): (Vec<u16>, Vec<Share>) = input
                .into_iter()
                .map(|(coordinate, share)| (coordinate, Share::from_bytes(share)))
                .unzip();
            coordinates.truncate(shares.len().saturating_sub(cut));
            let shares: Vec<&Share> = shares.iter().collect();
            let most = shares.len().saturating_sub(threshold) / 2;
            let Some(wrong) = wrong_shares(&coordinates, &shares, threshold) else {
                return Ok(());
            };
            prop_assert!(wrong.len() <= most);
            let right = (0..shares.len()).filter(|place| !wrong.contains(place));
            let right: Vec<usize> = right.collect();
            let seed = |places: &[usize]| {
                let coordinates: Vec<u16> = places.iter().map(|place| coordinates[*place]).collect();
                let coefficients = Coefficients::new(&coordinates).unwrap();
                *coefficients.reconstruct(places.iter().map(|place| shares[*place])).as_bytes()
            };
            prop_assert_eq!(seed(&right[..threshold]), seed(&right[right.len() - threshold..]));
        }
    }

    /// Liars who agree on another polynomial are believed by the decoder, which then names honest
    /// holders; the commitment tells.
    #[test]
    fn colluders_can_push_the_decoder_but_not_the_seed() {
        let coordinates: Vec<u16> = (1..=8).collect();
        let mut shares = dealt([3; 32], 4, &coordinates, [4; 32]);
        // A polynomial of degree 3 that is zero at 1, 2 and 3: three liars add it, two honest
        // holders of a non-zero value do not.
        for coordinate in 4..=6_u16 {
            let mut value = [7; LANES];
            for root in 1..=3 {
                value = field::scale(&value, coordinate ^ root);
            }
            add(&mut shares[usize::from(coordinate) - 1], &value);
        }
        let shares: Vec<&Share> = shares.iter().collect();
        assert_eq!(wrong_shares(&coordinates, &shares, 4), Some(vec![6, 7]));
        let committed = |found: &Seed| *found.as_bytes() == [3; 32];
        assert!(correct(&coordinates, &shares, 4, committed).is_none());
    }

    #[test]
    fn what_is_no_set_of_shares_is_refused() {
        let shares = dealt([1; 32], 2, &[1, 2, 3], [2; 32]);
        let shares: Vec<&Share> = shares.iter().collect();
        let wrong = |coordinates: &[u16], threshold| wrong_shares(coordinates, &shares, threshold);
        assert_eq!(wrong(&[1, 2, 3], 2), Some(vec![]));
        assert_eq!(wrong(&[1, 2, 3], 3), Some(vec![]));
        for (coordinates, threshold) in [
            (vec![1, 2, 3], 0),
            (vec![1, 2, 3], 4),
            (vec![1, 2], 2),
            (vec![0, 1, 2], 2),
            (vec![1, 1, 2], 2),
        ] {
            assert_eq!(wrong(&coordinates, threshold), None);
        }
        // Nor where the shares are those of a polynomial whatever the threshold and the coordinates.
        let zero = Share::from_bytes([0; 32]);
        assert_eq!(wrong_shares(&[1, 2], &[&zero; 2], 1), Some(vec![]));
        assert_eq!(wrong_shares(&[1, 2], &[&zero; 2], 0), None);
        assert_eq!(wrong_shares(&[1, 2], &[&zero; 3], 1), None);
    }
}
