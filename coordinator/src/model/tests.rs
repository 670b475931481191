use secagg_learning::weights::FloatView;

use super::*;

fn file(tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    let views = tensors
        .iter()
        .map(|(name, shape, elements)| (*name, FloatView { shape, elements }));
    safetensors::serialize(views, None).unwrap()
}

fn folder(initial: &[u8], vocabulary: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(DESCRIPTION), "kind = \"opaque\"\n").unwrap();
    fs::write(folder.path().join(VOCABULARY), vocabulary).unwrap();
    fs::write(folder.path().join(INITIAL), initial).unwrap();
    folder
}

#[test]
fn a_folder_is_checked_file_by_file() {
    let good = file(&[("a", &[1], &[1.0])]);
    assert!(Model::load(folder(&good, "<pad>\n<unk>\n").path()).is_ok());
    let refused = |folder: tempfile::TempDir| match Model::load(folder.path()) {
        Err(ModelError::Invalid { path, .. }) => path.file_name().unwrap().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(folder(&good, "a\na\n")), VOCABULARY);
    assert_eq!(refused(folder(&good, "")), VOCABULARY);
    assert_eq!(refused(folder(b"", "a\n")), INITIAL);
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(
        Model::load(empty.path()),
        Err(ModelError::Read { path, .. }) if path.ends_with(DESCRIPTION)
    ));
}

#[test]
fn a_tokenizer_stands_in_the_place_of_a_vocabulary() {
    let good = file(&[("a", &[2], &[1.0, 2.0])]);
    let tokenizer = "{\n\"model\": {\n},\n\"added_tokens\": {\n}\n}\n";
    let with = |text: &str| {
        let folder = folder(&good, "a\n");
        fs::remove_file(folder.path().join(VOCABULARY)).unwrap();
        fs::write(folder.path().join(TOKENIZER), text).unwrap();
        folder
    };
    let model = Model::load(with(tokenizer).path()).unwrap();
    assert_eq!(model.vocabulary_name, TOKENIZER);
    assert_eq!(model.vocabulary.bytes, tokenizer.as_bytes());
    let both = folder(&good, "a\n");
    assert_eq!(
        Model::load(both.path()).unwrap().vocabulary_name,
        VOCABULARY
    );
    fs::write(both.path().join(TOKENIZER), tokenizer).unwrap();
    for (folder, reason) in [
        (both, VOCABULARY),
        (with("{\"model\": "), "EOF"),
        (with("a\nb\n"), "expected value"),
    ] {
        let error = Model::load(folder.path()).unwrap_err();
        assert!(
            matches!(&error, ModelError::Invalid { path, reason: found }
                if path.ends_with(TOKENIZER) && found.contains(reason)),
            "{error}"
        );
    }
}
