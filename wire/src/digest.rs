//! SHA-256 digests: of files, of a plan, and the one that stands for a whole model in a session.
//! BLAKE3 digests: of uploads, for the event logs.

use std::fmt;

use data_encoding::HEXLOWER;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// A SHA-256 digest. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// A digest that was computed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// The BLAKE3 digest of a masked vector as it was uploaded. Both sides write it to their event logs,
/// if they keep one, and nothing depends on it. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadDigest(blake3::Hash);

impl UploadDigest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes))
    }
}

impl fmt::Display for UploadDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a file must be: its length in bytes and its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileDigest {
    /// SHA-256 of the whole file.
    pub sha256: Digest,
    /// Length in bytes.
    pub len: u64,
}

impl FileDigest {
    /// Length and digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            sha256: Digest::of(bytes),
            len: bytes.len() as u64,
        }
    }
}

/// A digest that is computed while the bytes arrive.
#[derive(Clone)]
pub struct Hasher(Context);

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hasher").finish_non_exhaustive()
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher {
    /// Nothing hashed yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything added.
    #[must_use]
    pub fn finish(self) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Digest(bytes)
    }
}

/// The model's digest in a secagg session: description, vocabulary and weights, each as this side
/// *received* them.
///
/// # Security
/// Compute it over the received bytes, never over digests that the other side announced: it is
/// what keeps clients that were shown different models from being summed.
#[must_use]
pub fn model_digest(description: &Digest, vocabulary: &Digest, weights: &Digest) -> [u8; 32] {
    let mut hasher = Hasher::new();
    hasher.update(MODEL_LABEL);
    for part in [description, vocabulary, weights] {
        hasher.update(&part.0);
    }
    hasher.finish().0
}

/// What stands for a checkpoint: the file of the weights, and that of the optimiser's state where it has
/// one.
#[must_use]
pub fn checkpoint_digest(weights: &Digest, optimizer: Option<&Digest>) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(CHECKPOINT_LABEL);
    for part in [weights].into_iter().chain(optimizer) {
        hasher.update(&part.0);
    }
    hasher.finish()
}

/// The plan's digest in a secagg session: over the announced bytes as they were received.
#[must_use]
pub fn plan_digest(plan: &[u8]) -> [u8; 32] {
    Digest::of(plan).0
}

const MODEL_LABEL: &[u8] = b"secagg/v1/wire/model";
const CHECKPOINT_LABEL: &[u8] = b"secagg/v1/wire/checkpoint";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_in_pieces_is_the_digest_of_the_whole() {
        let mut hasher = Hasher::new();
        hasher.update(b"ab");
        hasher.update(b"c");
        let digest = hasher.finish();
        assert_eq!(digest, Digest::of(b"abc"));
        assert_eq!(
            digest.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    /// The digest of nothing, of the official test vectors.
    #[test]
    fn uploads_are_digested_by_blake3() {
        assert_eq!(
            UploadDigest::of(b"").to_string(),
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
        assert_ne!(UploadDigest::of(b"a"), UploadDigest::of(b"b"));
    }

    #[test]
    fn each_part_of_the_model_changes_its_digest() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|bytes| Digest::of(bytes));
        let whole = model_digest(&a, &b, &c);
        assert_ne!(whole, model_digest(&b, &a, &c));
        assert_ne!(whole, model_digest(&a, &b, &a));
        assert_eq!(whole, model_digest(&a, &b, &c));
    }

    #[test]
    fn weights_and_state_change_a_checkpoints_digest() {
        let [a, b] = [b"a", b"b"].map(|bytes| Digest::of(bytes));
        let whole = checkpoint_digest(&a, Some(&b));
        for other in [
            checkpoint_digest(&a, None),
            checkpoint_digest(&b, Some(&a)),
            checkpoint_digest(&a, Some(&a)),
        ] {
            assert_ne!(whole, other);
        }
        assert_eq!(whole, checkpoint_digest(&a, Some(&b)));
    }
}
