//! Every label, hash, key derivation and agreement of the protocol, in one file.
//!
//! Labels are length-prefixed and so are the parts after them: two different inputs never give
//! the same byte string to hash.

use alloc::{boxed::Box, vec::Vec};

use chacha20poly1305::aead::{Buffer, Error as AeadError};
use curve25519_dalek::{ristretto::RistrettoPoint, scalar::Scalar, traits::IsIdentity};
use hkdf::{Hkdf, HkdfExtract};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    agreement, authentic, group,
    id::ClientId,
    secret::{Key, Seed},
    session::{RoundId, SessionId},
};

/// The domain-separation labels. Each stands once and is used for one purpose.
pub(crate) mod label {
    pub(crate) const CLIENT_ID: &str = "secagg/v1/client-id";
    pub(crate) const SESSION_ID: &str = "secagg/v1/session-id";
    pub(crate) const ROUND_ID: &str = "secagg/v1/round-id";
    pub(crate) const ADVERT: &str = "secagg/v1/advert";
    pub(crate) const ROSTER: &str = "secagg/v1/roster";
    pub(crate) const SELF_MASK_COMMITMENT: &str = "secagg/v1/self-mask-commitment";
    pub(crate) const MASK_SCALAR: &str = "secagg/v1/mask-scalar";
    pub(crate) const CHANNEL_SCALAR: &str = "secagg/v1/channel-scalar";
    pub(crate) const PAIRWISE_MASK: &str = "secagg/v1/pairwise-mask";
    pub(crate) const SELF_MASK: &str = "secagg/v1/self-mask";
    pub(crate) const BOX_KEY: &str = "secagg/v1/box-key";
    pub(crate) const GRAPH: &str = "secagg/v1/graph";
    pub(crate) const CREDENTIAL: &str = "secagg/v1/credential";
    pub(crate) const ADVERT_SIGNATURE: &str = "secagg/v1/advert-signature";
    pub(crate) const SURVIVORS_SIGNATURE: &str = "secagg/v1/survivors-signature";
    pub(crate) const REQUEST_SIGNATURE: &str = "secagg/v1/request-signature";
    pub(crate) const SHARE_WEIGHTS: &str = "secagg/v1/share-weights";
}

/// Bytes that the seal adds to a plaintext.
pub(crate) const TAG_LEN: usize = 16;

/// Labelled SHA-256 of a list of parts.
pub(crate) fn hash(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in core::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// HKDF-SHA256 (RFC 5869) under one salt, which is what the keys are bound to.
struct Derivation(HkdfExtract<Sha256>);

impl Derivation {
    fn bound_to(salt: &[u8; 32]) -> Self {
        Self(HkdfExtract::new(Some(salt)))
    }

    /// What keys of this secret are expanded from.
    fn extract(&self, secret: &[u8]) -> Hkdf<Sha256> {
        let mut extract = self.0.clone();
        extract.input_ikm(secret);
        let (mut extracted, hkdf) = extract.finalize();
        extracted.as_mut_slice().zeroize();
        hkdf
    }
}

/// Expands a key; label and `parts` say what it is for.
fn expand<const N: usize>(
    extracted: &Hkdf<Sha256>,
    label: &str,
    parts: &[&[u8]],
) -> Zeroizing<[u8; N]> {
    let mut info = Vec::with_capacity(256);
    for part in core::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
        info.extend_from_slice(&(part.len() as u64).to_le_bytes());
        info.extend_from_slice(part);
    }
    let mut out = Zeroizing::new([0; N]);
    extracted
        .expand(&info, &mut *out)
        .expect("32 and 64 bytes are within HKDF's limit of 255 hashes");
    out
}

/// A key of a cipher.
fn expand_key(extracted: &Hkdf<Sha256>, label: &str, parts: &[&[u8]]) -> Key {
    Key::from_bytes(*expand(extracted, label, parts))
}

/// A public key: a ristretto255 element other than the identity, in its canonical encoding
/// (RFC 9496).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey {
    bytes: [u8; 32],
    pub(crate) point: RistrettoPoint,
}

