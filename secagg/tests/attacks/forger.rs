//! What an attacker computes by itself: hashes and signatures from the text of the specification,
//! without the checks of the crate's clients.

use ed25519_dalek::{Signer as _, SigningKey};
use secagg::{ClientId, Credential, IdentityKey, Session};
use sha2::{Digest as _, Sha256};

use crate::world::{HEADER, ROSTER, advert_len};

/// The labelled hash of a list of parts.
pub(crate) fn hash(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let label = format!("secagg/v1/{label}");
    let mut hasher = Sha256::new();
    for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The i-th client's key, which a corrupt client uses as it likes.
pub(crate) fn key(client: usize) -> SigningKey {
    SigningKey::from_bytes(&[u8::try_from(client).unwrap(); 32])
}

/// The round id that follows from a roster of the complete graph.
pub(crate) fn round_id(session: &Session, roster: &[u8]) -> [u8; 32] {
    let (degree, threshold) = (&roster[HEADER..HEADER + 4], &roster[HEADER + 4..HEADER + 8]);
    let cohort = &roster[HEADER + 8..ROSTER];
    let adverts = roster[ROSTER..].chunks(advert_len(session));
    let list: Vec<u8> = adverts
        .flat_map(|advert| [advert[..16].to_vec(), hash("advert", &[advert]).to_vec()].concat())
        .collect();
    let roster = hash("roster", &[&list]);
    let parts = [
        session.id().as_bytes(),
        &roster[..],
        cohort,
        degree,
        threshold,
    ];
    hash("round-id", &parts)
}

/// A signature on a survivor set, which its signer need not be in.
pub(crate) fn sign_survivors(client: usize, round: &[u8; 32], survivors: &[u8]) -> Vec<u8> {
    let set = &survivors[HEADER + 4..];
    let hash = hash("survivors-signature", &[round, set]);
    key(client).sign(&hash).to_bytes().to_vec()
}

/// An advert, as its message, with another proof: this credential and this signature.
pub(crate) fn with_proof(advert: &[u8], credential: &Credential, signature: &[u8]) -> Vec<u8> {
    let unsigned = &advert[..HEADER + 112];
    [unsigned, &credential.encode(), signature].concat()
}

/// An advert, as its message, under the id of another identity key.
pub(crate) fn with_id(advert: &[u8], key: IdentityKey) -> Vec<u8> {
    let mut advert = advert.to_vec();
    let id: ClientId = key.client_id();
    advert[HEADER..HEADER + ClientId::LEN].copy_from_slice(id.as_bytes());
    advert
}
