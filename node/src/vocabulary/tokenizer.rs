//! A tokenizer out of a `tokenizer.json`: words, or the pieces of words of byte-pair encoding (Sennrich,
//! Haddow and Birch 2016, "Neural Machine Translation of Rare Words with Subword Units").
//!
//! Tokens are numbered as in every vocabulary: the four special ones first, then the file's others in
//! the order of its numbers. A special one that the file has under one of the usual names is that one;
//! one that it lacks is added, so that any file of words or byte pairs will do. In a text they are never
//! looked for: who types `</s>` has typed four signs.

mod byte_level;
mod error;
mod file;
mod steps;
mod train;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use error::TokenizerError;
pub use train::{TokenizerModel, TrainError, train};

use self::file::{Added, File};
use super::{BEGIN, END, MAX_LEN, PAD, SPECIAL, SPECIAL_WORDS, Token, UNKNOWN};

/// The longest `tokenizer.json`, in bytes.
pub const MAX_TOKENIZER_BYTES: usize = 16 << 20;
/// The longest token, in bytes as the file spells it.
pub const MAX_TOKEN_BYTES: usize = 512;

/// A tokenizer that was read and checked.
pub(crate) struct Tokenizer {
    source: String,
    library: tokenizers::Tokenizer,
    /// The token of each of the file's numbers.
    tokens: Vec<Token>,
    /// The file's number of each token; nothing for a special one that the file lacks.
    ids: Vec<Option<u32>>,
    /// The bytes that each token adds to a text; none for a special one.
    pieces: Vec<Vec<u8>>,
    /// The same for people; the names of the special ones.
    written: Vec<String>,
    /// Whether a token brings the space before it along.
    spaced: bool,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tokenizer({} tokens)", self.written.len())
    }
}

impl PartialEq for Tokenizer {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Tokenizer {}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Security
    /// It may come from a coordinator. It is read into types of our own with limits; only the model's
    /// table and the steps that are allowed go on to the library, and where that panics on something
    /// nevertheless, the file is refused.
    pub(crate) fn parse(source: &str) -> Result<Self, TokenizerError> {
        let file = File::parse(source)?;
        let roles = roles(&file);
        let (tokens, ids) = renumbered(file.tokens.len(), roles);
        if ids.len() > MAX_LEN {
            return Err(TokenizerError::TooMany { found: ids.len() });
        }
        if ids.len() == SPECIAL_WORDS {
            return Err(TokenizerError::Empty);
        }
        let names = file.tokens.clone();
        let (library, spelling) = guarded(|| build(file))??;
        let mut tokenizer = Self {
            source: source.to_owned(),
            library,
            tokens,
            ids,
            pieces: Vec::new(),
            written: Vec::new(),
            spaced: false,
        };
        guarded(|| {
            tokenizer.encode("See you at 5, ok? Café 你好 \u{1f642}\n")?;
            tokenizer.pieces = tokenizer.all_pieces(&names, spelling)?;
            Ok::<_, TokenizerError>(())
        })??;
        let written = tokenizer
            .pieces
            .iter()
            .map(|piece| shown_text(&String::from_utf8_lossy(piece)));
        tokenizer.written = written.collect();
        tokenizer.spaced = tokenizer.pieces.iter().any(|piece| piece.starts_with(b" "));
        for (written, name) in tokenizer.written.iter_mut().zip(SPECIAL) {
            name.clone_into(written);
        }
        Ok(tokenizer)
    }

    /// The file that it was read from.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Each token for people, as it adds to a text: most begin or end with a space.
    pub(crate) fn written(&self) -> &[String] {
        &self.written
    }

