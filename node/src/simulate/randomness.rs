//! Everything that is left to chance, from one seed.
//!
//! # Security
//! Keys of simulated clients come from here too: they protect nobody, and there is nobody to protect.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// What randomness is for. Each purpose, round and client has its own, so that none of them shifts
/// another: with secure aggregation and without the same clients train and round alike.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Split,
    Sampling,
    Dropout,
    Training,
    Rounding,
    Synthetic,
    Nonce,
    Identity,
    Protocol,
}

impl Purpose {
    const fn label(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Sampling => "sampling",
            Self::Dropout => "dropout",
            Self::Training => "training",
            Self::Rounding => "rounding",
            Self::Synthetic => "synthetic",
            Self::Nonce => "nonce",
            Self::Identity => "identity",
            Self::Protocol => "protocol",
        }
    }
}

/// A seed of a round and a client; 0 where there is none.
pub(super) fn seed(experiment: u32, purpose: Purpose, round: u32, client: u32) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"secagg-node/v1/simulate/")
        .chain_update(purpose.label())
        .chain_update([0])
        .chain_update(experiment.to_le_bytes())
        .chain_update(round.to_le_bytes())
        .chain_update(client.to_le_bytes())
        .finalize()
        .into()
}

/// A generator of a round and a client; 0 where there is none.
pub(super) fn rng(experiment: u32, purpose: Purpose, round: u32, client: u32) -> ChaCha20Rng {
    ChaCha20Rng::from_seed(seed(experiment, purpose, round, client))
}

/// A number from 0 up to 1, of 53 bits.
pub(crate) fn unit(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number below `bound`, which is not 0; all are equally probable.
pub(super) fn below(rng: &mut impl Rng, bound: u64) -> u64 {
    // The largest multiple of the bound that fits: what lies beyond is drawn again.
    let excess = (u64::MAX % bound + 1) % bound;
    loop {
        let drawn = rng.next_u64();
        if drawn <= u64::MAX - excess {
            return drawn % bound;
        }
    }
}

/// So many of the numbers below `population`, at most all of them: every subset is equally probable.
/// In ascending order.
pub(super) fn sample(rng: &mut impl Rng, population: u32, count: u32) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..population).collect();
    let count = count.min(population) as usize;
    shuffle_front(&mut numbers, count, rng);
    numbers.truncate(count);
    numbers.sort_unstable();
    numbers
}

/// Puts the elements into an order of which each is equally probable.
pub(super) fn shuffle<T>(elements: &mut [T], rng: &mut impl Rng) {
    shuffle_front(elements, elements.len(), rng);
}

/// Fisher and Yates, for the first `count` places.
fn shuffle_front<T>(elements: &mut [T], count: usize, rng: &mut impl Rng) {
    for place in 0..count {
        let left = (elements.len() - place) as u64;
        let chosen = usize::try_from(below(rng, left)).expect("below a length");
        elements.swap(place, place + chosen);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn fixed(round: u32) -> ChaCha20Rng {
        rng(1, Purpose::Sampling, round, 0)
    }

    #[test]
    fn every_purpose_round_and_client_has_a_seed_of_its_own() {
        let base = seed(1, Purpose::Training, 1, 1);
        for other in [
            seed(2, Purpose::Training, 1, 1),
            seed(1, Purpose::Rounding, 1, 1),
            seed(1, Purpose::Training, 2, 1),
            seed(1, Purpose::Training, 1, 2),
        ] {
            assert_ne!(base, other);
        }
        assert_eq!(base, seed(1, Purpose::Training, 1, 1));
    }

    #[test]
    fn every_subset_is_drawn_about_equally_often() {
        let mut rng = fixed(1);
        let mut counts = BTreeMap::new();
        for _ in 0..2_000 {
            *counts.entry(sample(&mut rng, 5, 2)).or_insert(0) += 1;
        }
        // Ten subsets, 200 expected of each, standard deviation 13.4.
        assert_eq!(counts.len(), 10);
        assert!(
            counts.values().all(|count| (140..260).contains(count)),
            "{counts:?}"
        );
        assert!(counts.keys().all(|drawn| drawn.is_sorted()));
        assert_eq!(sample(&mut rng, 3, 9), [0, 1, 2]);
    }

    #[test]
    fn a_shuffle_keeps_all() {
        let mut elements: Vec<u32> = (0..100).collect();
        shuffle(&mut elements, &mut fixed(2));
        assert!(!elements.is_sorted());
        elements.sort_unstable();
        assert!(elements.into_iter().eq(0..100));
    }

    #[test]
    fn numbers_stay_below_their_bound() {
        let mut rng = fixed(3);
        let drawn: Vec<u64> = (0..60).map(|_| below(&mut rng, 3)).collect();
        for number in 0..3 {
            assert!(drawn.contains(&number));
        }
        assert!(drawn.iter().all(|&number| number < 3));
        assert!(
            (0..100)
                .map(|_| unit(&mut rng))
                .all(|number| (0.0..1.0).contains(&number))
        );
    }
}
