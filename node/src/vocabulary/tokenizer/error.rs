//! Why a tokenizer is refused.

use thiserror::Error;

use super::{MAX_TOKEN_BYTES, MAX_TOKENIZER_BYTES};
use crate::vocabulary::MAX_LEN;

/// Why a `tokenizer.json` was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file is too long.
    #[error("a tokenizer of {bytes} bytes is too large: at most {MAX_TOKENIZER_BYTES} are allowed")]
    TooLarge {
        /// How many bytes.
        bytes: usize,
    },
    /// It is not JSON, or a field is missing, of another type, or too long.
    #[error("the tokenizer cannot be read: {problem}")]
    Syntax {
        /// What the parser said.
        problem: String,
    },
    /// The model is of a kind that is not supported.
    #[error(
        "the tokenizer's model is of type \"{found}\"; only \"BPE\" and \"WordLevel\" can be used"
    )]
    Model {
        /// The type, as far as the file names one.
        found: String,
    },
    /// A step on the way is of a kind that is not supported.
    #[error("the tokenizer's {part} is of type \"{found}\"; allowed are {allowed}")]
    Part {
        /// `normalizer`, `pre_tokenizer` or `decoder`.
        part: &'static str,
        /// The type, as far as the file names one.
        found: String,
        /// The types that are.
        allowed: String,
    },
    /// A setting could make text random, endless, or expensive to cut.
    #[error("the tokenizer's {part} is refused: {problem}")]
    Setting {
        /// Which part of the file.
        part: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The token for what is unknown is missing.
    #[error(
        "the tokenizer's unk_token is \"{token}\", which is not in its vocabulary: nothing would stand for \
         an unknown word"
    )]
    Unknown {
        /// Its name.
        token: String,
    },
    /// What has no token would vanish.
    #[error(
        "the tokenizer has no unk_token and no token for \"{missing}\", so that some characters would \
         vanish: name an unk_token, or train it over all 256 bytes"
    )]
    Vanishing {
        /// A byte without a token, as the file would spell it.
        missing: String,
    },
    /// A number stands for no token.
    #[error(
        "the tokenizer has {tokens} tokens, and none has the number {id}: numbers must be 0 to {}, one each",
        tokens - 1
    )]
    Gap {
        /// The number.
        id: u32,
        /// How many tokens there are.
        tokens: usize,
    },
    /// A number stands for two tokens, or a token has two numbers.
    #[error("the tokenizer has \"{first}\" and \"{second}\" for the number {id}")]
    Twice {
        /// The number.
        id: u32,
        /// A token.
        first: String,
        /// Another one.
        second: String,
    },
    /// There are too many tokens.
    #[error("a tokenizer of {found} tokens is too large: at most {MAX_LEN} are allowed")]
    TooMany {
        /// How many, the four special ones included.
        found: usize,
    },
    /// There is no token but special ones.
    #[error("the tokenizer has no token but special ones")]
    Empty,
    /// A token is empty or too long.
    #[error("the tokenizer's token {id} has {bytes} bytes; it must have 1 to {MAX_TOKEN_BYTES}")]
    TokenLength {
        /// The token's number.
        id: u32,
        /// How many bytes it has.
        bytes: usize,
    },
    /// A merge makes no token.
    #[error(
        "the tokenizer's merge {place}, of \"{left}\" and \"{right}\", is of or makes a token that is not in \
         its vocabulary"
    )]
    Merge {
        /// Which one, counted from 1.
        place: usize,
        /// What stands left.
        left: String,
        /// What stands right.
        right: String,
    },
    /// The library refused what is left.
    #[error("the tokenizer cannot be used: {problem}")]
    Library {
        /// What it said.
        problem: String,
    },
}
