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
