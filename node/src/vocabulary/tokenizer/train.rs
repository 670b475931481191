//! Makes a tokenizer of public text.

use thiserror::Error;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_level::ByteLevel as Bytes;
use tokenizers::decoders::wordpiece::WordPiece;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::models::wordlevel::{WordLevel, WordLevelTrainerBuilder};
use tokenizers::normalizers::{Lowercase, NormalizerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::whitespace::Whitespace;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{AddedToken, Model, TokenizerBuilder, TokenizerImpl, Trainer};

use super::{MAX_LEN, SPECIAL, SPECIAL_WORDS, Tokenizer, TokenizerError, UNKNOWN};

/// What a tokenizer's tokens are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TokenizerModel {
    /// Byte-pair encoding of bytes: words and pieces of words, with their case; every text has tokens.
    Bpe,
    /// Words in lower case, and signs; a rare one is unknown.
    WordLevel,
}

impl TokenizerModel {
    /// Its name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bpe => "bpe",
            Self::WordLevel => "word-level",
        }
    }

    /// The fewest tokens: the special ones, one for each byte where bytes have tokens, and one more.
    const fn least(self) -> usize {
        match self {
            Self::Bpe => SPECIAL_WORDS + 256 + 1,
            Self::WordLevel => SPECIAL_WORDS + 1,
        }
    }
}

/// Why no tokenizer was made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The size asked for is out of its range.
    #[error("a {} tokenizer of {found} tokens; it must have {} to {MAX_LEN}", model.as_str(), model.least())]
    Size {
        /// The model.
        model: TokenizerModel,
        /// How many tokens were asked for.
        found: usize,
    },
    /// What came out cannot be used; of text without a word it has none either.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// A `tokenizer.json` of the most frequent words, or pieces of words, of public text: at most `size`
/// tokens, the four special ones included. The same text always gives the same file.
///
/// # Errors
/// A [`TrainError`].
pub fn train<'a>(
    model: TokenizerModel,
    messages: impl Iterator<Item = &'a str> + Send,
    size: usize,
) -> Result<String, TrainError> {
    if !(model.least()..=MAX_LEN).contains(&size) {
        return Err(TrainError::Size { model, found: size });
    }
    // One thread is enough for public text, and the library's are not asked for.
    tokenizers::utils::parallelism::set_parallelism(false);
    let special = SPECIAL.map(|name| AddedToken::from(name, true)).to_vec();
    let made = match model {
        TokenizerModel::Bpe => {
            let bytes = Bytes::new(false, false, true);
            let tokenizer = TokenizerBuilder::new()
                .with_model(BPE::default())
                .with_normalizer(None::<NormalizerWrapper>)
                .with_pre_tokenizer(Some(bytes.into()))
                .with_decoder(Some(bytes.into()));
            let mut trainer = BpeTrainerBuilder::new()
                .vocab_size(size)
                .min_frequency(2)
                .show_progress(false)
                .special_tokens(special)
                .initial_alphabet(Bytes::alphabet().into_iter().collect())
                .max_token_length(Some(MAX_LETTERS))
                .build();
            finished(tokenizer, &mut trainer, messages)
        }
        TokenizerModel::WordLevel => {
            let unknown = SPECIAL[UNKNOWN as usize].to_owned();
            let words = WordLevel::builder().unk_token(unknown).build();
            words.and_then(|words| {
                let tokenizer = TokenizerBuilder::new()
                    .with_model(words)
                    .with_normalizer(Some(Lowercase.into()))
                    .with_pre_tokenizer(Some(Whitespace.into()))
                    .with_decoder(Some(WordPiece::default().into()));
                let mut trainer = WordLevelTrainerBuilder::default()
                    .vocab_size(size)
                    .show_progress(false)
                    .special_tokens(special)
                    .build()?;
                finished(tokenizer, &mut trainer, messages)
            })
        }
    };
    let source = made.map_err(super::library)?;
    Tokenizer::parse(&source)?;
    Ok(source)
}

/// The longest token of byte-pair encoding, in letters.
const MAX_LETTERS: usize = 64;

type Builder<M> = TokenizerBuilder<
    M,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

fn finished<'a, M, T>(
    tokenizer: Builder<M>,
    trainer: &mut T,
    messages: impl Iterator<Item = &'a str> + Send,
) -> tokenizers::Result<String>
where
    M: Model + Send + Sync + serde::Serialize,
    T: Trainer<Model = M> + Sync,
{
    let mut tokenizer: TokenizerImpl<M, _, _, _, _> = tokenizer.build()?;
    tokenizer.train(trainer, messages)?;
    tokenizer.to_string(true)
}
