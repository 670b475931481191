//! A fixed vocabulary, how text becomes its tokens, and how they become text again.

mod characters;
mod tokenizer;
mod tokens;
mod units;
mod words;

use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;
use zeroize::Zeroizing;

pub use tokenizer::{
    MAX_TOKEN_BYTES, MAX_TOKENIZER_BYTES, TokenizerError, TokenizerModel, TrainError, train,
};
pub use tokens::TokenizedText;
pub use units::{TextUnits, Tokenization};

use tokenizer::Tokenizer;

/// The number of a word (or character, or piece of a word) in the vocabulary: its line in
/// `vocabulary.txt`, counted from 0, or its place behind the special ones in a tokenizer.
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

/// Words, characters, or what a tokenizer makes of text, and their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Lines(Lines),
    /// Shared: there are copies of a vocabulary, and its tables are large.
    Tokenizer(Arc<Tokenizer>),
}

/// A vocabulary of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lines {
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
    /// A tokenizer is wrong.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
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

    /// Reads `vocabulary.txt` (one word or character a line, the line's number is the token's) or
    /// `tokenizer.json`.
    ///
    /// # Errors
    /// A [`VocabularyError`] that names the line, or the part of the tokenizer, and what is wrong with it.
    pub fn read(
        tokenization: impl Into<Tokenization>,
        text: &str,
    ) -> Result<Self, VocabularyError> {
        let units = match tokenization.into() {
            Tokenization::Units(units) => units,
            Tokenization::Tokenizer => {
                return Ok(Self(Kind::Tokenizer(Arc::new(Tokenizer::parse(text)?))));
            }
        };
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
        match &self.0 {
            Kind::Lines(lines) => {
                let mut text = lines.words.join("\n");
                text.push('\n');
                text
            }
            Kind::Tokenizer(tokenizer) => tokenizer.source().to_owned(),
        }
    }

    /// How text becomes tokens.
    #[must_use]
    pub fn tokenization(&self) -> Tokenization {
        match &self.0 {
            Kind::Lines(lines) => lines.units.into(),
            Kind::Tokenizer(_) => Tokenization::Tokenizer,
        }
    }

    /// How many words there are, the four special ones included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a vocabulary is never empty")]
    pub fn len(&self) -> usize {
        self.words().len()
    }

    /// The word of a number, if there is one; of a tokenizer what the token adds to a text, with its spaces.
    #[must_use]
    pub fn word(&self, token: Token) -> Option<&str> {
        self.words().get(token as usize).map(String::as_str)
    }

    fn words(&self) -> &[String] {
        match &self.0 {
            Kind::Lines(lines) => &lines.words,
            Kind::Tokenizer(tokenizer) => tokenizer.written(),
        }
    }

    /// The number of a word as the vocabulary spells it: [`UNKNOWN`] if it is not in there, or where a word
    /// may be several tokens.
    #[must_use]
    pub fn token(&self, word: &str) -> Token {
        match &self.0 {
            Kind::Lines(lines) => lines.token(word),
            Kind::Tokenizer(_) => match self.tokens(word)[..] {
                [token] => token,
                _ => UNKNOWN,
            },
        }
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
        match &self.0 {
            Kind::Lines(lines) => {
                let word = |word: &str| each(lines.token(word));
                lines.units.for_each(message, word);
            }
            Kind::Tokenizer(tokenizer) => tokenizer.for_each_token(message, each),
        }
    }

    /// What one writes for these tokens.
    #[must_use]
    pub fn join(&self, tokens: &[Token]) -> String {
        match &self.0 {
            Kind::Lines(lines) => {
                let words = tokens.iter().filter_map(|&token| self.word(token));
                lines.units.join(words)
            }
            Kind::Tokenizer(tokenizer) => tokenizer.join(tokens.iter().copied()),
        }
    }

    /// A text that is being typed: the tokens that will not change any more, and the word that was begun
    /// and may go on. Characters and signs are complete as soon as they are typed.
    #[must_use]
    pub fn typed(&self, text: &str) -> Typed {
        let goes_on: fn(char) -> bool = match self.tokenization() {
            Tokenization::Units(TextUnits::Characters) => |_| false,
            Tokenization::Units(TextUnits::Words) => words::goes_on,
            Tokenization::Units(TextUnits::WordsAndDigits) => words::goes_on_without_digits,
            Tokenization::Tokenizer => goes_on_in_pieces,
        };
        // A tokenizer changes the case itself, where it does.
        let text = match self.tokenization() {
            Tokenization::Units(TextUnits::Words | TextUnits::WordsAndDigits) => {
                text.to_lowercase()
            }
            _ => text.to_owned(),
        };
        let text = Zeroizing::new(text);
        let finished = text.trim_end_matches(goes_on);
        let apart = finished.ends_with(char::is_whitespace);
        let begun = &text[finished.len()..];
        let (finished, begun) = match &self.0 {
            Kind::Lines(_) => (self.tokens(finished), begun.to_owned()),
            // The space belongs to the token that is still to come.
            Kind::Tokenizer(tokenizer) => (
                self.tokens(finished.trim_end_matches(' ')),
                tokenizer.respelt(begun),
            ),
        };
        Typed {
            finished,
            begun: Zeroizing::new(begun),
            apart,
        }
    }

    /// What a token adds to a text, where several of them may make a word.
    pub(crate) fn pieces(&self) -> Option<Pieces<'_>> {
        match &self.0 {
            Kind::Lines(_) => None,
            Kind::Tokenizer(tokenizer) => Some(Pieces(tokenizer)),
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
        Ok(Self(Kind::Lines(Lines {
            units,
            words,
            tokens,
        })))
    }
}

impl Lines {
    fn token(&self, word: &str) -> Token {
        self.tokens.get(word).copied().unwrap_or(UNKNOWN)
    }
}

/// A text that is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// The tokens that will not change any more.
    pub finished: Vec<Token>,
    /// The word that was begun, as the vocabulary spells it.
    pub begun: Zeroizing<String>,
    /// Whether white space stands before it.
    pub apart: bool,
}

/// What the tokens of a tokenizer add to a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pieces<'a>(&'a Tokenizer);

impl<'a> Pieces<'a> {
    /// The bytes that a token adds to a text, of which a character may need more tokens; none of a
    /// special one.
    pub(crate) fn of(self, token: Token) -> &'a [u8] {
        self.0.piece(token)
    }

    /// Whether tokens bring the space before a word along.
    pub(crate) fn are_spaced(self) -> bool {
        self.0.is_spaced()
    }
}

/// Whether a character goes on with a word that may be several tokens.
pub(crate) fn goes_on_in_pieces(character: char) -> bool {
    character.is_alphanumeric()
        || character == '\''
        || !character.is_ascii() && !character.is_whitespace()
}

#[cfg(test)]
mod tests;
