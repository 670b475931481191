//! A `tokenizer.json` as it is written, held against limits before the library sees any of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokenizers::AddedToken;
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordlevel::WordLevel;

use super::{MAX_TOKEN_BYTES, MAX_TOKENIZER_BYTES, TokenizerError, byte_level};
use crate::vocabulary::MAX_LEN;

/// What of a file counts. How it pads, cuts and frames texts does not: that is done here.
pub(super) struct File<'a> {
    pub(super) model: Model,
    /// By ascending numbers.
    pub(super) added: Vec<Added>,
    pub(super) normalizer: Option<&'a RawValue>,
    pub(super) pre_tokenizer: Option<&'a RawValue>,
    pub(super) decoder: Option<&'a RawValue>,
    /// All tokens, those of the model and those added; a token's place is its number.
    pub(super) tokens: Vec<String>,
}

/// What turns a piece of text into tokens.
pub(super) enum Model {
    Bpe(Bpe),
    WordLevel(Words),
}

/// A token beside the model's, or one of them that is special.
#[derive(Deserialize)]
pub(super) struct Added {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    pub(super) special: bool,
}

#[derive(Deserialize)]
pub(super) struct Bpe {
    vocab: Entries,
    merges: Capped<Merge>,
    dropout: Option<f32>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
}

#[derive(Deserialize)]
pub(super) struct Words {
    vocab: Entries,
    unk_token: String,
}

/// A pair, as files of both generations write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

impl<'a> File<'a> {
    /// Reads and checks all but the steps around the model.
    pub(super) fn parse(source: &'a str) -> Result<Self, TokenizerError> {
        #[derive(Deserialize)]
        struct Whole<'a> {
            #[serde(default)]
            added_tokens: Capped<Added>,
            #[serde(borrow)]
            normalizer: Option<&'a RawValue>,
            #[serde(borrow)]
            pre_tokenizer: Option<&'a RawValue>,
            #[serde(borrow)]
            decoder: Option<&'a RawValue>,
            #[serde(borrow)]
            model: &'a RawValue,
        }
        if source.len() > MAX_TOKENIZER_BYTES {
            let bytes = source.len();
            return Err(TokenizerError::TooLarge { bytes });
        }
        let whole: Whole<'a> = json(source)?;
        let model = Model::parse(whole.model)?;
        let mut added = whole.added_tokens.0;
        added.sort_by_key(|token| token.id);
        let tokens = numbered(model.vocab(), &added)?;
        model.check(&tokens)?;
        for token in &added {
            token.check()?;
        }
        Ok(Self {
            model,
            added,
            normalizer: whole.normalizer,
            pre_tokenizer: whole.pre_tokenizer,
            decoder: whole.decoder,
            tokens,
        })
    }
}

impl Model {
    fn parse(model: &RawValue) -> Result<Self, TokenizerError> {
        #[derive(Deserialize)]
        struct Kind {
            r#type: Option<String>,
        }
        // By name, before anything of it goes on: the library has other models, whose files it trusts more.
        let kind: Kind = json(model.get())?;
        match kind.r#type.as_deref() {
            Some("BPE") => Ok(Self::Bpe(json(model.get())?)),
            Some("WordLevel") => Ok(Self::WordLevel(json(model.get())?)),
            found => Err(TokenizerError::Model {
                found: shown(found.unwrap_or("none")),
            }),
        }
    }

    fn vocab(&self) -> &BTreeMap<String, u32> {
        match self {
            Self::Bpe(bpe) => &bpe.vocab.0,
            Self::WordLevel(words) => &words.vocab.0,
        }
    }

    /// The token for what has none.
    pub(super) fn unknown(&self) -> Option<&str> {
        match self {
            Self::Bpe(bpe) => bpe.unk_token.as_deref(),
            Self::WordLevel(words) => Some(&words.unk_token),
        }
    }

    fn check(&self, tokens: &[String]) -> Result<(), TokenizerError> {
        if let Some(token) = self.unknown()
            && !self.vocab().contains_key(token)
        {
            let token = shown(token);
            return Err(TokenizerError::Unknown { token });
        }
        match self {
            Self::Bpe(bpe) => bpe.check(tokens),
            Self::WordLevel(_) => Ok(()),
        }
    }

    /// Whether all characters have tokens only if they are spelt as bytes before.
    pub(super) fn is_of_bytes(&self) -> bool {
        matches!(self, Self::Bpe(bpe) if bpe.unk_token.is_none() && !bpe.byte_fallback)
    }

    /// The library's model.
    pub(super) fn build(self) -> Result<ModelWrapper, TokenizerError> {
        let refused = |error: tokenizers::Error| TokenizerError::Library {
            problem: error.to_string(),
        };
        match self {
            Self::Bpe(bpe) => Ok(bpe.build().map_err(refused)?.into()),
            Self::WordLevel(words) => {
                let vocab = words.vocab.0.into_iter().collect();
                let builder = WordLevel::builder().vocab(vocab).unk_token(words.unk_token);
                Ok(builder.build().map_err(refused)?.into())
            }
        }
    }
}

