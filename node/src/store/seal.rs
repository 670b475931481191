//! The key, and how a record is sealed with it.
//!
//! A record's file is `SGTEXT`, a version byte, a kind byte, a random 96-bit nonce, and the
//! ChaCha20-Poly1305 ciphertext. The first eight bytes and the record's number are the associated
//! data: a record cannot pass for another one.

use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use getrandom::SysRng;
use getrandom::rand_core::TryRng;
use secagg_wire::process::{Access, read_private, write_atomic};
use zeroize::Zeroizing;

use super::{StoreError, io};

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 12;
pub(super) const VERSION: u8 = 1;
const KIND_MESSAGES: u8 = 1;
const HEADER: [u8; 8] = [b'S', b'G', b'T', b'E', b'X', b'T', VERSION, KIND_MESSAGES];

/// The key of one node's text; wiped when dropped.
pub(super) struct Key(Zeroizing<[u8; KEY_LEN]>);

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key(hidden)")
    }
}

impl Key {
    /// Writes a new random key that only its owner can read.
    pub(super) fn create(path: &Path) -> Result<(), StoreError> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        SysRng
            .try_fill_bytes(key.as_mut())
            .map_err(StoreError::Randomness)?;
        write_atomic(path, key.as_ref(), Access::Owner).map_err(io(path))
    }

    /// Reads a key, after checking that it is its owner's alone.
    pub(super) fn read(path: &Path) -> Result<Self, StoreError> {
        let bytes = read_private(path, KEY_LEN as u64)?;
        let found = bytes.len();
        let key =
            <[u8; KEY_LEN]>::try_from(bytes.as_slice()).map_err(|_| StoreError::KeyLength {
                path: path.to_owned(),
                found,
            })?;
        Ok(Self(Zeroizing::new(key)))
    }

    pub(super) fn seal(&self, number: u64, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        // Random nonces are safe here: one record an added file stays far below 2³² records.
        let mut nonce = [0; NONCE_LEN];
        SysRng
            .try_fill_bytes(&mut nonce)
            .map_err(StoreError::Randomness)?;
        let payload = Payload {
            msg: plain,
            aad: &associated_data(number),
        };
        let ciphertext = self
            .cipher()
            .encrypt(&Nonce::from(nonce), payload)
            .expect("only a text of 256 GiB is too long to seal");
        Ok([&HEADER[..], &nonce, &ciphertext].concat())
    }

    pub(super) fn open(
        &self,
        number: u64,
        sealed: &[u8],
        path: &Path,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let path = || path.to_owned();
        let rest = sealed
            .strip_prefix(&HEADER)
            .ok_or_else(|| StoreError::NotARecord { path: path() })?;
        let (nonce, ciphertext) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or_else(|| StoreError::Tampered { path: path() })?;
        let payload = Payload {
            msg: ciphertext,
            aad: &associated_data(number),
        };
        self.cipher()
            .decrypt(&Nonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| StoreError::Tampered { path: path() })
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(&(*self.0).into())
    }
}

fn associated_data(number: u64) -> [u8; 16] {
    let mut data = [0; 16];
    data[..8].copy_from_slice(&HEADER);
    data[8..].copy_from_slice(&number.to_le_bytes());
    data
}
