//! The group: ristretto255 (RFC 9496).

use curve25519_dalek::{
    ristretto::{CompressedRistretto, RistrettoPoint},
    scalar::Scalar,
};

/// The element with this canonical encoding.
pub(crate) fn decompress(bytes: &[u8; 32]) -> Option<RistrettoPoint> {
    CompressedRistretto(*bytes).decompress()
}

/// The public key of a scalar, and its encoding.
pub(crate) fn public(scalar: &Scalar) -> (RistrettoPoint, [u8; 32]) {
    let point = RistrettoPoint::mul_base(scalar);
    (point, point.compress().to_bytes())
}
