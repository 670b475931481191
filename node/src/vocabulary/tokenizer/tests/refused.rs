//! Files that are no tokenizer, or one that a coordinator could do harm with.

use super::*;
use crate::vocabulary::{Tokenization, Vocabulary, VocabularyError};

fn refused(source: &str) -> TokenizerError {
    Tokenizer::parse(source).unwrap_err()
}

#[test]
fn other_models_are_refused_by_name() {
    let with = |model: Value| json!({ "model": model }).to_string();
    for (model, name) in [
        (
            json!({ "type": "Unigram", "vocab": [["a", -1.0]], "unk_id": 0 }),
            "Unigram",
        ),
        (
            json!({ "type": "WordPiece", "vocab": { "a": 0 }, "unk_token": "a" }),
            "WordPiece",
        ),
        (json!({ "vocab": { "a": 0 }, "merges": [] }), "none"),
    ] {
        let found = name.to_owned();
        assert_eq!(refused(&with(model)), TokenizerError::Model { found });
    }
}

#[test]
fn what_is_no_such_file_is_refused() {
    let whole = trained(TokenizerModel::Bpe, 300);
    for cut in [
        0,
        1,
        whole.len() / 3,
        whole.len() / 2,
        whole.trim_end().len() - 1,
    ] {
        let cut = whole[..cut].to_owned();
        assert!(matches!(refused(&cut), TokenizerError::Syntax { .. }));
    }
    for other in ["[]", "{}", "null", "<pad>\n<unk>\n", "{\"model\": 3}"] {
        assert!(
            matches!(refused(other), TokenizerError::Syntax { .. }),
            "{other}"
        );
    }
    let twice = r#"{"model": {"type": "WordLevel", "unk_token": "a", "vocab": {"a": 0, "a": 1}}}"#;
    assert!(
        matches!(refused(twice), TokenizerError::Syntax { problem } if problem.contains("0 and 1"))
    );
    let bytes = MAX_TOKENIZER_BYTES + 1;
    assert_eq!(
        refused(&" ".repeat(bytes)),
        TokenizerError::TooLarge { bytes }
    );
    let read = Vocabulary::read(Tokenization::Tokenizer, "{}");
    assert!(matches!(
        read,
        Err(VocabularyError::Tokenizer(TokenizerError::Syntax { .. }))
    ));
}

#[test]
fn tokens_are_numbered_without_gaps() {
    let vocab = |vocab: Value, added: Value| {
        let model = json!({ "type": "WordLevel", "vocab": vocab, "unk_token": "u" });
        json!({ "model": model, "added_tokens": added }).to_string()
    };
    assert_eq!(
        refused(&vocab(json!({ "u": 0, "a": 1, "b": 3 }), json!([]))),
        TokenizerError::Gap { id: 2, tokens: 3 }
    );
    assert_eq!(
        refused(&vocab(json!({ "u": 0, "a": u32::MAX }), json!([]))),
        TokenizerError::Gap { id: 1, tokens: 2 }
    );
    assert!(matches!(
        refused(&vocab(json!({ "u": 0, "a": 1, "b": 1 }), json!([]))),
        TokenizerError::Twice { id: 1, .. }
    ));
    // A token that is added has the number that the model gives it.
    assert!(matches!(
        refused(&vocab(json!({ "u": 0, "a": 1 }), json!([special(2, "a")]))),
        TokenizerError::Twice { id: 2, .. }
    ));
    assert!(Tokenizer::parse(&vocab(json!({ "u": 0, "a": 1 }), json!([special(2, "b")]))).is_ok());
    assert_eq!(
        refused(&vocab(json!({ "u": 0 }), json!([]))),
        TokenizerError::Empty
    );
    assert_eq!(
        refused(&vocab(json!({ "u": 0, "": 1 }), json!([]))),
        TokenizerError::TokenLength { id: 1, bytes: 0 }
    );
    let long = "x".repeat(MAX_TOKEN_BYTES + 1);
    assert_eq!(
        refused(&vocab(json!({ "u": 0, long: 1 }), json!([]))),
        TokenizerError::TokenLength {
            id: 1,
            bytes: MAX_TOKEN_BYTES + 1
        }
    );
}

