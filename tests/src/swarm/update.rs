//! What the clients of a swarm send: known to whoever knows the seed.

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng as _, SeedableRng as _},
};
use secagg_learning::{Counter, Counters, CountersError, Plan, RoundKind};
use sha2::{Digest as _, Sha256};

/// Pseudo-random updates and figures of every client in every round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Updates {
    /// Another seed gives other updates.
    pub seed: u64,
    /// The largest magnitude of an element before clipping.
    pub scale: f32,
}

impl Default for Updates {
    fn default() -> Self {
        Self {
            seed: 7,
            scale: 0.01,
        }
    }
}

impl Updates {
    /// The update of a client in a round, uniform within ±scale.
    #[must_use]
    pub fn delta(&self, client: usize, round: u64, len: usize) -> Vec<f32> {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update((client as u64).to_le_bytes());
        hash.update(round.to_le_bytes());
        let mut random = ChaCha20Rng::from_seed(hash.finalize().into());
        let mut unit = move || {
            // 16 random bits, exact in f32.
            let [a, b, ..] = random.next_u32().to_le_bytes();
            f32::from(i16::from_le_bytes([a, b])) / 32_768.0
        };
        (0..len).map(|_| unit() * self.scale).collect()
    }

    /// What a client counts in a round: figures that differ between clients and rounds.
    ///
    /// # Errors
    /// None: the losses are positive.
    pub fn counters(
        &self,
        client: usize,
        round: u64,
        kind: RoundKind,
    ) -> Result<Counters, CountersError> {
        let client = client as u64;
        let mut counters = Counters::new();
        if kind == RoundKind::Train {
            let tokens = 50 + 10 * client + round;
            // Losses in halves: exact in the fixed point that travels.
            let loss = 2.5 * tokens as f64;
            counters.record_training(10 + client, loss, tokens)?;
        }
        let tokens = 20 + client;
        let loss = 1.5 * tokens as f64 + client as f64;
        counters.record_validation(loss, 3 + client % 5, 9 + client % 7, tokens)?;
        counters.record_personal(loss - 0.5, 4 + client % 5, 9 + client % 8)?;
        Ok(counters)
    }

    /// The sums of the counters of those clients.
    ///
    /// # Errors
    /// See [`counters`](Self::counters).
    pub fn totals(
        &self,
        clients: &[usize],
        round: u64,
        kind: RoundKind,
    ) -> Result<Counters, CountersError> {
        let mut sums = [0; Counter::ALL.len()];
        for client in clients {
            let counters = self.counters(*client, round, kind)?;
            for (sum, value) in sums.iter_mut().zip(counters.values()) {
                *sum += value;
            }
        }
        Ok(Counters::from_values(sums))
    }

    /// The plain mean of those clients' updates, each clipped and weighted as the plan says.
    ///
    /// # Errors
    /// See [`counters`](Self::counters).
    pub fn mean(
        &self,
        plan: &Plan,
        clients: &[usize],
        round: u64,
    ) -> Result<Vec<f64>, CountersError> {
        let len = plan.update_len();
        let mut mean = vec![0.0; len];
        let mut total = 0.0;
        for client in clients {
            let counters = self.counters(*client, round, RoundKind::Train)?;
            let examples = counters.value(Counter::Weight);
            let weight = examples.min(u64::from(plan.update().weight_cap)) as f64;
            let delta = self.delta(*client, round, len);
            let squares: f64 = delta.iter().map(|x| f64::from(*x).powi(2)).sum();
            let factor = (f64::from(plan.update().clip_norm) / squares.sqrt()).min(1.0);
            for (mean, x) in mean.iter_mut().zip(&delta) {
                *mean += weight * factor * f64::from(*x);
            }
            total += weight;
        }
        for mean in &mut mean {
            *mean /= total;
        }
        Ok(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_differ_by_client_and_round_only() {
        let updates = Updates::default();
        let delta = updates.delta(1, 2, 100);
        assert_eq!(delta, updates.delta(1, 2, 100));
        assert_ne!(delta, updates.delta(2, 2, 100));
        assert_ne!(delta, updates.delta(1, 1, 100));
        assert!(delta.iter().all(|x| x.abs() <= updates.scale));
    }
}
