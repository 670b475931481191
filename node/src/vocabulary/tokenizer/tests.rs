use std::sync::LazyLock;

use serde_json::{Value, json};

use super::*;

const TEXT: [&str; 6] = [
    "see you soon",
    "See you at the station at 5, ok?",
    "are you at the office? see you soon!",
    "i am soon at the station",
    "see you, café",
    "the office is at the station, see?",
];

fn trained(model: TokenizerModel, size: usize) -> String {
    train(model, TEXT.into_iter(), size).unwrap()
}

fn bpe() -> &'static Tokenizer {
    static BPE: LazyLock<Tokenizer> =
        LazyLock::new(|| Tokenizer::parse(&trained(TokenizerModel::Bpe, 300)).unwrap());
    &BPE
}

fn tokens(tokenizer: &Tokenizer, text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    tokenizer.for_each_token(text, |token| tokens.push(token));
    tokens
}

/// Words with these tokens, and with other fields.
fn words(vocab: &[&str], fields: Value) -> String {
    let vocab: serde_json::Map<String, Value> = (0..)
        .zip(vocab)
        .map(|(id, token)| ((*token).to_owned(), json!(id)))
        .collect();
    let mut file = json!({
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": { "type": "Whitespace" },
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]" },
    });
    if let (Value::Object(file), Value::Object(fields)) = (&mut file, fields) {
        file.extend(fields);
    }
    file.to_string()
}

fn special(id: u32, content: &str) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true,
    })
}

#[test]
fn the_same_text_makes_the_same_tokenizer() {
    // Enough words that the order of a map would show.
    let text: Vec<String> = (0..400_u32)
        .map(|n| {
            format!(
                "{} w{} of {}{}",
                n * n % 97,
                n % 31,
                n % 17,
                "ab".repeat(n as usize % 5)
            )
        })
        .collect();
    for model in [TokenizerModel::Bpe, TokenizerModel::WordLevel] {
        let made = || train(model, text.iter().map(String::as_str), 420).unwrap();
        let first = made();
        for _ in 0..5 {
            assert!(made() == first, "{model:?}");
        }
    }
}

#[test]
fn frequent_words_become_one_token_and_every_text_comes_back() {
    let tokenizer = bpe();
    assert!(tokens(tokenizer, "see you at the station").len() <= 6);
    for text in [
        "see you",
        "Don't 你好 \u{1f642}",
        "  two  spaces\nand a line ",
        "x",
        "</s> <pad>",
    ] {
        let tokens = tokens(tokenizer, text);
        assert!(
            tokens.iter().all(|&token| token as usize >= SPECIAL_WORDS),
            "{text}: {tokens:?}"
        );
        assert_eq!(tokenizer.join(tokens.into_iter()), text);
    }
    assert_eq!(tokens(tokenizer, " \n\t"), [0; 0]);
}

