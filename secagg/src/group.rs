//! The group: ristretto255 (RFC 9496).

use curve25519_dalek::{
    ristretto::{CompressedRistretto, RistrettoPoint},
    scalar::Scalar,
};
use zeroize::Zeroize;

use crate::{primitives::PublicKey, secret::Seed};

/// The element with this canonical encoding.
pub(crate) fn decompress(bytes: &[u8; 32]) -> Option<RistrettoPoint> {
    CompressedRistretto(*bytes).decompress()
}

/// The public key of a scalar, and its encoding.
pub(crate) fn public(scalar: &Scalar) -> (RistrettoPoint, [u8; 32]) {
    let point = RistrettoPoint::mul_base(scalar);
    (point, point.compress().to_bytes())
}

/// The encoding of what two clients share: one's public key times the other's scalar.
pub(crate) fn shared(scalar: &Scalar, peer: &PublicKey) -> Seed {
    let mut point = peer.point * *scalar;
    let mut compressed = point.compress();
    let shared = Seed::from_bytes(compressed.0);
    point.zeroize();
    compressed.zeroize();
    shared
}
