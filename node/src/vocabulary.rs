//! A fixed vocabulary of words, and messages as numbers.

mod tokens;
mod words;

use std::collections::HashMap;

use thiserror::Error;

pub use tokens::TokenizedText;
pub use words::for_each_word;

/// The number of a word in the vocabulary: its line in `vocabulary.txt`, counted from 0.
pub type Token = u32;

/// Fills up what is shorter than its neighbours; never read, never predicted.
pub const PAD: Token = 0;
/// Stands for every word outside the vocabulary.
pub const UNKNOWN: Token = 1;
/// Stands before the first word of a message.
pub const BEGIN: Token = 2;
/// Stands after the last word of a message; the model predicts it too.
pub const END: Token = 3;

/// The first token that can be an answer: nobody is served by `<pad>`, `<unk>` or `<begin>` as a
/// suggestion, so that they are passed over wherever words are ranked.
pub const FIRST_ANSWER: Token = END;

/// How many special words stand before the others.
pub const SPECIAL_WORDS: usize = 4;

/// The first lines of every vocabulary.
const SPECIAL: [&str; SPECIAL_WORDS] = ["<pad>", "<unk>", "<begin>", "<end>"];

/// The most words that a vocabulary may have: a bound on what a coordinator can make a node hold.
pub const MAX_LEN: usize = 1 << 18;
/// The longest word, in bytes.
pub const MAX_WORD_BYTES: usize = 64;

/// Words and their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    words: Vec<String>,
    tokens: HashMap<String, Token>,
}

/// Why a vocabulary was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VocabularyError {
    /// One of the first four lines is not what it must be.
    #[error("vocabulary, line {line}: \"{found}\" where \"{expected}\" must stand")]
    Special {
        /// The line, counted from 1.
        line: usize,
        /// What stands there.
        found: String,
        /// What must stand there.
        expected: &'static str,
    },
    /// There is no word beyond the four special ones.
    #[error("a vocabulary of {found} words is too small: 4 special ones and at least one word")]
    TooSmall {
        /// How many there are.
        found: usize,
    },
    /// There are more words than a vocabulary may have.
    #[error("a vocabulary of {found} words is too large: at most {MAX_LEN} are allowed")]
    TooLarge {
        /// How many there are.
        found: usize,
    },
    /// A word stands twice.
    #[error("vocabulary, line {line}: \"{word}\" already stands in line {first}")]
    Duplicate {
        /// The second line, counted from 1.
        line: usize,
        /// The first line, counted from 1.
        first: usize,
        /// The word.
        word: String,
    },
    /// A line is no word that a message could have.
    #[error("vocabulary, line {line}: {problem}")]
    NotAWord {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Vocabulary {
    /// The most frequent words of public text, at most `size` of them, the four special ones
    /// included. Words that are equally frequent stand in alphabetical order, so that the same text
    /// always gives the same vocabulary.
    ///
    /// # Errors
    /// [`VocabularyError::TooSmall`] or [`VocabularyError::TooLarge`] by what `size` asks for, or
    /// when the text has no words.
    pub fn from_text<'a>(
        messages: impl IntoIterator<Item = &'a str>,
        size: usize,
    ) -> Result<Self, VocabularyError> {
        if size <= SPECIAL.len() {
            return Err(VocabularyError::TooSmall { found: size });
        }
        if size > MAX_LEN {
            return Err(VocabularyError::TooLarge { found: size });
        }
        let mut counts: HashMap<String, u64> = HashMap::new();
        for message in messages {
            for_each_word(message, |word| {
                if let Some(count) = counts.get_mut(word) {
                    *count += 1;
                } else if word.len() <= MAX_WORD_BYTES {
                    counts.insert(word.to_owned(), 1);
                }
            });
        }
        let mut ranked: Vec<(String, u64)> = counts.into_iter().collect();
        ranked.sort_unstable_by(|(left, left_count), (right, right_count)| {
            right_count.cmp(left_count).then_with(|| left.cmp(right))
        });
        ranked.truncate(size - SPECIAL.len());
        let frequent = ranked.into_iter().map(|(word, _)| word);
        Self::from_words(
            SPECIAL
                .iter()
                .map(ToString::to_string)
                .chain(frequent)
                .collect(),
        )
    }

    /// Reads `vocabulary.txt`: one word a line, the line's number is the word's.
    ///
    /// # Errors
    /// A [`VocabularyError`] that names the line and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, VocabularyError> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let found = text.split('\n').count();
        if found > MAX_LEN {
            return Err(VocabularyError::TooLarge { found });
        }
        Self::from_words(text.split('\n').map(str::to_owned).collect())
    }

    /// What [`Vocabulary::parse`] reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = self.words.join("\n");
        text.push('\n');
        text
    }

    /// How many words there are, the four special ones included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a vocabulary is never empty")]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// The word of a number, if there is one.
    #[must_use]
    pub fn word(&self, token: Token) -> Option<&str> {
        self.words.get(token as usize).map(String::as_str)
    }

    /// The number of a word in lower case: [`UNKNOWN`] if it is not in the vocabulary.
    #[must_use]
    pub fn token(&self, word: &str) -> Token {
        self.tokens.get(word).copied().unwrap_or(UNKNOWN)
    }

    /// The numbers of a message's words, without begin and end.
    #[must_use]
    pub fn tokens(&self, message: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        for_each_word(message, |word| tokens.push(self.token(word)));
        tokens
    }

    fn from_words(words: Vec<String>) -> Result<Self, VocabularyError> {
        if words.len() <= SPECIAL.len() {
            return Err(VocabularyError::TooSmall { found: words.len() });
        }
        for (index, (found, expected)) in words.iter().zip(SPECIAL).enumerate() {
            if found != expected {
                return Err(VocabularyError::Special {
                    line: index + 1,
                    found: found.escape_debug().to_string(),
                    expected,
                });
            }
        }
        let mut tokens = HashMap::with_capacity(words.len());
        for (token, word) in (0..).zip(&words) {
            let line = token as usize + 1;
            if token as usize >= SPECIAL.len() {
                check_word(word).map_err(|problem| VocabularyError::NotAWord { line, problem })?;
            }
            if let Some(first) = tokens.insert(word.clone(), token) {
                let first = first as usize + 1;
                return Err(VocabularyError::Duplicate {
                    line,
                    first,
                    word: word.clone(),
                });
            }
        }
        Ok(Self { words, tokens })
    }
}