#[test]
fn special_tokens_stand_first_whatever_their_numbers() {
    let tokenizer = bpe();
    let names: Vec<&str> = tokenizer.written[..5].iter().map(String::as_str).collect();
    assert_eq!(names, ["<pad>", "<unk>", "<begin>", "<end>", "!"]);
    assert_eq!(tokenizer.ids[..4], [Some(0), Some(1), Some(2), Some(3)]);

    // Some in the midst of the file, one of another role, one missing.
    let file = words(
        &["see", "</s>", "you", "[UNK]", "[MASK]", "<s>"],
        json!({ "added_tokens": [special(1, "</s>"), special(5, "<s>"), special(4, "[MASK]")] }),
    );
    let tokenizer = Tokenizer::parse(&file).unwrap();
    assert_eq!(
        tokenizer.written,
        ["<pad>", "<unk>", "<begin>", "<end>", " see", " you", ""]
    );
    assert_eq!(
        tokenizer.ids,
        [None, Some(3), Some(5), Some(1), Some(0), Some(2), Some(4)]
    );
    // Their names in a text are words that it does not know.
    assert_eq!(
        tokens(&tokenizer, "see you <s> it"),
        [4, 5, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
    );
    let all = [BEGIN, 4, UNKNOWN, 5, 6, END];
    assert_eq!(tokenizer.join(all.into_iter()), "see you");
    assert_eq!(tokenizer.join([END, PAD].into_iter()), "");

    // A word that is named like one is not special where the file does not say so.
    let plain = words(
        &["[UNK]", "</s>", "see"],
        json!({ "pre_tokenizer": { "type": "WhitespaceSplit" } }),
    );
    let tokenizer = Tokenizer::parse(&plain).unwrap();
    assert_eq!(tokenizer.written[3..], ["<end>", " </s>", " see"]);
    assert_eq!(tokens(&tokenizer, "</s> see"), [4, 5]);
}

#[test]
fn the_name_of_a_special_token_in_a_text_ends_nothing() {
    // The pre-tokenizer leaves it whole, and the model's own table has it.
    let file = words(
        &["[UNK]", "</s>", "see"],
        json!({
            "added_tokens": [special(0, "[UNK]"), special(1, "</s>")],
            "pre_tokenizer": { "type": "WhitespaceSplit" },
        }),
    );
    let tokenizer = Tokenizer::parse(&file).unwrap();
    assert_eq!(tokens(&tokenizer, "see </s> see"), [4, UNKNOWN, 4]);
}

#[test]
fn what_a_token_adds_is_known_of_each_way_to_spell() {
    let pieces = |model: Value, decoder: Value, token: &str| {
        let file = json!({ "model": model, "decoder": decoder }).to_string();
        let tokenizer = Tokenizer::parse(&file).unwrap();
        let id = File::parse(&file).unwrap();
        let id = id.tokens.iter().position(|name| name == token).unwrap();
        let piece = tokenizer.piece(tokenizer.tokens[id]);
        String::from_utf8(piece.to_vec()).unwrap()
    };
    let vocab = json!({ "?": 0, "a": 1, "b": 2, "▁ab": 3, "ab</w>": 4, "##ab": 5, "<0x0A>": 6, "<0xC3>": 7 });
    let bpe = json!({ "type": "BPE", "vocab": vocab, "merges": [], "unk_token": "?" });
    let metaspace = json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always" });
    assert_eq!(pieces(bpe.clone(), metaspace.clone(), "▁ab"), " ab");
    assert_eq!(pieces(bpe.clone(), metaspace, "b"), "b");
    let suffix = json!({ "type": "BPEDecoder", "suffix": "</w>" });
    assert_eq!(pieces(bpe.clone(), suffix.clone(), "ab</w>"), "ab ");
    assert_eq!(pieces(bpe.clone(), suffix, "b"), "b");
    let prefix = json!({ "type": "WordPiece", "prefix": "##", "cleanup": true });
    assert_eq!(pieces(bpe.clone(), prefix.clone(), "##ab"), "ab");
    assert_eq!(pieces(bpe.clone(), prefix, "b"), " b");
    let fallback =
        json!({ "type": "Sequence", "decoders": [{ "type": "ByteFallback" }, { "type": "Fuse" }] });
    assert_eq!(pieces(bpe.clone(), fallback.clone(), "<0x0A>"), "\n");
    assert_eq!(pieces(bpe.clone(), fallback, "ab</w>"), "ab</w>");
    let none = Value::Null;
    assert_eq!(pieces(bpe, none, "a"), " a");
}

#[test]
fn half_a_character_at_the_end_is_left_out() {
    let tokenizer = bpe();
    let text = "see you \u{1f642}";
    let all = tokens(tokenizer, text);
    for cut in 1..4 {
        let begun = all[..all.len() - cut].iter().copied();
        assert_eq!(tokenizer.join(begun), "see you ", "{cut}");
    }
    // In the midst it shows that something is missing.
    let mut broken = all.clone();
    broken.remove(all.len() - 2);
    broken.push(tokens(tokenizer, "x")[0]);
    assert!(tokenizer.join(broken.into_iter()).contains('\u{fffd}'));
}

#[test]
fn what_a_terminal_would_act_on_is_not_written() {
    let tokenizer = bpe();
    let tokens = tokens(tokenizer, "a\u{1b}[31mb\nc\u{7}");
    assert_eq!(tokenizer.join(tokens.into_iter()), "a[31mb\nc");
    assert!(
        tokenizer
            .written
            .iter()
            .all(|word| !word.contains('\u{1b}'))
    );
}

#[test]
fn the_steps_of_well_known_tokenizers_are_taken() {
    let cased = |fields: Value| {
        Tokenizer::parse(&words(&["[UNK]", "cafe", "café", "▁see", "see"], fields)).unwrap()
    };
    let bert = json!({
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true,
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
    });
    assert_eq!(tokens(&cased(bert), "CAFÉ"), [4]);
    let composed =
        json!({ "normalizer": { "type": "Sequence", "normalizers": [{ "type": "NFC" }] } });
    assert_eq!(tokens(&cased(composed), "cafe\u{301}"), [5]);
    let metaspace = json!({
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "▁" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
        ] },
        "pre_tokenizer": null,
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
            { "type": "ByteFallback" }, { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
        ] },
    });
    let tokenizer = cased(metaspace);
    assert_eq!(tokens(&tokenizer, "see"), [6]);
    assert_eq!(tokenizer.join([6, 7].into_iter()), "seesee");
    let regex = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let split = json!({ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false });
    assert_eq!(
        tokens(&cased(json!({ "pre_tokenizer": split })), "see!see"),
        [7, UNKNOWN]
    );
    // How a file pads, cuts and frames does not count here.
    let rest = json!({
        "truncation": { "max_length": 1 }, "padding": { "strategy": { "Fixed": 8 } },
        "post_processor": { "type": "TemplateProcessing" },
    });
    assert_eq!(tokens(&cased(rest), "see see see"), [7, 7, 7]);
}