impl PublicKey {
    /// `None` for bytes that are no canonical element, and for the identity: with the identity
    /// as a key every agreement would give the same, public secret.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Option<Self> {
        let point = group::decompress(&bytes)?;
        (!point.is_identity()).then_some(Self { bytes, point })
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }
}

/// A key pair whose scalar is derived from a seed, bound to session and owner.
pub(crate) struct KeyPair {
    scalar: Box<Scalar>,
    public: PublicKey,
}

impl Drop for KeyPair {
    fn drop(&mut self) {
        self.scalar.zeroize();
    }
}

impl ZeroizeOnDrop for KeyPair {}

impl KeyPair {
    /// The pair whose seed is shared (s_u of the paper): it makes the pairwise masks.
    pub(crate) fn mask(seed: &Seed, session: &SessionId, owner: ClientId) -> Self {
        Self::derive(label::MASK_SCALAR, seed, session, owner)
    }

    /// The pair that seals the shares. Its seed is never shared: a reconstructed mask seed must
    /// not open boxes.
    pub(crate) fn channel(seed: &Seed, session: &SessionId, owner: ClientId) -> Self {
        Self::derive(label::CHANNEL_SCALAR, seed, session, owner)
    }

    fn derive(label: &str, seed: &Seed, session: &SessionId, owner: ClientId) -> Self {
        let extracted = Derivation::bound_to(session.as_bytes()).extract(seed.as_bytes());
        let wide = expand::<64>(&extracted, label, &[owner.as_bytes()]);
        let mut scalar = Scalar::from_bytes_mod_order_wide(&wide);
        let (point, bytes) = group::public(&scalar);
        let pair = Self {
            scalar: Box::new(scalar),
            public: PublicKey { bytes, point },
        };
        scalar.zeroize();
        pair
    }

