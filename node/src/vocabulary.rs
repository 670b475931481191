//! A fixed vocabulary, how text becomes its tokens, and how they become text again.

mod characters;
mod tokens;
mod units;
mod words;

use std::collections::HashMap;

use thiserror::Error;
use zeroize::Zeroizing;

pub use tokens::TokenizedText;
pub use units::TextUnits;

/// The number of a word (or character) in the vocabulary: its line in `vocabulary.txt`, counted from 0.
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

/// Words, or characters, and their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    units: TextUnits,
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
    /// The most frequent words of public text; see [`Vocabulary::of`].
    ///
    /// # Errors
    /// See [`Vocabulary::of`].
    pub fn from_text<'a>(
        messages: impl IntoIterator<Item = &'a str>,
        size: usize,
    ) -> Result<Self, VocabularyError> {
        Self::of(TextUnits::Words, messages, size)
    }

    /// The most frequent words or characters of public text, at most `size` of them, the four special
    /// ones included. Those that are equally frequent stand in alphabetical order, so that the same text
    /// always gives the same vocabulary.
    ///
    /// # Errors
    /// [`VocabularyError::TooSmall`] or [`VocabularyError::TooLarge`] by what `size` asks for, or
    /// when the text has no words.
    pub fn of<'a>(
        units: TextUnits,
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
            units.for_each(message, |word| {
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
            units,
            SPECIAL
                .iter()
                .map(ToString::to_string)
                .chain(frequent)
                .collect(),
        )
    }

    /// The names of labels, each a single word, in this order.
    ///
    /// # Errors
    /// A [`VocabularyError`] that names the line of `vocabulary.txt`, which is four more than the
    /// label's place.
    pub fn of_labels(labels: Vec<String>) -> Result<Self, VocabularyError> {
        let special = SPECIAL.iter().map(ToString::to_string);
        let words: Vec<String> = special.chain(labels).collect();
        match words.len() {
            found if found > MAX_LEN => Err(VocabularyError::TooLarge { found }),
            _ => Self::from_words(TextUnits::Words, words),
        }
    }

    /// Reads a `vocabulary.txt` of words; see [`Vocabulary::read`].
    ///
    /// # Errors
    /// See [`Vocabulary::read`].
    pub fn parse(text: &str) -> Result<Self, VocabularyError> {
        Self::read(TextUnits::Words, text)
    }

    /// Reads `vocabulary.txt`: one word or character a line, the line's number is the token's.
    ///
    /// # Errors
    /// A [`VocabularyError`] that names the line and what is wrong with it.
    pub fn read(units: TextUnits, text: &str) -> Result<Self, VocabularyError> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let found = text.split('\n').count();
        if found > MAX_LEN {
            return Err(VocabularyError::TooLarge { found });
        }
        Self::from_words(units, text.split('\n').map(str::to_owned).collect())
    }

    /// What [`Vocabulary::read`] reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = self.words.join("\n");
        text.push('\n');
        text
    }

    /// What a token stands for.
    #[must_use]
    pub fn units(&self) -> TextUnits {
        self.units
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

    /// The number of a word as the vocabulary spells it: [`UNKNOWN`] if it is not in there.
    #[must_use]
    pub fn token(&self, word: &str) -> Token {
        self.tokens.get(word).copied().unwrap_or(UNKNOWN)
    }

    /// The numbers of a message's words, without begin and end.
    #[must_use]
    pub fn tokens(&self, message: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        self.for_each_token(message, |token| tokens.push(token));
        tokens
    }

    /// Calls `each` with the number of every word of a message.
    pub(crate) fn for_each_token(&self, message: &str, mut each: impl FnMut(Token)) {
        self.units.for_each(message, |word| each(self.token(word)));
    }

    /// What one writes for these tokens.
    #[must_use]
    pub fn join(&self, tokens: &[Token]) -> String {
        self.units
            .join(tokens.iter().filter_map(|&token| self.word(token)))
    }

    /// A text that is being typed: the tokens that will not change any more, and the word that was begun
    /// and may go on. Characters and signs are complete as soon as they are typed.
    #[must_use]
    pub fn typed(&self, text: &str) -> (Vec<Token>, Zeroizing<String>) {
        match self.units {
            TextUnits::Characters => (self.tokens(text), Zeroizing::default()),
            TextUnits::Words | TextUnits::WordsAndDigits => {
                let goes_on = match self.units {
                    TextUnits::WordsAndDigits => words::goes_on_without_digits,
                    _ => words::goes_on,
                };
                let lower = Zeroizing::new(text.to_lowercase());
                let finished = lower.trim_end_matches(goes_on);
                let begun = Zeroizing::new(lower[finished.len()..].to_owned());
                (self.tokens(finished), begun)
            }
        }
    }

    fn from_words(units: TextUnits, words: Vec<String>) -> Result<Self, VocabularyError> {
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
                units
                    .check(word)
                    .map_err(|problem| VocabularyError::NotAWord { line, problem })?;
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
        Ok(Self {
            units,
            words,
            tokens,
        })
    }
}

#[cfg(test)]
mod tests;
