//! How examples are dealt out to virtual clients. Examples are numbers here, and a label is any
//! small number: the author of a message, or the class of a picture.

use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, Gamma};

use super::randomness::{shuffle, unit};

/// Each client draws shares q ~ Dir(α·p) over the labels, where p is how frequent they are, and then
/// label after label from q, and for each an example that nobody has yet. A label that is used up
/// is left out from then on. All clients have equally many examples, but for one.
///
/// Hsu, Qi and Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
/// Classification" (2019), section 3.
pub(super) fn mixture(
    labels: &[u32],
    clients: u32,
    alpha: f64,
    rng: &mut ChaCha20Rng,
) -> Vec<Vec<usize>> {
    let kinds = labels
        .iter()
        .max()
        .map_or(0, |&largest| largest as usize + 1);
    let mut left: Vec<Vec<usize>> = vec![Vec::new(); kinds];
    for (example, &label) in labels.iter().enumerate() {
        left[label as usize].push(example);
    }
    let total = labels.len() as f64;
    let concentrations: Vec<f64> = left
        .iter()
        .map(|examples| alpha * examples.len() as f64 / total)
        .collect();
    for examples in &mut left {
        shuffle(examples, rng);
    }
    let sizes = even(labels.len(), clients);
    let deal = |size: usize| {
        let logarithms: Vec<f64> = concentrations
            .iter()
            .map(|&concentration| log_gamma(concentration, rng))
            .collect();
        let mut shares = shares_of(&logarithms, &left);
        let mut own = Vec::with_capacity(size);
        while own.len() < size {
            let label = draw(&shares, rng);
            own.extend(left[label].pop());
            if left[label].is_empty() {
                shares = shares_of(&logarithms, &left);
            }
        }
        own
    };
    sizes.into_iter().map(deal).collect()
}

/// All examples in random order, dealt out in shares from Dir(α, …, α), one at least to each.
pub(super) fn sizes(
    examples: usize,
    clients: u32,
    alpha: f64,
    rng: &mut ChaCha20Rng,
) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..examples).collect();
    shuffle(&mut order, rng);
    let shares = dirichlet(&vec![alpha; clients as usize], rng);
    let spare = examples.saturating_sub(clients as usize);
    let mut rest = order.as_slice();
    rounded(&shares, spare)
        .into_iter()
        .map(|size| {
            let (own, after) = rest.split_at((size + 1).min(rest.len()));
            rest = after;
            own.to_vec()
        })
        .collect()
}

/// Shares from a Dirichlet distribution with these concentrations, which are above 0.
pub(crate) fn dirichlet(concentrations: &[f64], rng: &mut ChaCha20Rng) -> Vec<f64> {
    let logarithms = concentrations.iter().map(|&one| log_gamma(one, rng));
    softmax(&logarithms.collect::<Vec<f64>>())
}

/// As equal as can be.
fn even(examples: usize, clients: u32) -> Vec<usize> {
    let clients = clients as usize;
    let more = examples % clients;
    (0..clients)
        .map(|client| examples / clients + usize::from(client < more))
        .collect()
}

/// Whole numbers that sum up to `total`, as near to these shares of it as can be: by the largest
/// remainder.
fn rounded(shares: &[f64], total: usize) -> Vec<usize> {
    let exact: Vec<f64> = shares.iter().map(|share| share * total as f64).collect();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to a number of examples"
    )]
    let mut whole: Vec<usize> = exact.iter().map(|exact| exact.floor() as usize).collect();
    let mut by_remainder: Vec<usize> = (0..shares.len()).collect();
    by_remainder.sort_by(|&one, &other| exact[other].fract().total_cmp(&exact[one].fract()));
    let missing = total.saturating_sub(whole.iter().sum());
    for &place in by_remainder.iter().cycle().take(missing) {
        whole[place] += 1;
    }
    whole
}

/// The logarithm of a number from Gamma(a, 1), also where the number itself would be 0 in 64 bits:
/// Gamma(a) is Gamma(a + 1)·U^(1/a), with U uniform.
fn log_gamma(concentration: f64, rng: &mut ChaCha20Rng) -> f64 {
    if concentration <= 0.0 {
        return f64::NEG_INFINITY;
    }
    let gamma = Gamma::new(concentration + 1.0, 1.0).expect("above 1");
    // From above 0 to 1.
    let uniform = 1.0 - unit(rng);
    gamma.sample(rng).ln() + uniform.ln() / concentration
}

