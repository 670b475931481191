//! Where a node's coins come from: the operating system, for all that is secret.

use getrandom::SysRng;
use rand_core::UnwrapErr;
use secagg::ClientId;
use secagg_wire::digest::{Digest, Hasher};

/// The operating system's generator. It panics where the system has no randomness: nothing can be
/// kept secret there.
pub(super) fn os_rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// The seed of a round's training, which fixes its examples, their order and dropout's masks: from the
/// operating system, or, for experiments that can be repeated, from a fixed seed. Another attempt at a
/// round trains in the same way.
///
/// # Errors
/// When the system has no randomness.
pub(super) fn training_seed(
    fixed: Option<u64>,
    client: &ClientId,
    round: u64,
) -> Result<[u8; 32], getrandom::Error> {
    let Some(fixed) = fixed else {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        return Ok(seed);
    };
    let mut hasher = Hasher::new();
    hasher.update(b"secagg/v1/node/training-order");
    hasher.update(client.as_bytes());
    hasher.update(&fixed.to_le_bytes());
    hasher.update(&round.to_le_bytes());
    let digest: Digest = hasher.finish();
    Ok(*digest.as_bytes())
}

/// A number from 0 up to 1, to spread things out in time.
pub(super) fn jitter() -> f64 {
    // Without randomness everything is late at the same time; that is all.
    let bits = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_seed_gives_each_node_and_round_an_order_of_its_own() {
        let [a, b] = [1, 2].map(|id| ClientId::from_bytes([id; 16]));
        let seed = |client, round| training_seed(Some(7), client, round).unwrap();
        assert_eq!(seed(&a, 1), seed(&a, 1));
        assert_ne!(seed(&a, 1), seed(&a, 2));
        assert_ne!(seed(&a, 1), seed(&b, 1));
        assert_ne!(training_seed(None, &a, 1), training_seed(None, &a, 1));
    }
}
