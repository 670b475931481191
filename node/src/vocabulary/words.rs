//! A message's words: the matches of `[a-z0-9']+|[^\sa-z0-9']` on its lower case; where digits stand
//! alone, those of `[a-z']+|[^\sa-z']`.

use super::MAX_WORD_BYTES;

/// Calls `each` with every word of a message, in order.
///
/// A word is a run of ASCII letters, digits and apostrophes, or any other single character that is
/// neither white space nor a control character. Lower case is Unicode's.
pub(super) fn for_each_word(message: &str, each: impl FnMut(&str)) {
    cut(message, goes_on, each);
}

/// The same where each digit is a word of its own.
pub(super) fn for_each_word_or_digit(message: &str, each: impl FnMut(&str)) {
    cut(message, goes_on_without_digits, each);
}

fn cut(message: &str, goes_on: fn(char) -> bool, mut each: impl FnMut(&str)) {
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

/// The same where each digit is a word of its own.
pub(super) fn goes_on_without_digits(character: char) -> bool {
    goes_on(character) && !character.is_ascii_digit()
}

/// Says what is wrong with a line of a vocabulary of words.
pub(super) fn check(word: &str) -> Result<(), &'static str> {
    check_by(word, goes_on)
}

/// The same where each digit is a word of its own.
pub(super) fn check_word_or_digit(word: &str) -> Result<(), &'static str> {
    check_by(word, goes_on_without_digits)
}

fn check_by(word: &str, goes_on: fn(char) -> bool) -> Result<(), &'static str> {
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
    cut(word, goes_on, |piece| {
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
        if !text.is_empty() && !closes(word) {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}

/// Whether a sign stands without a space after a word.
fn closes(word: &str) -> bool {
    matches!(word, "." | "," | "!" | "?" | ":" | ";" | ")")
}

/// The same where each digit is a word of its own: no space between digits, nor around a hyphen.
pub(super) fn join_with_digits<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let is_digit = |word: &str| word.len() == 1 && word.starts_with(|c: char| c.is_ascii_digit());
    let mut text = String::new();
    let mut last = "";
    for word in words {
        let bound = last.is_empty()
            || closes(word)
            || word == "-"
            || last == "-"
            || is_digit(last) && is_digit(word);
        if !bound {
            text.push(' ');
        }
        text.push_str(word);
        last = word;
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
    fn digits_alone_are_words() {
        let cut = |message: &str| {
            let mut words = Vec::new();
            for_each_word_or_digit(message, |word| words.push(word.to_owned()));
            words
        };
        assert_eq!(cut("342\tForty-two"), ["3", "4", "2", "forty", "-", "two"]);
        assert_eq!(cut("wait4me 10"), ["wait", "4", "me", "1", "0"]);
        for message in ["10, forty-two!", "7 don't", "-5"] {
            let spelt = cut(message);
            let spelt = spelt.iter().map(String::as_str);
            assert_eq!(join_with_digits(spelt), message);
        }
        assert_eq!(check_word_or_digit("4"), Ok(()));
        assert_eq!(check_word_or_digit("forty"), Ok(()));
        assert!(check_word_or_digit("42").is_err() && check_word_or_digit("me4").is_err());
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
