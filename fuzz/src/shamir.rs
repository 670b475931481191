//! Shamir's shares with errors: what is wrong is found or refused, and never believed.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use secagg::{
    fuzzing::correct,
    internals::{reconstruction, split},
};

use crate::choices::Choices;

/// Deals shares of a seed, spoils some, and combines what is left. Wrong shares up to half of those
/// beyond the threshold are found, exactly; more never give another seed.
///
/// That a wrong share looks right has a probability of 2^−32, which no run of a fuzzer meets.
///
/// # Panics
///
/// When that is not so.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let holders = 1 + choices.below(48);
    let threshold = 1 + choices.below(holders);
    let seed: [u8; 32] = choices.array();
    let mut rng = ChaCha20Rng::from_seed(choices.array());
    let all = split(&seed, threshold as u32, holders as u32, &mut rng);

    // Who answers, in any order.
    let mut places: Vec<usize> = (0..holders).collect();
    let answers = threshold + choices.below(holders - threshold + 1);
    for place in 0..answers {
        let other = place + choices.below(holders - place);
        places.swap(place, other);
    }
    places.truncate(answers);
    let coordinates: Vec<u16> = places.iter().map(|place| *place as u16 + 1).collect();
    let mut shares: Vec<[u8; 32]> = places.iter().map(|place| all[*place]).collect();
    let honest = shares.clone();
    assert_eq!(
        reconstruct(&coordinates[..threshold], &shares[..threshold]),
        Some(seed),
        "any t shares give the seed"
    );

    for _ in 0..choices.below(answers + 1) {
        let place = choices.below(answers);
        let lane = 2 * choices.below(16);
        match choices.below(4) {
            0 => shares[place] = choices.array(),
            1 => shares[place][lane] ^= choices.byte(),
            2 => shares[place] = shares[choices.below(answers)],
            // Liars who agree: the shares of another polynomial.
            _ => {
                let value = choices.byte();
                shares[place][lane] ^= value;
                shares[place][lane + 1] ^= value;
            }
        }
    }
    let wrong: Vec<usize> = (0..answers)
        .filter(|place| shares[*place] != honest[*place])
        .collect();
    let corrected = correct(&coordinates, &shares, threshold, &seed);
    if wrong.len() <= (answers - threshold) / 2 {
        assert_eq!(corrected, Some((seed, wrong)), "within the bound");
    } else if let Some((found, named)) = corrected {
        // Errors that cancel: as many shares as must do agree on the seed, and no others count.
        assert_eq!(found, seed, "beyond the bound");
        assert!(named.len() <= (answers - threshold) / 2);
        let agreed: Vec<usize> = (0..answers)
            .filter(|place| !named.contains(place))
            .collect();
        for places in [&agreed[..threshold], &agreed[agreed.len() - threshold..]] {
            let coordinates: Vec<u16> = places.iter().map(|place| coordinates[*place]).collect();
            let shares: Vec<[u8; 32]> = places.iter().map(|place| shares[*place]).collect();
            assert_eq!(reconstruct(&coordinates, &shares), Some(seed));
        }
    }
    // Somebody else's commitment is never met by a seed that is not committed to.
    let other: [u8; 32] = choices.array();
    if let Some((found, _)) = correct(&coordinates, &shares, threshold, &other) {
        assert_eq!(found, other);
    }
    anything(&mut choices, &shares);
}

/// Combines shares that are taken to be right; `None` for coordinates that are no set of holders.
fn reconstruct(coordinates: &[u16], shares: &[[u8; 32]]) -> Option<[u8; 32]> {
    Some(reconstruction(coordinates)?(shares))
}

/// What is no set of shares, too.
fn anything(choices: &mut Choices<'_>, shares: &[[u8; 32]]) {
    let coordinates: Vec<u16> = (0..choices.below(shares.len() + 2))
        .map(|_| u16::from_le_bytes(choices.array()))
        .collect();
    let mut sorted = coordinates.clone();
    sorted.sort_unstable();
    let holders = sorted.first() != Some(&0) && sorted.is_sorted_by(|a, b| a < b);
    let threshold = choices.below(shares.len() + 2);
    assert_eq!(reconstruct(&coordinates, shares).is_some(), holders);
    let commitment = choices.array();
    if let Some((seed, wrong)) = correct(&coordinates, shares, threshold, &commitment) {
        assert_eq!(seed, commitment);
        assert!(wrong.len() <= (shares.len() - threshold) / 2);
        assert!(holders && coordinates.len() == shares.len());
    }
}