    pub(crate) const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The points shared with each of these keys, compressed.
    fn agree(&self, peers: &[End<'_>]) -> Vec<Seed> {
        let keys: Vec<&PublicKey> = peers.iter().map(|peer| peer.key).collect();
        agreement::with_each(&self.scalar, &keys)
    }

    /// The keys of the masks between this client and each of its peers.
    pub(crate) fn pairwise_masks(
        &self,
        round: &RoundId,
        own: ClientId,
        peers: &[End<'_>],
    ) -> Vec<Key> {
        let own = self.end(own);
        let derivation = Derivation::bound_to(round.as_bytes());
        let shared = self.agree(peers);
        let ends = peers.iter().zip(&shared);
        ends.map(|(peer, shared)| pairwise_mask(&derivation, &own, peer, shared))
            .collect()
    }

    const fn end(&self, id: ClientId) -> End<'_> {
        End {
            id,
            key: &self.public,
        }
    }

    /// For each peer the keys of the box that this client sends to it, and of the box that comes
    /// back.
    pub(crate) fn keys_of_boxes(
        &self,
        round: &RoundId,
        own: ClientId,
        peers: &[End<'_>],
    ) -> Vec<(BoxKey, BoxKey)> {
        let here = self.end(own);
        let derivation = Derivation::bound_to(round.as_bytes());
        let shared = self.agree(peers);
        let keys = peers.iter().zip(&shared).map(|(there, shared)| {
            let extracted = derivation.extract(shared.as_bytes());
            (
                BoxKey::expand(round, &here, there, &extracted),
                BoxKey::expand(round, there, &here, &extracted),
            )
        });
        keys.collect()
    }
}

/// A client, and those it has masks with whose pairs are known.
pub(crate) type Opened<'a> = (End<'a>, Vec<(ClientId, &'a KeyPair)>);

/// For each of these clients the keys of its masks.
pub(crate) fn pairwise_masks_with(round: &RoundId, clients: &[Opened<'_>]) -> Vec<Vec<Key>> {
    let derivation = Derivation::bound_to(round.as_bytes());
    let jobs: Vec<agreement::Job<'_>> = clients
        .iter()
        .map(|(peer, owners)| {
            let scalars = owners.iter().map(|(_, pair)| &*pair.scalar);
            (peer.key, scalars.collect())
        })
        .collect();
    let shared = agreement::by_each(&jobs);
    let keys = clients.iter().zip(&shared).map(|((peer, owners), shared)| {
        let ends = owners.iter().zip(shared);
        ends.map(|((id, pair), shared)| pairwise_mask(&derivation, &pair.end(*id), peer, shared))
            .collect()
    });
    keys.collect()
}

/// The key of the mask between two clients. Both ends derive the same one: ids and keys stand in
/// ascending order of the ids.
///
/// V-27. Masks that do not cancel spoil the sum; masks that repeat, over rounds or pairs, tell the
/// server the difference of two inputs.
fn pairwise_mask(derivation: &Derivation, a: &End<'_>, b: &End<'_>, shared: &Seed) -> Key {
    let (low, high) = if a.id <= b.id { (a, b) } else { (b, a) };
    let parts: [&[u8]; 4] = [
        low.id.as_bytes(),
        high.id.as_bytes(),
        low.key.as_bytes(),
        high.key.as_bytes(),
    ];
    let extracted = derivation.extract(shared.as_bytes());
    expand_key(&extracted, label::PAIRWISE_MASK, &parts)
}

/// One end of an agreement.
pub(crate) struct End<'a> {
    pub(crate) id: ClientId,
    pub(crate) key: &'a PublicKey,
}

/// The key of one box, in one direction, for one plaintext ever: so the nonce may be zero.
///
/// V-26. A box that the server reflects, gives to another receiver or replays in another round does
/// not open: round, sender and receiver are in the key and in the associated data.
pub(crate) struct BoxKey {
    key: Key,
    associated_data: [u8; 64],
}

impl BoxKey {
    fn expand(
        round: &RoundId,
        sender: &End<'_>,
        receiver: &End<'_>,
        extracted: &Hkdf<Sha256>,
    ) -> Self {
        let key = expand_key(
            extracted,
            label::BOX_KEY,
            &[
                sender.id.as_bytes(),
                receiver.id.as_bytes(),
                sender.key.as_bytes(),
                receiver.key.as_bytes(),
            ],
        );
        let mut associated_data = [0; 64];
        let parts = round
            .as_bytes()
            .iter()
            .chain(sender.id.as_bytes())
            .chain(receiver.id.as_bytes());
        for (to, from) in associated_data.iter_mut().zip(parts) {
            *to = *from;
        }
        Self {
            key,
            associated_data,
        }
    }

    /// Seals a plaintext in place; `self` is consumed, because the key has one plaintext ever.
    pub(crate) fn seal(self, buffer: &mut dyn Buffer) {
        authentic::seal(&self.key, &self.associated_data, buffer);
    }

    /// Opens a box in place.
    pub(crate) fn open(self, buffer: &mut dyn Buffer) -> Result<(), AeadError> {
        authentic::open(&self.key, &self.associated_data, buffer)
    }
}

/// The commitment to a self-mask seed that stands in a client's advert.
pub(crate) fn self_mask_commitment(session: &SessionId, owner: ClientId, seed: &Seed) -> [u8; 32] {
    hash(
        label::SELF_MASK_COMMITMENT,
        &[session.as_bytes(), owner.as_bytes(), seed.as_bytes()],
    )
}

/// The key of a client's self mask (PRG(b_u) of the paper).
pub(crate) fn self_mask(round: &RoundId, owner: ClientId, seed: &Seed) -> Key {
    let extracted = Derivation::bound_to(round.as_bytes()).extract(seed.as_bytes());
    expand_key(&extracted, label::SELF_MASK, &[owner.as_bytes()])
}

#[cfg(test)]
impl KeyPair {
    /// One of [`pairwise_masks`](Self::pairwise_masks).
    pub(crate) fn pairwise_mask(
        &self,
        round: &RoundId,
        own: ClientId,
        id: ClientId,
        key: &PublicKey,
    ) -> Key {
        self.pairwise_masks(round, own, &[End { id, key }])
            .remove(0)
    }

    /// One of [`keys_of_boxes`](Self::keys_of_boxes).
    pub(crate) fn box_keys(
        &self,
        round: &RoundId,
        own: ClientId,
        id: ClientId,
        key: &PublicKey,
    ) -> (BoxKey, BoxKey) {
        self.keys_of_boxes(round, own, &[End { id, key }]).remove(0)
    }
}
