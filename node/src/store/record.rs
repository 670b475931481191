//! What is inside a sealed record: `digest[32] ‖ place: u64 ‖ (held_out: u8 ‖ length: u32 ‖ text)*`,
//! little-endian.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{HELD_OUT_EVERY, Split};

/// The messages of one added file.
pub(super) struct Record {
    /// Names the file's messages and their split, so that the same file is not added twice.
    pub(super) digest: [u8; 32],
    /// How many messages have been split by tenths up to here, over all records.
    pub(super) place: u64,
    /// Whether it is held out, and the message.
    pub(super) messages: Vec<(bool, Zeroizing<String>)>,
}

impl Record {
    pub(super) fn new(
        messages: &[Zeroizing<String>],
        split: Split,
        digest: [u8; 32],
        mut place: u64,
    ) -> Self {
        let messages = messages
            .iter()
            .map(|message| {
                let held_out = match split {
                    Split::EveryTenth => {
                        place += 1;
                        place.is_multiple_of(HELD_OUT_EVERY)
                    }
                    Split::TrainingOnly => false,
                    Split::HeldOutOnly => true,
                };
                (held_out, message.clone())
            })
            .collect();
        Self {
            digest,
            place,
            messages,
        }
    }

    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let length: usize = self
            .messages
            .iter()
            .map(|(_, message)| 5 + message.len())
            .sum();
        let mut bytes = Zeroizing::new(Vec::with_capacity(40 + length));
        bytes.extend(self.digest);
        bytes.extend(self.place.to_le_bytes());
        for (held_out, message) in &self.messages {
            bytes.push(u8::from(*held_out));
            let length = u32::try_from(message.len()).expect("a message is far below 4 GiB");
            bytes.extend(length.to_le_bytes());
            bytes.extend(message.as_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (digest, rest) = bytes.split_first_chunk::<32>()?;
        let (place, mut rest) = rest.split_first_chunk::<8>()?;
        let mut messages = Vec::new();
        while let Some((&held_out, after)) = rest.split_first() {
            let (length, after) = after.split_first_chunk::<4>()?;
            let length = u32::from_le_bytes(*length) as usize;
            let (message, after) = after.split_at_checked(length)?;
            let message = std::str::from_utf8(message).ok()?;
            messages.push((held_out == 1, Zeroizing::new(message.to_owned())));
            rest = after;
        }
        Some(Self {
            digest: *digest,
            place: u64::from_le_bytes(*place),
            messages,
        })
    }
}

/// A digest of the messages and the way they are split.
pub(super) fn digest(messages: &[Zeroizing<String>], split: Split) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([match split {
        Split::EveryTenth => 0,
        Split::TrainingOnly => 1,
        Split::HeldOutOnly => 2_u8,
    }]);
    for message in messages {
        hash.update((message.len() as u64).to_le_bytes());
        hash.update(message.as_bytes());
    }
    hash.finalize().into()
}
