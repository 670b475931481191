//! A message's words: the matches of `[a-z0-9']+|[^\sa-z0-9']` on its lower case.

use super::MAX_WORD_BYTES;

/// Calls `each` with every word of a message, in order.
///
/// A word is a run of ASCII letters, digits and apostrophes, or any other single character that is
/// neither white space nor a control character. Lower case is Unicode's.
pub(super) fn for_each_word(message: &str, mut each: impl FnMut(&str)) {
    let lower = zeroize::Zeroizing::new(message.to_lowercase());
    let text = lower.as_str();
    let mut run_start = None;
    for (index, character) in text.char_indices() {
        if goes_on(character) {
            run_start.get_or_insert(index);
            continue;
        }
        if let Some(start) = run_start.take() {
            each(&text[start..index]);
        }
        if !character.is_whitespace() && !character.is_control() {
            each(&text[index..index + character.len_utf8()]);
        }
    }
    if let Some(start) = run_start {
        each(&text[start..]);
    }
}

/// Whether a character goes on with a word.
pub(super) fn goes_on(character: char) -> bool {
    matches!(character, 'a'..='z' | '0'..='9' | '\'')
}

/// Says what is wrong with a line of a vocabulary of words.
pub(super) fn check(word: &str) -> Result<(), &'static str> {
    if word.is_empty() {
        return Err("the line is empty");
    }
    if word.len() > MAX_WORD_BYTES {
        return Err("the word is longer than 64 bytes");
    }
    if word.chars().any(char::is_control) {
        return Err("a control character in it");
    }
    let mut found = 0;
    let mut same = false;
    for_each_word(word, |piece| {
        found += 1;
        same = piece == word;
    });
    if found == 1 && same {
        Ok(())
    } else {
        Err("not a single word in lower case")
    }
}

/// Joins words as one writes them: no space before a closing sign.
pub(super) fn join<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for word in words {
        if !text.is_empty() && !matches!(word, "." | "," | "!" | "?" | ":" | ";" | ")") {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(message: &str) -> Vec<String> {
        let mut words = Vec::new();
        for_each_word(message, |word| words.push(word.to_owned()));
        words
    }

    #[test]
    fn words_numbers_and_signs() {
        assert_eq!(
            words("  Don't  WAIT4me, ok?? :)"),
            ["don't", "wait4me", ",", "ok", "?", "?", ":", ")"]
        );
        assert_eq!(words(""), [""; 0]);
        assert_eq!(words(" \t\r\n"), [""; 0]);
    }

    #[test]
    fn other_scripts_are_single_characters() {
        assert_eq!(words("Café 你好"), ["caf", "é", "你", "好"]);
        assert_eq!(words("a\u{0}b\u{200b}"), ["a", "b", "\u{200b}"]);
        // The lower case of this letter is two characters long.
        assert_eq!(words("İx"), ["i", "\u{307}", "x"]);
    }

    proptest::proptest! {
        #[test]
        fn nothing_but_space_and_control_is_lost(message in "\\PC{0,40}") {
            let joined: String = words(&message).concat();
            let kept: String = message
                .to_lowercase()
                .chars()
                .filter(|c| !c.is_whitespace() && !c.is_control())
                .collect();
            proptest::prop_assert_eq!(joined, kept);
        }
    }
}