/// A coordinator chooses these lines and a terminal shows them: no escape codes, no line that no
/// message can match.
fn check_word(word: &str) -> Result<(), &'static str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "<pad>\n<unk>\n<begin>\n<end>\nhi\n!\n";

    #[test]
    fn frequent_words_come_first_and_ties_are_alphabetical() {
        let text = ["b a b", "c! a C", "d"];
        let vocabulary = Vocabulary::from_text(text, 8).unwrap();
        let words: Vec<_> = (4..8)
            .map(|token| vocabulary.word(token).unwrap())
            .collect();
        assert_eq!(words, ["a", "b", "c", "!"]);
        assert_eq!(vocabulary.len(), 8);
        assert_eq!(vocabulary.tokens("A d ?"), [4, UNKNOWN, UNKNOWN]);
        assert_eq!(vocabulary.word(8), None);
    }

    #[test]
    fn text_and_vocabulary_are_the_same_thing() {
        let vocabulary = Vocabulary::parse(SMALL).unwrap();
        assert_eq!(vocabulary.to_text(), SMALL);
        assert_eq!(vocabulary.token("hi"), 4);
        assert_eq!(Vocabulary::parse(SMALL.trim_end()).unwrap(), vocabulary);
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(
            Vocabulary::from_text(["a"], 4),
            Err(VocabularyError::TooSmall { found: 4 })
        );
        assert_eq!(
            Vocabulary::from_text([" "], 9),
            Err(VocabularyError::TooSmall { found: 4 })
        );
        assert_eq!(
            Vocabulary::from_text(["a"], MAX_LEN + 1),
            Err(VocabularyError::TooLarge { found: MAX_LEN + 1 })
        );
        assert_eq!(
            Vocabulary::parse(""),
            Err(VocabularyError::TooSmall { found: 1 })
        );
        assert_eq!(
            Vocabulary::parse(&"\n".repeat(MAX_LEN + 1)),
            Err(VocabularyError::TooLarge { found: MAX_LEN + 1 })
        );
    }

    #[test]
    fn wrong_lines_are_named() {
        assert_eq!(
            Vocabulary::parse("<pad>\n<unk>\n<end>\n<begin>\nhi"),
            Err(VocabularyError::Special {
                line: 3,
                found: "<end>".to_owned(),
                expected: "<begin>"
            })
        );
        assert_eq!(
            Vocabulary::parse(&format!("{SMALL}you\nhi\n")),
            Err(VocabularyError::Duplicate {
                line: 8,
                first: 5,
                word: "hi".to_owned()
            })
        );
        for (line, problem) in [
            ("", "the line is empty"),
            ("a\u{1b}[31m", "a control character in it"),
            ("two words", "not a single word in lower case"),
            ("Upper", "not a single word in lower case"),
            ("<end>", "not a single word in lower case"),
        ] {
            assert_eq!(
                Vocabulary::parse(&format!("{SMALL}{line}\nyou\n")),
                Err(VocabularyError::NotAWord { line: 7, problem }),
                "{line:?}"
            );
        }
        let long = "x".repeat(MAX_WORD_BYTES + 1);
        assert_eq!(
            Vocabulary::parse(&format!("{SMALL}{long}\n")),
            Err(VocabularyError::NotAWord {
                line: 7,
                problem: "the word is longer than 64 bytes"
            })
        );
    }
}
