use super::*;
use std::os::unix::fs::PermissionsExt;

fn messages(range: std::ops::Range<u32>) -> Vec<Zeroizing<String>> {
    range
        .map(|n| Zeroizing::new(format!("message {n}")))
        .collect()
}

fn texts(messages: &[Zeroizing<String>]) -> Vec<&str> {
    messages.iter().map(|message| message.as_str()).collect()
}

fn filled() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(directory.path()).unwrap();
    store.add(&messages(1..26), Split::EveryTenth).unwrap();
    (directory, store)
}

#[test]
fn every_tenth_message_is_held_out_over_all_files() {
    let (directory, store) = filled();
    assert_eq!(
        store.add(&messages(26..41), Split::EveryTenth).unwrap(),
        Added::New {
            training: 13,
            held_out: 2
        }
    );
    let text = Store::open(directory.path()).unwrap().load().unwrap();
    assert_eq!(
        texts(&text.held_out),
        ["message 10", "message 20", "message 30", "message 40"]
    );
    assert_eq!(text.training.len(), 36);
    assert_eq!(
        texts(&text.training[7..10]),
        ["message 8", "message 9", "message 11"]
    );
}

#[test]
fn a_held_out_file_is_held_out_whole_and_its_training_file_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(directory.path()).unwrap();
    assert_eq!(
        store.add(&messages(0..30), Split::TrainingOnly).unwrap(),
        Added::New {
            training: 30,
            held_out: 0
        }
    );
    assert_eq!(
        store.add(&messages(30..35), Split::HeldOutOnly).unwrap(),
        Added::New {
            training: 0,
            held_out: 5
        }
    );
    let text = store.load().unwrap();
    assert_eq!((text.training.len(), text.held_out.len()), (30, 5));
}

#[test]
fn the_same_file_is_not_added_twice() {
    let (_directory, store) = filled();
    assert_eq!(
        store.add(&messages(1..26), Split::EveryTenth).unwrap(),
        Added::AlreadyThere
    );
    assert_eq!(store.load().unwrap().training.len(), 23);
}

#[test]
fn nothing_of_the_text_can_be_read_on_disk() {
    let (directory, _store) = filled();
    let folder = directory.path().join(FOLDER);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(
            !bytes.windows(7).any(|window| window == b"message"),
            "{}",
            path.display()
        );
        if path.file_name().unwrap() != LOCK_FILE {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
        }
    }
}

#[test]
fn any_changed_byte_is_noticed() {
    let (_directory, store) = filled();
    let path = store.path(1);
    let good = fs::read(&path).unwrap();
    for index in [0, 6, 7, 8, 19, 20, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[index] ^= 1;
        fs::write(&path, &bad).unwrap();
        match store.load() {
            Err(StoreError::NotARecord { path: named }) if index < 8 => assert_eq!(named, path),
            Err(StoreError::Tampered { path: named }) if index >= 8 => assert_eq!(named, path),
            other => panic!("byte {index}: {other:?}"),
        }
    }
    for length in [0, 7, 8, 19, 21, good.len() - 1] {
        fs::write(&path, &good[..length]).unwrap();
        match store.load() {
            Err(StoreError::NotARecord { .. }) if length < 8 => {}
            Err(StoreError::Tampered { .. }) if length >= 8 => {}
            other => panic!("length {length}: {other:?}"),
        }
    }
}

#[test]
fn a_record_cannot_pass_for_another_one() {
    let (_directory, store) = filled();
    store.add(&messages(50..60), Split::HeldOutOnly).unwrap();
    fs::copy(store.path(1), store.path(2)).unwrap();
    let error = store.load().unwrap_err();
    assert!(
        matches!(&error, StoreError::Tampered { path } if *path == store.path(2)),
        "{error}"
    );
}

#[test]
fn the_key_is_the_owners_alone() {
    let (directory, store) = filled();
    let key = store.folder.join(KEY_FILE);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(
        matches!(
            &error,
            StoreError::Key(PrivateFileError::Permissions { mode: 0o640, .. })
        ),
        "{error}"
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, [1; 31]).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(
        matches!(&error, StoreError::KeyLength { found: 31, .. }),
        "{error}"
    );
    fs::write(&key, [1; 32]).unwrap();
    let error = Store::open(directory.path()).unwrap().load().unwrap_err();
    assert!(matches!(&error, StoreError::Tampered { .. }), "{error}");
}

#[test]
fn a_lost_key_is_never_replaced_while_there_is_text() {
    let (directory, store) = filled();
    fs::remove_file(store.folder.join(KEY_FILE)).unwrap();
    for result in [
        Store::open(directory.path()),
        Store::open_or_create(directory.path()),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(&error, StoreError::KeyMissing { .. }), "{error}");
    }
}

#[test]
fn a_directory_without_text_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(&error, StoreError::NoText { .. }), "{error}");
    let store = Store::open_or_create(directory.path()).unwrap();
    let error = store.add(&[], Split::EveryTenth).unwrap_err();
    assert!(matches!(&error, StoreError::NothingToAdd), "{error}");
}
