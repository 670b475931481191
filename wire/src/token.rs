//! One-time enrolment tokens: a secret, and the fingerprint of the coordinator that gave it.
//!
//! As text: base32 without padding of `version ‖ secret ‖ coordinator ‖ checksum`, 85 characters.

use std::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    digest::{Digest, Hasher},
    identity::Fingerprint,
};

/// What lets one node enrol once. Whoever has it can join the federation: hand it over in private.
pub struct Token {
    secret: TokenSecret,
    coordinator: Fingerprint,
}

impl Token {
    /// A new token of the coordinator with that certificate.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn generate(coordinator: Fingerprint) -> Result<Self, getrandom::Error> {
        let mut secret = TokenSecret([0; 16]);
        getrandom::fill(&mut secret.0)?;
        Ok(Self {
            secret,
            coordinator,
        })
    }

    /// The fingerprint that the node must find at the other end.
    #[must_use]
    pub fn coordinator(&self) -> Fingerprint {
        self.coordinator
    }

    /// The secret that the node presents.
    #[must_use]
    pub fn secret(&self) -> &TokenSecret {
        &self.secret
    }

    /// What the coordinator stores instead of the token.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.secret.hash()
    }

    /// The token as it is handed over.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(TOKEN_LEN));
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.secret.0);
        bytes.extend_from_slice(self.coordinator.as_bytes());
        let check = checksum(&bytes);
        bytes.extend_from_slice(&check);
        Zeroizing::new(BASE32_NOPAD.encode(&bytes))
    }
}

impl fmt::Display for Token {
    /// Shows the token, secret included: print it only to whoever asked for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reveal())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("coordinator", &self.coordinator)
            .finish_non_exhaustive()
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Takes upper and lower case, and ignores white space around and within.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut letters = Zeroizing::new(Vec::with_capacity(TEXT_LEN));
        for (position, character) in text.chars().enumerate() {
            if character.is_whitespace() {
                continue;
            }
            let upper = character.to_ascii_uppercase();
            if !matches!(upper, 'A'..='Z' | '2'..='7') {
                return Err(TokenError::Character {
                    position: position + 1,
                    character,
                });
            }
            if letters.len() < TEXT_LEN {
                letters.push(u8::try_from(upper).unwrap_or(b'A'));
            } else {
                let found = text
                    .chars()
                    .filter(|character| !character.is_whitespace())
                    .count();
                return Err(TokenError::Length { found });
            }
        }
        if letters.len() != TEXT_LEN {
            return Err(TokenError::Length {
                found: letters.len(),
            });
        }
        let mut bytes = Zeroizing::new([0; TOKEN_LEN]);
        BASE32_NOPAD
            .decode_mut(&letters, bytes.as_mut_slice())
            .map_err(|_| TokenError::Checksum)?;
        let (content, check) = bytes.split_at(TOKEN_LEN - CHECK_LEN);
        if checksum(content) != check {
            return Err(TokenError::Checksum);
        }
        let [version, rest @ ..] = content else {
            return Err(TokenError::Checksum);
        };
        if *version != VERSION {
            return Err(TokenError::Version { found: *version });
        }
        let (Some((secret, rest)), mut coordinator) = (rest.split_first_chunk::<16>(), [0; 32])
        else {
            return Err(TokenError::Checksum);
        };
        for (to, from) in coordinator.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(Self {
            secret: TokenSecret(*secret),
            coordinator: Fingerprint::from_bytes(coordinator),
        })
    }
}

/// The secret in a token.
pub struct TokenSecret([u8; 16]);

impl TokenSecret {
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// What the coordinator stores, and looks a presented secret up by.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(HASH_LABEL);
        hasher.update(&self.0);
        hasher.finish()
    }
}

impl Drop for TokenSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

/// Why a text is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Letters are missing or too many.
    #[error("a token has 85 characters, this one has {found}: copy all of it")]
    Length {
        /// Characters found, white space not counted.
        found: usize,
    },
    /// A character that no token has.
    #[error(
        "character {position} of the token is {character:?}: a token has only letters and the \
         digits 2 to 7"
    )]
    Character {
        /// Its place, from 1.
        position: usize,
        /// The character.
        character: char,
    },
    /// Something was mistyped.
    #[error("the token has a typing error somewhere: copy it again")]
    Checksum,
    /// Made by another version.
    #[error("the token is of version {found}, this program knows version 1: use the same version")]
    Version {
        /// The version found.
        found: u8,
    },
}

const VERSION: u8 = 1;
const CHECK_LEN: usize = 4;
const TOKEN_LEN: usize = 1 + 16 + 32 + CHECK_LEN;
const TEXT_LEN: usize = (TOKEN_LEN * 8).div_ceil(5);
const HASH_LABEL: &[u8] = b"secagg/v1/wire/token-hash";
const CHECK_LABEL: &[u8] = b"secagg/v1/wire/token-checksum";

fn checksum(content: &[u8]) -> [u8; CHECK_LEN] {
    let mut hasher = Hasher::new();
    hasher.update(CHECK_LABEL);
    hasher.update(content);
    let [a, b, c, d, ..] = *hasher.finish().as_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> Token {
        Token {
            secret: TokenSecret([7; 16]),
            coordinator: Fingerprint::of_certificate(b"certificate"),
        }
    }

    #[test]
    fn a_token_is_read_back_in_either_case_and_broken_over_lines() {
        let text = token().to_string();
        assert_eq!(text.len(), TEXT_LEN);
        let (left, right) = text.split_at(40);
        for written in [
            text.clone(),
            text.to_lowercase(),
            format!(" {left}\n  {right}\n"),
        ] {
            let read: Token = written.parse().unwrap();
            assert_eq!(read.secret.0, [7; 16]);
            assert_eq!(read.coordinator, token().coordinator);
            assert_eq!(read.hash(), token().hash());
        }
    }

    #[test]
    fn mistakes_are_named() {
        let text = token().to_string();
        assert_eq!(
            "".parse::<Token>().unwrap_err(),
            TokenError::Length { found: 0 }
        );
        assert_eq!(
            text[1..].parse::<Token>().unwrap_err(),
            TokenError::Length { found: 84 }
        );
        assert_eq!(
            format!("{text} A").parse::<Token>().unwrap_err(),
            TokenError::Length { found: 86 }
        );
        let mut digits = text.clone();
        digits.replace_range(4..5, "0");
        assert_eq!(
            digits.parse::<Token>().unwrap_err(),
            TokenError::Character {
                position: 5,
                character: '0'
            }
        );
        let mut newer = vec![2];
        newer.extend_from_slice(&[0; 48]);
        newer.extend_from_slice(&checksum(&newer));
        assert_eq!(
            BASE32_NOPAD.encode(&newer).parse::<Token>().unwrap_err(),
            TokenError::Version { found: 2 }
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?} {:?}", token(), token().secret());
        assert!(!shown.contains('7') || !shown.contains("7, 7"));
        assert!(shown.contains("TokenSecret(…)"));
    }

    proptest! {
        #[test]
        fn every_single_typing_error_is_noticed(place in 0..TEXT_LEN, letter in "[A-Z2-7]") {
            let text = token().to_string();
            let mut typed = text.clone();
            typed.replace_range(place..=place, &letter);
            prop_assume!(typed != text);
            prop_assert_eq!(typed.parse::<Token>().unwrap_err(), TokenError::Checksum);
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = text.parse::<Token>();
        }
    }
}
