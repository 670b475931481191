//! What nobody can forge: the seal of a box (ChaCha20-Poly1305), and signatures (Ed25519).
//!
//! Fuzz targets are built with `fuzzing/forgeable.rs` instead; see there.

use chacha20poly1305::{
    AeadInOut, ChaCha20Poly1305, KeyInit,
    aead::{Buffer, Error},
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::{identity::SignatureBytes, secret::Key};

/// Seals a plaintext in place. The nonce is zero: the key must have one plaintext ever.
pub(crate) fn seal(key: &Key, associated_data: &[u8], buffer: &mut dyn Buffer) {
    ChaCha20Poly1305::new(key.as_bytes().into())
        .encrypt_in_place(&[0; 12].into(), associated_data, buffer)
        .expect("a box is far below the cipher's limit of 256 GiB");
}

/// Opens a box in place.
pub(crate) fn open(
    key: &Key,
    associated_data: &[u8],
    buffer: &mut dyn Buffer,
) -> Result<(), Error> {
    ChaCha20Poly1305::new(key.as_bytes().into()).decrypt_in_place(
        &[0; 12].into(),
        associated_data,
        buffer,
    )
}

/// Signs a hash.
pub(crate) fn sign(key: &SigningKey, hash: &[u8; 32]) -> SignatureBytes {
    key.sign(hash).to_bytes()
}

/// Whether the owner of a public key has signed a hash.
///
/// Strictly: a canonical signature, no key or commitment of small order. With less, one signature
/// could be valid under several keys, or one message have several signatures. The key is hashed as
/// it is encoded, so that another encoding of it is another key.
pub(crate) fn verifies(public: &[u8; 32], hash: &[u8; 32], signature: &SignatureBytes) -> bool {
    VerifyingKey::from_bytes(public).is_ok_and(|key| {
        key.verify_strict(hash, &Signature::from_bytes(signature))
            .is_ok()
    })
}