impl Bpe {
    fn check(&self, tokens: &[String]) -> Result<(), TokenizerError> {
        let refused = |problem: &str| TokenizerError::Setting {
            part: "model",
            problem: problem.to_owned(),
        };
        if self.dropout.is_some_and(|dropout| dropout != 0.0) {
            return Err(refused(
                "with dropout the same text has other tokens each time",
            ));
        }
        // The library cuts it off merges without a look at their length.
        if self
            .continuing_subword_prefix
            .as_ref()
            .is_some_and(|prefix| !prefix.is_empty())
        {
            return Err(refused("continuing_subword_prefix is not supported"));
        }
        for (merge, place) in self.merges.0.iter().zip(1..) {
            let (left, right) = merge.pair();
            let all = [left, right, &format!("{left}{right}")]
                .map(|token| self.vocab.0.contains_key(token));
            if all != [true; 3] {
                return Err(TokenizerError::Merge {
                    place,
                    left: shown(left),
                    right: shown(right),
                });
            }
        }
        if self.unk_token.is_some() {
            return Ok(());
        }
        let known: BTreeSet<&str> = tokens.iter().map(String::as_str).collect();
        let spelt = |byte: u8| match self.byte_fallback {
            true => format!("<0x{byte:02X}>"),
            false => byte_level::spelling(byte).to_string(),
        };
        match (0..=u8::MAX)
            .map(spelt)
            .find(|byte| !known.contains(byte.as_str()))
        {
            Some(missing) => Err(TokenizerError::Vanishing { missing }),
            None => Ok(()),
        }
    }

    fn build(self) -> tokenizers::Result<BPE> {
        let vocab = self.vocab.0.into_iter();
        let merges = self.merges.0.iter().map(Merge::pair);
        let merges = merges.map(|(left, right)| (left.to_owned(), right.to_owned()));
        let mut builder = BPE::builder()
            .vocab_and_merges(
                vocab.collect::<tokenizers::models::bpe::Vocab>(),
                merges.collect(),
            )
            .fuse_unk(self.fuse_unk)
            .byte_fallback(self.byte_fallback)
            .ignore_merges(self.ignore_merges)
            // It would keep words of private text as long as the process lives.
            .cache_capacity(0);
        if let Some(token) = self.unk_token {
            builder = builder.unk_token(token);
        }
        if let Some(suffix) = self.end_of_word_suffix {
            builder = builder.end_of_word_suffix(suffix);
        }
        builder.build()
    }
}

impl Merge {
    fn pair(&self) -> (&str, &str) {
        match self {
            Self::Pair(left, right) => (left, right),
            Self::Line(line) => line.split_once(' ').unwrap_or((line, "")),
        }
    }
}

impl Added {
    fn check(&self) -> Result<(), TokenizerError> {
        // A special one is never looked for in a text, so that nothing of this matters there.
        if !self.special && (self.lstrip || self.rstrip) {
            return Err(TokenizerError::Setting {
                part: "added token",
                problem: format!(
                    "\"{}\" takes the white space beside it (lstrip, rstrip) and is not special",
                    shown(&self.content)
                ),
            });
        }
        Ok(())
    }

    pub(super) fn build(&self) -> AddedToken {
        AddedToken::from(self.content.clone(), self.special)
            .single_word(self.single_word && !self.special)
            .normalized(self.normalized && !self.special)
    }
}

/// All tokens by their numbers, which must have no gap: a row of the embedding that no token has
/// would be there for nothing, and two tokens with one row could not be told apart.
fn numbered(vocab: &BTreeMap<String, u32>, added: &[Added]) -> Result<Vec<String>, TokenizerError> {
    let mut by_id: BTreeMap<u32, &str> = BTreeMap::new();
    let added = added.iter().map(|token| (token.content.as_str(), token.id));
    let own = vocab.iter().map(|(token, id)| (token.as_str(), *id));
    let mut names: BTreeMap<&str, u32> = BTreeMap::new();
    for (token, id) in own.chain(added) {
        if !(1..=MAX_TOKEN_BYTES).contains(&token.len()) {
            let bytes = token.len();
            return Err(TokenizerError::TokenLength { id, bytes });
        }
        let other = by_id.insert(id, token).filter(|other| *other != token);
        let numbered = names.insert(token, id).filter(|other| *other != id);
        if other.is_some() || numbered.is_some() {
            return Err(TokenizerError::Twice {
                id,
                first: shown(other.unwrap_or(token)),
                second: shown(token),
            });
        }
    }
    let tokens = by_id.len();
    if tokens > MAX_LEN {
        return Err(TokenizerError::TooMany { found: tokens });
    }
    if let Some((id, _)) = (0..)
        .zip(by_id.keys())
        .find(|(expected, id)| expected != *id)
    {
        return Err(TokenizerError::Gap { id, tokens });
    }
    Ok(by_id.into_values().map(str::to_owned).collect())
}

/// A name out of the file, short and without what a terminal would act on.
pub(super) fn shown(name: &str) -> String {
    name.escape_debug().take(64).collect()
}

fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, TokenizerError> {
    serde_json::from_str(text).map_err(|error| TokenizerError::Syntax {
        problem: error.to_string(),
    })
}

/// The model's tokens with their numbers, of which none stands twice.
struct Entries(BTreeMap<String, u32>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap;

        impl<'de> Visitor<'de> for OfMap {
            type Value = Entries;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("tokens with their numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((token, id)) = map.next_entry::<String, u32>()? {
                    if entries.len() == MAX_LEN {
                        return Err(A::Error::custom(format!("more than {MAX_LEN} tokens")));
                    }
                    if let Some(first) = entries.insert(token, id) {
                        return Err(A::Error::custom(format!(
                            "a token has the numbers {first} and {id}"
                        )));
                    }
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(OfMap)
    }
}

/// A list that is not longer than a vocabulary may be.
struct Capped<T>(Vec<T>);

impl<T> Default for Capped<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Capped<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfList<T>(PhantomData<T>);

        impl<'de, T: DeserializeOwned> Visitor<'de> for OfList<T> {
            type Value = Capped<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Capped<T>, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    if elements.len() == MAX_LEN {
                        return Err(A::Error::custom(format!("a list of more than {MAX_LEN}")));
                    }
                    elements.push(element);
                }
                Ok(Capped(elements))
            }
        }

        deserializer.deserialize_seq(OfList(PhantomData))
    }
}
