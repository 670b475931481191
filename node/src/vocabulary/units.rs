//! What a token stands for: a word, a character, or what a tokenizer's file says.

use serde::{Deserialize, Serialize};

use super::{characters, words};

/// How text becomes tokens, as `text` in `model.toml` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Name")]
pub enum Tokenization {
    /// By rules of our own; the vocabulary is `vocabulary.txt`.
    Units(TextUnits),
    /// As `tokenizer.json` says.
    Tokenizer,
}

/// The names in `model.toml`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Name {
    Words,
    Characters,
    WordsAndDigits,
    Tokenizer,
}

impl From<Name> for Tokenization {
    fn from(name: Name) -> Self {
        match name {
            Name::Words => TextUnits::Words.into(),
            Name::Characters => TextUnits::Characters.into(),
            Name::WordsAndDigits => TextUnits::WordsAndDigits.into(),
            Name::Tokenizer => Self::Tokenizer,
        }
    }
}

impl From<TextUnits> for Tokenization {
    fn from(units: TextUnits) -> Self {
        Self::Units(units)
    }
}

impl Tokenization {
    /// Its name in `model.toml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Units(units) => units.as_str(),
            Self::Tokenizer => "tokenizer",
        }
    }

    /// One token, for people.
    #[must_use]
    pub const fn one(self) -> &'static str {
        match self {
            Self::Units(units) => units.one(),
            Self::Tokenizer => "token",
        }
    }

    /// The most tokens that commands read of a message where nothing else is said.
    #[must_use]
    pub const fn usual_most(self) -> usize {
        match self {
            Self::Units(units) => units.usual_most(),
            // The words of a text message, of one to two tokens each.
            Self::Tokenizer => 48,
        }
    }
}

/// What a line of `vocabulary.txt` stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TextUnits {
    /// A word in lower case, or a sign.
    #[default]
    Words,
    /// A character.
    Characters,
    /// A word in lower case, a sign, or a digit.
    WordsAndDigits,
}

impl TextUnits {
    /// Its name in `model.toml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Characters => "characters",
            Self::WordsAndDigits => "words-and-digits",
        }
    }

    /// One of them, for people.
    #[must_use]
    pub const fn one(self) -> &'static str {
        match self {
            Self::Words | Self::WordsAndDigits => "word",
            Self::Characters => "character",
        }
    }

    /// The most of them that commands read of a message where nothing else is said: as many words as
    /// rounds take by default, or the characters of a text message.
    #[must_use]
    pub const fn usual_most(self) -> usize {
        match self {
            Self::Words | Self::WordsAndDigits => 29,
            Self::Characters => 160,
        }
    }

    /// Calls `each` with every one of them in a message, in order, as the vocabulary spells it.
    pub(super) fn for_each(self, message: &str, each: impl FnMut(&str)) {
        match self {
            Self::Words => words::for_each_word(message, each),
            Self::Characters => characters::for_each_character(message, each),
            Self::WordsAndDigits => words::for_each_word_or_digit(message, each),
        }
    }

    /// Says what is wrong with a line of `vocabulary.txt`. A coordinator chooses these lines and a
    /// terminal shows them: no escape codes, no line that no message can match.
    pub(super) fn check(self, line: &str) -> Result<(), &'static str> {
        match self {
            Self::Words => words::check(line),
            Self::Characters => characters::check(line),
            Self::WordsAndDigits => words::check_word_or_digit(line),
        }
    }

    /// What is written, of tokens as the vocabulary spells them.
    pub(super) fn join<'a>(self, tokens: impl Iterator<Item = &'a str>) -> String {
        match self {
            Self::Words => words::join(tokens),
            Self::Characters => characters::join(tokens),
            Self::WordsAndDigits => words::join_with_digits(tokens),
        }
    }
}