#[test]
fn nothing_of_a_text_vanishes() {
    let missing = words(&["a"], json!({}));
    let token = "[UNK]".to_owned();
    assert_eq!(
        refused(&missing),
        TokenizerError::Unknown {
            token: token.clone()
        }
    );
    let bpe = |unknown: Value, fallback: bool| {
        let vocab = json!({ "a": 0, "b": 1, "ab": 2 });
        json!({ "model": {
            "type": "BPE", "vocab": vocab, "merges": ["a b"], "unk_token": unknown, "byte_fallback": fallback,
        } })
        .to_string()
    };
    assert_eq!(
        refused(&bpe(json!("[UNK]"), false)),
        TokenizerError::Unknown { token }
    );
    let missing = |missing: &str| TokenizerError::Vanishing {
        missing: missing.to_owned(),
    };
    assert_eq!(refused(&bpe(Value::Null, false)), missing("Ā"));
    assert_eq!(refused(&bpe(Value::Null, true)), missing("<0x00>"));
    assert!(Tokenizer::parse(&bpe(json!("b"), false)).is_ok());

    // With all bytes, but without the step that spells a text as bytes.
    let mut file: Value = serde_json::from_str(&trained(TokenizerModel::Bpe, 300)).unwrap();
    file["pre_tokenizer"] = json!({ "type": "Whitespace" });
    assert!(matches!(
        refused(&file.to_string()),
        TokenizerError::Setting { part: "model", .. }
    ));
}

#[test]
fn what_would_panic_or_never_end_is_refused() {
    let with = |part: &str, value: Value| words(&["[UNK]", "a"], json!({ part: value }));
    let part = |part: &str, value: Value| match refused(&with(part, value)) {
        TokenizerError::Part {
            part: named, found, ..
        } => {
            assert_eq!(named, part);
            found
        }
        other => panic!("{other}"),
    };
    assert_eq!(
        part(
            "normalizer",
            json!({ "type": "Precompiled", "precompiled_charsmap": "" })
        ),
        "Precompiled"
    );
    assert_eq!(part("normalizer", json!({ "lowercase": true })), "none");
    assert_eq!(
        part(
            "pre_tokenizer",
            json!({ "type": "FixedLength", "length": 0 })
        ),
        "FixedLength"
    );
    assert_eq!(
        part("decoder", json!({ "type": "CTC", "pad_token": "" })),
        "CTC"
    );
    let inner =
        json!({ "type": "Sequence", "decoders": [{ "type": "Fuse" }, { "type": "\u{1b}[2J" }] });
    assert_eq!(part("decoder", inner), "\\u{1b}[2J");

    let setting = |part: &str, value: Value, hint: &str| match refused(&with(part, value)) {
        TokenizerError::Setting {
            part: named,
            problem,
        } => {
            assert_eq!(named, part);
            assert!(problem.contains(hint), "{problem}");
        }
        other => panic!("{other}"),
    };
    let replace = |pattern: Value, content: &str| json!({ "type": "Replace", "pattern": pattern, "content": content });
    setting(
        "normalizer",
        replace(json!({ "Regex": "(a+)+b" }), "x"),
        "regular expression",
    );
    setting(
        "normalizer",
        replace(json!({ "String": "" }), "x"),
        "pattern",
    );
    setting(
        "normalizer",
        replace(json!({ "String": "a" }), &"a".repeat(33)),
        "33 bytes",
    );
    let split = json!({ "type": "Split", "pattern": { "Regex": "(a|a)*" }, "behavior": "Isolated", "invert": false });
    setting("pre_tokenizer", split, "regular expression");
    let twice = replace(json!({ "String": "a" }), "aa");
    let grows = json!({ "type": "Sequence", "normalizers": vec![twice; 9] });
    setting("normalizer", grows, "as long");
    let many =
        json!({ "type": "Sequence", "normalizers": vec![json!({ "type": "StripAccents" }); 17] });
    setting("normalizer", many, "16 steps");
    let strip = json!({ "type": "Strip", "content": " ", "start": 0, "stop": 1 });
    setting("decoder", strip, "stop");
    setting("decoder", json!({ "type": "Sequence" }), "no list");
    let long = json!({ "type": "Sequence", "decoders": [], "comment": "x".repeat(20_000) });
    setting("decoder", long, "bytes");
    let mut beside = special(2, "b");
    beside["special"] = json!(false);
    beside["rstrip"] = json!(true);
    assert!(matches!(
        refused(&with("added_tokens", json!([beside]))),
        TokenizerError::Setting {
            part: "added token",
            ..
        }
    ));

    let bpe = |field: &str, value: Value| {
        let mut model =
            json!({ "type": "BPE", "vocab": { "a": 0, "b": 1 }, "merges": [], "unk_token": "a" });
        model[field] = value;
        refused(&json!({ "model": model }).to_string())
    };
    assert!(matches!(
        bpe("dropout", json!(0.1)),
        TokenizerError::Setting { part: "model", .. }
    ));
    let prefix = bpe("continuing_subword_prefix", json!("##"));
    assert!(matches!(
        prefix,
        TokenizerError::Setting { part: "model", .. }
    ));
    for merge in [
        json!(["a", "b"]),
        json!("a b"),
        json!("a"),
        json!(["a", "c"]),
    ] {
        let error = bpe("merges", json!([merge]));
        assert!(
            matches!(error, TokenizerError::Merge { place: 1, .. }),
            "{error}"
        );
    }
}