/// The shares of the labels that are left.
fn shares_of(logarithms: &[f64], left: &[Vec<usize>]) -> Vec<f64> {
    let still: Vec<f64> = logarithms
        .iter()
        .zip(left)
        .map(|(&logarithm, examples)| match examples.as_slice() {
            [] => f64::NEG_INFINITY,
            _ => logarithm,
        })
        .collect();
    softmax(&still)
}

fn softmax(logarithms: &[f64]) -> Vec<f64> {
    let largest = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return vec![0.0; logarithms.len()];
    }
    let weights: Vec<f64> = logarithms
        .iter()
        .map(|logarithm| (logarithm - largest).exp())
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// A place with the probability that stands there; the last with any where rounding leaves a gap.
pub(crate) fn draw(shares: &[f64], rng: &mut ChaCha20Rng) -> usize {
    let mut rest = unit(rng);
    let mut last = 0;
    for (place, &share) in shares.iter().enumerate() {
        if share > 0.0 {
            last = place;
            if rest < share {
                return place;
            }
            rest -= share;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::randomness::{Purpose, rng};

    /// Six people with 20 to 120 messages.
    fn labels() -> Vec<u32> {
        (0..6_u32)
            .flat_map(|label| std::iter::repeat_n(label, 20 * (label as usize + 1)))
            .collect()
    }

    fn dealt(alpha: f64) -> Vec<Vec<usize>> {
        mixture(&labels(), 12, alpha, &mut rng(1, Purpose::Split, 0, 0))
    }

    fn assert_all_dealt(clients: &[Vec<usize>], examples: usize) {
        let mut all: Vec<usize> = clients.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..examples));
    }

    /// The mean over the clients of the share of their most frequent label.
    fn concentration(clients: &[Vec<usize>]) -> f64 {
        let labels = labels();
        let most = |own: &Vec<usize>| {
            let count = |label| {
                own.iter()
                    .filter(|&&example| labels[example] == label)
                    .count()
            };
            let largest = (0..6).map(count).max().unwrap();
            largest as f64 / own.len() as f64
        };
        clients.iter().map(most).sum::<f64>() / clients.len() as f64
    }

    #[test]
    fn a_mixture_deals_out_all_in_equal_parts() {
        for alpha in [0.001, 0.1, 1.0, 1e6] {
            let clients = dealt(alpha);
            assert_all_dealt(&clients, 420);
            assert!(clients.iter().all(|own| own.len() == 35));
            assert_eq!(clients, dealt(alpha), "not deterministic");
        }
    }

    #[test]
    fn alpha_says_how_different_clients_are() {
        let (apart, between, alike) = (
            concentration(&dealt(0.01)),
            concentration(&dealt(3.0)),
            concentration(&dealt(1e6)),
        );
        // The most frequent label has 120 of 420 messages: 29 %, and a little more by chance.
        assert!(apart > 0.85 && alike < 0.45, "{apart} {alike}");
        assert!(
            alike < between && between < apart,
            "{alike} {between} {apart}"
        );
    }

    #[test]
    fn sizes_differ_and_nobody_has_nothing() {
        let dealt = |alpha| sizes(420, 12, alpha, &mut rng(1, Purpose::Split, 0, 0));
        let range = |clients: &[Vec<usize>]| {
            let sizes = clients.iter().map(Vec::len);
            (sizes.clone().min().unwrap(), sizes.max().unwrap())
        };
        for alpha in [0.001, 0.5, 1e6] {
            assert_all_dealt(&dealt(alpha), 420);
        }
        let (least, most) = range(&dealt(0.001));
        assert!(least == 1 && most > 400, "{least} {most}");
        let (least, most) = range(&dealt(0.5));
        assert!(least < 15 && most > 60, "{least} {most}");
        let (least, most) = range(&dealt(1e6));
        assert!(least >= 34 && most <= 36, "{least} {most}");
    }

    #[test]
    fn shares_become_whole_numbers_with_the_right_sum() {
        assert_eq!(rounded(&[0.5, 0.3, 0.2], 7), [4, 2, 1]);
        assert_eq!(rounded(&[1.0 / 3.0; 3], 10), [4, 3, 3]);
        assert_eq!(even(7, 3), [3, 2, 2]);
    }
}
