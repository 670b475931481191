//! Randomness that a session's server and clients share.

use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};
use secagg::Session;
use sha2::{Digest, Sha256};

/// A seed of a session for one purpose. The session's id binds the nonce of the attempt and the digests
/// of plan and weights.
pub(crate) fn session_seed(purpose: &[u8], session: &Session) -> [u8; 32] {
    Sha256::new()
        .chain_update(purpose)
        .chain_update(session.id().as_bytes())
        .finalize()
        .into()
}

/// One of the streams of a seed.
pub(crate) fn stream_of(seed: [u8; 32], stream: u64) -> ChaCha20Rng {
    let mut random = ChaCha20Rng::from_seed(seed);
    random.set_stream(stream);
    random
}

/// Calls `apply` with each element and `magnitude` with a random sign, one bit of the stream each.
pub(crate) fn with_signs(
    mut random: ChaCha20Rng,
    magnitude: f32,
    elements: &mut [f32],
    apply: impl Fn(&mut f32, f32),
) {
    for elements in elements.chunks_mut(32) {
        let bits = random.next_u32();
        for (index, element) in elements.iter_mut().enumerate() {
            let negative = (bits >> index & 1) << 31;
            apply(element, f32::from_bits(magnitude.to_bits() ^ negative));
        }
    }
}
