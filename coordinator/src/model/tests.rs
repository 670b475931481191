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
fn the_flat_vector_is_in_the_order_of_names() {
    let bytes = file(&[("b", &[2], &[3.0, 4.0]), ("a", &[1, 2], &[1.0, 2.0])]);
    let shapes = Shapes::read(&bytes).unwrap();
    assert_eq!(shapes.parameters(), 4);
    let flat = shapes.flat(&bytes).unwrap();
    assert_eq!(flat, [1.0, 2.0, 3.0, 4.0]);
    let other = [5.0, 6.0, 7.0, 8.0];
    let again = shapes.file(&other, &bytes).unwrap();
    assert_eq!(shapes.flat(&again).unwrap(), other);
    assert_eq!(shapes.file(&flat, &again).unwrap(), bytes);
    assert!(matches!(
        shapes.file(&flat[1..], &bytes),
        Err(WeightsError::Length {
            found: 3,
            expected: 4
        })
    ));
}

#[test]
fn tensors_are_chosen_by_name_or_by_its_beginning() {
    let bytes = file(&[
        ("a", &[2], &[1.0, 2.0]),
        ("b_1", &[1], &[3.0]),
        ("b_2", &[2], &[4.0, 5.0]),
        ("c", &[1], &[6.0]),
    ]);
    let shapes = Shapes::read(&bytes).unwrap();
    let parts = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        shapes.parts(&names)
    };
    assert_eq!(parts(&[]), Ok(Parts::ALL));
    assert_eq!(parts(&["b_1"]), Ok(Parts::new(Some(2..3)).unwrap()));
    assert_eq!(parts(&["b_*"]), Ok(Parts::new(Some(2..5)).unwrap()));
    assert_eq!(
        parts(&["c", "a", "b_2"]),
        Ok(Parts::new([0..2, 3..6]).unwrap())
    );
    assert_eq!(
        parts(&["a", "b"]),
        Err(TensorsError::Unknown {
            pattern: "b".to_owned(),
            names: "a, b_1, b_2, c".to_owned()
        })
    );
}

#[test]
fn weights_of_another_model_or_without_sense_are_refused() {
    let bytes = file(&[("a", &[2], &[1.0, 2.0])]);
    let shapes = Shapes::read(&bytes).unwrap();
    let other = file(&[("a", &[1, 2], &[1.0, 2.0])]);
    assert!(matches!(shapes.flat(&other), Err(WeightsError::Shapes)));
    let nan = file(&[("a", &[2], &[1.0, f32::NAN])]);
    assert!(matches!(
        shapes.flat(&nan),
        Err(WeightsError::NotFinite { index: 1 })
    ));
    assert!(matches!(
        Shapes::read(b"nothing"),
        Err(WeightsError::Format(_))
    ));
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
