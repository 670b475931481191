//! INSECURE, for fuzz targets alone: seals and signatures that anybody can forge, in the place of
//! `authentic.rs`. A fuzzer that changes a byte would otherwise get no further than the seal or the
//! signature over it.
//!
//! Boxes are in the clear. Honest seals and signatures are hashes that bind what the real ones
//! bind, so messages that were moved, replayed or damaged are still refused; and a tag or signature
//! of zeros is accepted from everybody, as one of a corrupt client would be.

use chacha20poly1305::aead::{Buffer, Error};
use ed25519_dalek::SigningKey;

use crate::{
    identity::{SIGNATURE_LEN, SignatureBytes},
    primitives::{self, TAG_LEN},
    secret::Key,
};

pub(crate) fn seal(key: &Key, associated_data: &[u8], buffer: &mut dyn Buffer) {
    let tag = tag(key, associated_data, buffer.as_ref());
    buffer
        .extend_from_slice(&tag)
        .expect("a growing buffer takes a tag");
}

pub(crate) fn open(
    key: &Key,
    associated_data: &[u8],
    buffer: &mut dyn Buffer,
) -> Result<(), Error> {
    let Some((plaintext, found)) = buffer.as_ref().split_last_chunk::<TAG_LEN>() else {
        return Err(Error);
    };
    if *found != [0; TAG_LEN] && *found != tag(key, associated_data, plaintext) {
        return Err(Error);
    }
    let len = plaintext.len();
    buffer.truncate(len);
    Ok(())
}

pub(crate) fn sign(key: &SigningKey, hash: &[u8; 32]) -> SignatureBytes {
    signature(key.verifying_key().as_bytes(), hash)
}

pub(crate) fn verifies(public: &[u8; 32], hash: &[u8; 32], found: &SignatureBytes) -> bool {
    *found == [0; SIGNATURE_LEN] || *found == signature(public, hash)
}

fn tag(key: &Key, associated_data: &[u8], plaintext: &[u8]) -> [u8; TAG_LEN] {
    let hash = primitives::hash("fuzzing/tag", &[key.as_bytes(), associated_data, plaintext]);
    let (tag, _) = hash.split_at(TAG_LEN);
    tag.try_into().expect("a hash is longer than a tag")
}

fn signature(public: &[u8; 32], hash: &[u8; 32]) -> SignatureBytes {
    let half = primitives::hash("fuzzing/signature", &[public, hash]);
    let mut signature = [0; SIGNATURE_LEN];
    for (to, from) in signature.iter_mut().zip(half.iter().chain(&half)) {
        *to = *from;
    }
    signature
}