#[test]
fn sizes_are_bounded() {
    for (model, size) in [
        (TokenizerModel::Bpe, 260),
        (TokenizerModel::WordLevel, 4),
        (TokenizerModel::WordLevel, MAX_LEN + 1),
    ] {
        let expected = TrainError::Size { model, found: size };
        assert_eq!(train(model, TEXT.into_iter(), size), Err(expected));
    }
    let small = Tokenizer::parse(&trained(TokenizerModel::Bpe, 261)).unwrap();
    assert_eq!(small.written.len(), 261);
    let words = Tokenizer::parse(&trained(TokenizerModel::WordLevel, 10)).unwrap();
    assert_eq!(words.written.len(), 10);
    let known = tokens(&words, "SEE you tomorrow");
    assert!(known[0] as usize >= SPECIAL_WORDS && known[1] as usize >= SPECIAL_WORDS);
    assert_eq!(known[2], UNKNOWN);
    assert_eq!(words.join(known.into_iter()), "see you");
    let nothing = train(TokenizerModel::WordLevel, [" "].into_iter(), 10);
    assert_eq!(nothing, Err(TrainError::Tokenizer(TokenizerError::Empty)));
}

proptest::proptest! {
    #[test]
    fn whatever_is_typed_comes_back(text in "[a-zé你\u{1f642}!' \n]{1,40}") {
        let tokenizer = bpe();
        let tokens = tokens(tokenizer, &text);
        let expected = if text.trim().is_empty() { "" } else { &text };
        proptest::prop_assert_eq!(tokenizer.join(tokens.into_iter()), expected);
    }

    #[test]
    fn a_changed_file_never_panics(place in 0_usize..4000, byte in 0x20_u8..0x7f) {
        static SOURCE: LazyLock<String> = LazyLock::new(|| trained(TokenizerModel::WordLevel, 12));
        let mut source = SOURCE.clone().into_bytes();
        let place = place % source.len();
        source[place] = byte;
        if let Ok(source) = String::from_utf8(source)
            && let Ok(tokenizer) = Tokenizer::parse(&source)
        {
            tokens(&tokenizer, "see you at 5");
        }
    }
}

mod refused;
