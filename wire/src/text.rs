//! Short strings and opaque bytes as they travel in messages.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A string of at most `MAX` bytes without control characters: safe to store and to print.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const MAX: usize>(String);

/// A name, of a node or a federation.
pub type Name = Text<64>;

/// A sentence for people: why something was refused or ended.
pub type Reason = Text<256>;

impl<const MAX: usize> Text<MAX> {
    /// A text exactly as given.
    ///
    /// # Errors
    /// When it is longer than `MAX` bytes or holds a control character.
    pub fn new(text: impl Into<String>) -> Result<Self, TextError> {
        let text = text.into();
        if text.len() > MAX {
            return Err(TextError::TooLong {
                len: text.len(),
                max: MAX,
            });
        }
        match text
            .char_indices()
            .find(|(_, character)| unprintable(*character))
        {
            Some((position, character)) => Err(TextError::Control {
                position,
                character,
            }),
            None => Ok(Self(text)),
        }
    }

    /// The text, with control characters replaced and the end cut off where it does not fit.
    #[must_use]
    pub fn fitted(text: &str) -> Self {
        let mut fitted = String::new();
        for character in text.chars() {
            let character = if unprintable(character) {
                ' '
            } else {
                character
            };
            if fitted.len() + character.len_utf8() > MAX {
                break;
            }
            fitted.push(character);
        }
        Self(fitted)
    }

    /// The string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<const MAX: usize> AsRef<str> for Text<MAX> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(text: Text<MAX>) -> Self {
        text.0
    }
}

impl<const MAX: usize> Serialize for Text<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<const MAX: usize>;
        impl<const MAX: usize> de::Visitor<'_> for Visitor<MAX> {
            type Value = Text<MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} bytes of text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                // The cap comes before the copy: a peer's length never decides an allocation.
                if text.len() > MAX {
                    return Err(E::custom(TextError::TooLong {
                        len: text.len(),
                        max: MAX,
                    }));
                }
                Text::new(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// Why a string cannot travel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// It is too long.
    #[error("the text has {len} bytes, at most {max} are allowed: shorten it")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The cap in bytes.
        max: usize,
    },
    /// It holds a character that could garble a terminal or a log.
    #[error("the text holds the control character {character:?} at byte {position}: remove it")]
    Control {
        /// Byte position.
        position: usize,
        /// The character.
        character: char,
    },
}

/// Bytes whose meaning another layer knows. `Debug` shows only their number.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Opaque(pub Vec<u8>);

impl Opaque {
    /// The bytes.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl From<Vec<u8>> for Opaque {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl std::ops::Deref for Opaque {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opaque({} bytes)", self.0.len())
    }
}

impl Serialize for Opaque {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Opaque;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            // Only bytes that lie in the frame are copied, so the frame's cap bounds this too.
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Opaque(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// Control characters, and those that reorder or hide text.
fn unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_fits_or_says_why_not() {
        assert_eq!(
            Text::<4>::new("abcd").map(String::from),
            Ok("abcd".to_owned())
        );
        assert_eq!(
            Text::<4>::new("abcde"),
            Err(TextError::TooLong { len: 5, max: 4 })
        );
        assert_eq!(
            Text::<9>::new("a\x1b[2J"),
            Err(TextError::Control {
                position: 1,
                character: '\x1b'
            })
        );
        assert_eq!(
            Text::<9>::new("a\u{202e}b"),
            Err(TextError::Control {
                position: 1,
                character: '\u{202e}'
            })
        );
    }

    #[test]
    fn a_fitted_text_is_cut_between_characters() {
        assert_eq!(Text::<4>::fitted("aé\nüb").as_str(), "aé ");
        assert_eq!(Text::<6>::fitted("aé\nüb").as_str(), "aé ü");
    }
}
