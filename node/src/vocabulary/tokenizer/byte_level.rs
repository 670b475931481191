//! How a byte-level tokenizer spells bytes: those that can be seen as themselves, the others as letters
//! from U+0100 on (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", their code).

use std::collections::HashMap;
use std::sync::LazyLock;

/// The character that stands for a byte.
pub(super) fn spelling(byte: u8) -> char {
    if is_seen(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&other| !is_seen(other)).count();
    u32::try_from(before)
        .ok()
        .and_then(|before| char::from_u32(0x100 + before))
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The bytes that a token stands for; a token with another character stands for itself.
pub(super) fn bytes(token: &str) -> Vec<u8> {
    let spelt = token.chars().map(byte);
    spelt
        .collect::<Option<Vec<u8>>>()
        .unwrap_or_else(|| token.as_bytes().to_vec())
}

fn byte(character: char) -> Option<u8> {
    static BYTES: LazyLock<HashMap<char, u8>> =
        LazyLock::new(|| (0..=u8::MAX).map(|byte| (spelling(byte), byte)).collect());
    BYTES.get(&character).copied()
}

fn is_seen(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    #[test]
    fn the_spelling_is_the_library_s() {
        let ours: HashSet<char> = (0..=u8::MAX).map(spelling).collect();
        assert_eq!(ours, ByteLevel::alphabet().into_iter().collect());
        assert_eq!(
            [b' ', b'\n', b'a', 0xAD].map(spelling),
            ['Ġ', 'Ċ', 'a', 'Ń']
        );
        assert_eq!(bytes("Ġhi"), b" hi");
        assert_eq!(bytes("Ã©"), "é".as_bytes());
        assert_eq!(bytes("<é你>"), "<é你>".as_bytes());
    }
}