    /// The bytes that a token adds to a text.
    pub(crate) fn piece(&self, token: Token) -> &[u8] {
        self.pieces.get(token as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether tokens bring the space before a word along.
    pub(crate) fn is_spaced(&self) -> bool {
        self.spaced
    }

    /// Calls `each` with every token of a text. A blank text has none.
    pub(crate) fn for_each_token(&self, text: &str, mut each: impl FnMut(Token)) {
        if text.trim().is_empty() {
            return;
        }
        // What was checked has no reason left to fail. If it does, the text is unknown.
        match guarded(|| self.encode(text)) {
            Ok(Ok(tokens)) => tokens.into_iter().for_each(each),
            _ => each(UNKNOWN),
        }
    }

    fn encode(&self, text: &str) -> Result<Vec<Token>, TokenizerError> {
        let encoding = self.library.encode_fast(text, false).map_err(library)?;
        let ids = encoding.get_ids().iter();
        let tokens = ids.map(|&id| match self.tokens.get(id as usize) {
            // A text that spells the name of a special token is a text.
            None | Some(&(PAD | BEGIN | END)) => UNKNOWN,
            Some(&token) => token,
        });
        Ok(tokens.collect())
    }

    /// What is written of these tokens, as the file's decoder says; special ones, the beginning of a
    /// character that was not finished, and control characters but the end of a line are left out.
    pub(crate) fn join(&self, tokens: impl Iterator<Item = Token>) -> String {
        let mut tokens: Vec<Token> = tokens
            .filter(|&token| !self.piece(token).is_empty())
            .collect();
        let mut bytes = self.bytes(&tokens);
        while let Err(error) = std::str::from_utf8(&bytes)
            && error.error_len().is_none()
            && let Some(cut) = tokens.pop()
        {
            bytes.truncate(bytes.len() - self.piece(cut).len());
        }
        let ids: Vec<u32> = tokens
            .iter()
            .filter_map(|&token| self.ids[token as usize])
            .collect();
        // The library's decoders count on a token.
        if ids.is_empty() {
            return String::new();
        }
        let decoded = match guarded(|| self.library.decode(&ids, true)) {
            Ok(Ok(decoded)) => decoded,
            _ => String::from_utf8_lossy(&bytes).into_owned(),
        };
        shown_text(&decoded)
    }

    /// A word as tokens spell it, for one in lower case.
    pub(crate) fn respelt(&self, word: &str) -> String {
        let mut tokens = Vec::new();
        self.for_each_token(word, |token| tokens.push(token));
        match tokens.contains(&UNKNOWN) {
            true => word.to_owned(),
            false => self.join(tokens.into_iter()).trim().to_owned(),
        }
    }

    /// What these tokens add to a text, one after the other.
    fn bytes(&self, tokens: &[Token]) -> Vec<u8> {
        tokens
            .iter()
            .flat_map(|&token| self.piece(token))
            .copied()
            .collect()
    }

    /// What each token adds to a text that goes on.
    fn all_pieces(
        &self,
        names: &[String],
        spelling: Spelling,
    ) -> Result<Vec<Vec<u8>>, TokenizerError> {
        let decode = |ids: &[u32]| self.library.decode(ids, true).map_err(library);
        // Decoders treat what stands first or last in another way than what stands within a text.
        let mut anchor = None;
        for id in self.ids[SPECIAL_WORDS..].iter().flatten() {
            let text = decode(&[*id])?;
            if text.chars().any(char::is_alphanumeric) {
                anchor = Some((*id, text));
                break;
            }
        }
        let mut pieces = vec![Vec::new(); SPECIAL_WORDS];
        for id in self.ids[SPECIAL_WORDS..].iter().flatten().copied() {
            let name = &names[id as usize];
            // Like a mask, which this program has no use for.
            if self.library.get_added_vocabulary().is_special_token(name) {
                pieces.push(Vec::new());
                continue;
            }
            pieces.push(match (spelling, &anchor) {
                (Spelling::Bytes, _) => byte_level::bytes(name),
                (Spelling::Fallback, _) if fallback(name).is_some() => {
                    fallback(name).into_iter().collect()
                }
                (Spelling::Suffix, Some((anchor, text))) => {
                    let both = decode(&[id, *anchor])?;
                    both.strip_suffix(text.as_str()).unwrap_or(&both).into()
                }
                (_, Some((anchor, text))) => {
                    let both = decode(&[*anchor, id])?;
                    both.strip_prefix(text.as_str()).unwrap_or(&both).into()
                }
                (_, None) => decode(&[id])?.into_bytes(),
            });
        }
        Ok(pieces)
    }
}

/// How a decoder tells one word from the next.
#[derive(Clone, Copy, Debug)]
enum Spelling {
    /// A token's letters are bytes, the space among them.
    Bytes,
    /// Tokens like `<0x0A>` are bytes; otherwise as [`Spelling::Prefix`].
    Fallback,
    /// By what stands at a word's end.
    Suffix,
    /// By what stands at its beginning, or between all tokens.
    Prefix,
}

impl Spelling {
    fn of(decoder: &[String]) -> Self {
        let has = |kind: &str| decoder.iter().any(|step| step == kind);
        match () {
            () if has("ByteLevel") => Self::Bytes,
            () if has("ByteFallback") => Self::Fallback,
            () if has("BPEDecoder") => Self::Suffix,
            () => Self::Prefix,
        }
    }
}

/// The byte of a token like `<0x0A>`.
fn fallback(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("<0x")?.strip_suffix('>')?;
    match digits.len() {
        2 => u8::from_str_radix(digits, 16).ok(),
        _ => None,
    }
}

/// The library's tokenizer of what a file says, without what pads, cuts or frames a text.
fn build(file: File<'_>) -> Result<(tokenizers::Tokenizer, Spelling), TokenizerError> {
    let (normalizer, before) = steps::normalizer(file.normalizer)?;
    let (pre_tokenizer, cutting) = steps::pre_tokenizer(file.pre_tokenizer)?;
    let (decoder, after) = steps::decoder(file.decoder)?;
    let of_bytes = before
        .iter()
        .chain(&cutting)
        .any(|step| step == "ByteLevel");
    if file.model.is_of_bytes() && !of_bytes {
        let problem = "it has no unk_token, and no step spells a text as bytes (ByteLevel), so that some \
                       characters would vanish";
        return Err(TokenizerError::Setting {
            part: "model",
            problem: problem.to_owned(),
        });
    }
    let mut tokenizer = tokenizers::Tokenizer::new(file.model.build()?);
    tokenizer.with_normalizer(normalizer).map_err(library)?;
    tokenizer.with_pre_tokenizer(pre_tokenizer);
    tokenizer.with_decoder(decoder);
    let added = file.added.iter().map(Added::build);
    tokenizer.add_tokens(added).map_err(library)?;
    tokenizer.set_encode_special_tokens(true);
    for (id, name) in (0..).zip(&file.tokens) {
        let found = tokenizer.token_to_id(name);
        if found != Some(id) {
            let problem = format!(
                "\"{}\" has the number {id}, and {found:?} in the library",
                file::shown(name)
            );
            return Err(TokenizerError::Library { problem });
        }
    }
    Ok((tokenizer, Spelling::of(&after)))
}

/// The usual names of the special tokens, in the order of their numbers here.
const USUAL: [&[&str]; SPECIAL_WORDS] = [
    &["<pad>", "[PAD]", "<|pad|>"],
    &["<unk>", "[UNK]", "<|unk|>"],
    &[
        "<begin>",
        "<s>",
        "[BOS]",
        "<bos>",
        "<|startoftext|>",
        "<|begin_of_text|>",
    ],
    &[
        "<end>",
        "</s>",
        "[EOS]",
        "<eos>",
        "<|endoftext|>",
        "<|end_of_text|>",
    ],
];

/// The file's numbers of the special tokens, as far as it has them.
fn roles(file: &File<'_>) -> [Option<u32>; SPECIAL_WORDS] {
    let number = |name: &str| file.tokens.iter().position(|token| token == name);
    let special = |name: &&&str| {
        file.added
            .iter()
            .any(|token| token.special && token.content == **name)
    };
    let mut roles = USUAL.map(|names| {
        let name = names.iter().find(special)?;
        u32::try_from(number(name)?).ok()
    });
    // The model itself says which token stands for the unknown.
    if let Some(unknown) = file.model.unknown().and_then(number) {
        let unknown = u32::try_from(unknown).ok();
        for role in &mut roles {
            *role = role.filter(|role| Some(*role) != unknown);
        }
        roles[UNKNOWN as usize] = unknown;
    }
    roles
}

/// The token of each number, and the number of each token.
fn renumbered(ids: usize, roles: [Option<u32>; SPECIAL_WORDS]) -> (Vec<Token>, Vec<Option<u32>>) {
    let mut tokens = Vec::with_capacity(ids);
    let mut by_token: Vec<Option<u32>> = roles.to_vec();
    for id in (0..).take(ids) {
        let special = (0..).zip(roles).find(|(_, role)| *role == Some(id));
        let next = Token::try_from(by_token.len()).unwrap_or(UNKNOWN);
        tokens.push(special.map_or(next, |(token, _)| token));
        if special.is_none() {
            by_token.push(Some(id));
        }
    }
    (tokens, by_token)
}

/// A text without what a terminal would act on: a coordinator chooses tokenizer and weights.
fn shown_text(text: &str) -> String {
    let seen = text
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    seen.collect()
}

fn library(error: tokenizers::Error) -> TokenizerError {
    TokenizerError::Library {
        problem: error.to_string(),
    }
}

/// Calls the library, which may panic where we have overlooked a reason.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, TokenizerError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| TokenizerError::Library {
        problem: "the library panicked on it".to_owned(),
    })
}

#[cfg(test)]
mod tests;
