use super::*;

const SMALL: &str = "<pad>\n<unk>\n<begin>\n<end>\nhi\n!\n";

#[test]
fn frequent_words_come_first_and_ties_are_alphabetical() {
    let text = ["b a b", "c! a C", "d"];
    let vocabulary = Vocabulary::from_text(text, 8).unwrap();
    let words: Vec<_> = (4..8)
        .map(|token| vocabulary.word(token).unwrap())
        .collect();
    assert_eq!(words, ["a", "b", "c", "!"]);
    assert_eq!(vocabulary.len(), 8);
    assert_eq!(vocabulary.tokens("A d ?"), [4, UNKNOWN, UNKNOWN]);
    assert_eq!(vocabulary.word(8), None);
}

#[test]
fn text_and_vocabulary_are_the_same_thing() {
    let vocabulary = Vocabulary::parse(SMALL).unwrap();
    assert_eq!(vocabulary.to_text(), SMALL);
    assert_eq!(vocabulary.token("hi"), 4);
    assert_eq!(Vocabulary::parse(SMALL.trim_end()).unwrap(), vocabulary);
}

#[test]
fn sizes_are_bounded() {
    assert_eq!(
        Vocabulary::from_text(["a"], 4),
        Err(VocabularyError::TooSmall { found: 4 })
    );
    assert_eq!(
        Vocabulary::from_text([" "], 9),
        Err(VocabularyError::TooSmall { found: 4 })
    );
    assert_eq!(
        Vocabulary::from_text(["a"], MAX_LEN + 1),
        Err(VocabularyError::TooLarge { found: MAX_LEN + 1 })
    );
    assert_eq!(
        Vocabulary::parse(""),
        Err(VocabularyError::TooSmall { found: 1 })
    );
    assert_eq!(
        Vocabulary::parse(&"\n".repeat(MAX_LEN + 1)),
        Err(VocabularyError::TooLarge { found: MAX_LEN + 1 })
    );
}

#[test]
fn wrong_lines_are_named() {
    assert_eq!(
        Vocabulary::parse("<pad>\n<unk>\n<end>\n<begin>\nhi"),
        Err(VocabularyError::Special {
            line: 3,
            found: "<end>".to_owned(),
            expected: "<begin>"
        })
    );
    assert_eq!(
        Vocabulary::parse(&format!("{SMALL}you\nhi\n")),
        Err(VocabularyError::Duplicate {
            line: 8,
            first: 5,
            word: "hi".to_owned()
        })
    );
    for (line, problem) in [
        ("", "the line is empty"),
        ("a\u{1b}[31m", "a control character in it"),
        ("two words", "not a single word in lower case"),
        ("Upper", "not a single word in lower case"),
        ("<end>", "not a single word in lower case"),
    ] {
        assert_eq!(
            Vocabulary::parse(&format!("{SMALL}{line}\nyou\n")),
            Err(VocabularyError::NotAWord { line: 7, problem }),
            "{line:?}"
        );
    }
    let long = "x".repeat(MAX_WORD_BYTES + 1);
    assert_eq!(
        Vocabulary::parse(&format!("{SMALL}{long}\n")),
        Err(VocabularyError::NotAWord {
            line: 7,
            problem: "the word is longer than 64 bytes"
        })
    );
}

#[test]
fn characters_are_kept_as_they_are_written() {
    let text = ["Ab a", "aé\na"];
    let vocabulary = Vocabulary::of(TextUnits::Characters, text, 20).unwrap();
    assert_eq!(
        vocabulary.to_text(),
        "<pad>\n<unk>\n<begin>\n<end>\na\n<newline>\n<space>\nA\nb\né\n"
    );
    let again = Vocabulary::read(TextUnits::Characters, &vocabulary.to_text());
    assert_eq!(again.as_ref(), Ok(&vocabulary));
    let tokens = vocabulary.tokens("bA x\né");
    assert_eq!(tokens, [8, 7, 6, UNKNOWN, 5, 9]);
    assert_eq!(vocabulary.join(&[8, 7, 6, 5, 9]), "bA \né");
    // The same lines are no vocabulary of words.
    assert_eq!(
        Vocabulary::parse(&vocabulary.to_text()),
        Err(VocabularyError::NotAWord {
            line: 6,
            problem: "not a single word in lower case"
        })
    );
    assert!(matches!(
        Vocabulary::read(TextUnits::Characters, SMALL),
        Err(VocabularyError::NotAWord { line: 5, .. })
    ));
}

#[test]
fn words_are_written_with_spaces_but_for_closing_signs() {
    let vocabulary = Vocabulary::parse(&format!("{SMALL}(\n)\n,\n")).unwrap();
    let tokens = vocabulary.tokens("hi, hi (hi)! hi");
    assert_eq!(vocabulary.join(&tokens), "hi, hi ( hi)! hi");
}

#[test]
fn what_is_being_typed_ends_where_a_word_may_go_on() {
    let words = Vocabulary::parse(SMALL).unwrap();
    let typed = |text: &str| {
        let typed = words.typed(text);
        (typed.finished, typed.begun.to_string())
    };
    assert_eq!(typed("Hi! HI"), (vec![4, 5], "hi".to_owned()));
    assert_eq!(typed("hi "), (vec![4], String::new()));
    let characters = Vocabulary::of(TextUnits::Characters, ["hi"], 20).unwrap();
    let typed = characters.typed("ih");
    assert_eq!((typed.finished, typed.begun.as_str()), (vec![5, 4], ""));
}
