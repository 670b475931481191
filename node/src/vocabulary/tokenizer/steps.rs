//! The steps around a tokenizer's model: what happens to a text before it, and to tokens after it.
//!
//! # Security
//! The file comes from a coordinator. What is not in these lists is refused by its name, before the
//! library reads it: precompiled tables, regular expressions (the library's can take exponential time, so
//! that only those of well-known tokenizers are allowed, letter by letter), and steps that make a text
//! longer and longer.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

use super::TokenizerError;
use super::file::shown;

/// One part of the file: a step, or a sequence of steps.
#[derive(Clone, Copy, Debug)]
struct Part {
    name: &'static str,
    /// Where a sequence has its steps.
    list: &'static str,
    allowed: &'static [&'static str],
}

const NORMALIZER: Part = Part {
    name: "normalizer",
    list: "normalizers",
    allowed: &[
        "BertNormalizer",
        "ByteLevel",
        "Lowercase",
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
        "Prepend",
        "Replace",
        "Strip",
        "StripAccents",
    ],
};

const PRE_TOKENIZER: Part = Part {
    name: "pre_tokenizer",
    list: "pretokenizers",
    allowed: &[
        "BertPreTokenizer",
        "ByteLevel",
        "CharDelimiterSplit",
        "Digits",
        "Metaspace",
        "Punctuation",
        "Split",
        "Whitespace",
        "WhitespaceSplit",
    ],
};

const DECODER: Part = Part {
    name: "decoder",
    list: "decoders",
    allowed: &[
        "BPEDecoder",
        "ByteFallback",
        "ByteLevel",
        "Fuse",
        "Metaspace",
        "Replace",
        "Strip",
        "WordPiece",
    ],
};

/// The regular expressions by which GPT-2, the GPT-4 and Llama 3 family, and Qwen cut a text into words.
const EXPRESSIONS: [&str; 3] = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// The longest part, in bytes.
const MAX_BYTES: usize = 16 << 10;
/// The most steps of a part.
const MAX_STEPS: usize = 16;
/// The longest text that a step may put in, in bytes.
const MAX_TEXT: usize = 32;
/// How many times as long all steps of a part together may make a text.
const MAX_GROWTH: usize = 256;

/// What happens to a text first, and the kinds of its steps.
pub(super) fn normalizer(
    raw: Option<&RawValue>,
) -> Result<(Option<NormalizerWrapper>, Vec<String>), TokenizerError> {
    NORMALIZER.read(raw)
}

/// What cuts a text into pieces for the model, and the kinds of its steps.
pub(super) fn pre_tokenizer(
    raw: Option<&RawValue>,
) -> Result<(Option<PreTokenizerWrapper>, Vec<String>), TokenizerError> {
    PRE_TOKENIZER.read(raw)
}

/// What makes a text of tokens, and the kinds of its steps.
pub(super) fn decoder(
    raw: Option<&RawValue>,
) -> Result<(Option<DecoderWrapper>, Vec<String>), TokenizerError> {
    DECODER.read(raw)
}

impl Part {
    fn read<T: DeserializeOwned>(
        self,
        raw: Option<&RawValue>,
    ) -> Result<(Option<T>, Vec<String>), TokenizerError> {
        let Some(raw) = raw else {
            return Ok((None, Vec::new()));
        };
        if raw.get().len() > MAX_BYTES {
            let bytes = raw.get().len();
            return Err(self.refused(format!("it has {bytes} bytes, allowed are {MAX_BYTES}")));
        }
        let syntax = |error: serde_json::Error| TokenizerError::Syntax {
            problem: format!("{}: {error}", self.name),
        };
        let value: Value = serde_json::from_str(raw.get()).map_err(syntax)?;
        let mut steps = Steps::default();
        self.check(&value, &mut steps)?;
        let step = serde_json::from_str(raw.get()).map_err(syntax)?;
        Ok((Some(step), steps.kinds))
    }

    /// Goes through a step and those in it; the parser bounds how deep they lie.
    fn check(self, step: &Value, steps: &mut Steps) -> Result<(), TokenizerError> {
        let kind = step.get("type").and_then(Value::as_str).unwrap_or("none");
        if kind == "Sequence" {
            let list = step.get(self.list).and_then(Value::as_array);
            let list = list.ok_or_else(|| self.refused("a Sequence has no list".to_owned()))?;
            return list.iter().try_for_each(|step| self.check(step, steps));
        }
        if !self.allowed.contains(&kind) {
            return Err(TokenizerError::Part {
                part: self.name,
                found: shown(kind),
                allowed: format!("Sequence, {}", self.allowed.join(", ")),
            });
        }
        steps.kinds.push(kind.to_owned());
        steps.growth = steps.growth.saturating_mul(self.growth(kind, step)?);
        if steps.kinds.len() > MAX_STEPS {
            return Err(self.refused(format!("it has more than {MAX_STEPS} steps")));
        }
        if steps.growth > MAX_GROWTH {
            return Err(self.refused(format!(
                "its steps may make a text more than {MAX_GROWTH} times as long"
            )));
        }
        Ok(())
    }

    /// How many times as long a step may make a text, at most; refuses what it must not say.
    fn growth(self, kind: &str, step: &Value) -> Result<usize, TokenizerError> {
        let text = |field: &str| step.get(field).and_then(Value::as_str).unwrap_or_default();
        for field in ["content", "prepend", "suffix", "prefix"] {
            let bytes = text(field).len();
            if bytes > MAX_TEXT {
                let problem =
                    format!("{field} of {kind} has {bytes} bytes, allowed are {MAX_TEXT}");
                return Err(self.refused(problem));
            }
        }
        Ok(match kind {
            "Replace" => text("content")
                .len()
                .div_ceil(self.pattern(kind, step)?)
                .max(1),
            "Split" => {
                self.pattern(kind, step)?;
                1
            }
            "Strip" if self.name == DECODER.name => {
                // The library counts back beyond the beginning of a token that is shorter.
                if step.get("stop").and_then(Value::as_u64) != Some(0) {
                    return Err(self.refused("stop of Strip is not 0".to_owned()));
                }
                1
            }
            // Unicode's own bounds, of bytes by bytes.
            "NFKC" | "NFKD" => 12,
            "BertNormalizer" => 8,
            "NFC" | "NFD" => 4,
            // The mark for a space has several bytes.
            "Metaspace" => 4,
            "ByteLevel" | "Lowercase" | "BPEDecoder" => 2,
            _ => 1,
        })
    }

    /// The length of what a step looks for.
    fn pattern(self, kind: &str, step: &Value) -> Result<usize, TokenizerError> {
        let pattern = step.get("pattern");
        let of = |kind: &str| {
            pattern
                .and_then(|pattern| pattern.get(kind))
                .and_then(Value::as_str)
        };
        match (of("String"), of("Regex")) {
            (Some(text), None) if !text.is_empty() => Ok(text.len()),
            (None, Some(expression)) if kind == "Split" && EXPRESSIONS.contains(&expression) => Ok(1),
            (None, Some(expression)) => Err(self.refused(format!(
                "the regular expression \"{}\" of {kind} is none of those that are known to be quick",
                shown(expression)
            ))),
            _ => Err(self.refused(format!("pattern of {kind} is neither a text nor an expression"))),
        }
    }

    fn refused(self, problem: String) -> TokenizerError {
        TokenizerError::Setting {
            part: self.name,
            problem,
        }
    }
}

/// What was found in a part so far.
struct Steps {
    kinds: Vec<String>,
    growth: usize,
}

impl Default for Steps {
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            growth: 1,
        }
    }
}
