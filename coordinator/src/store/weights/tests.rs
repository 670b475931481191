use secagg_learning::{RoundKind, weights::FloatView};

use super::*;
use crate::store::Figures;

const ADAM: ServerOptimizerConfig = ServerOptimizerConfig::FedAdam {
    rate: 0.1,
    beta1: 0.9,
    beta2: 0.99,
    tau: 0.001,
};

const KEEP: Retention = Retention {
    last: 2,
    every: None,
    best: true,
};

/// A coordinator's disk, and the program on it as it starts again and again.
struct Disk {
    folder: tempfile::TempDir,
    model: Model,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        fs::create_dir(&model).unwrap();
        let view = FloatView {
            shape: &[3],
            elements: &[1.0, 2.0, 3.0],
        };
        let initial = safetensors::serialize([("w", view)], None).unwrap();
        fs::write(model.join("model.toml"), "").unwrap();
        fs::write(model.join("vocabulary.txt"), "a\n").unwrap();
        fs::write(model.join("initial.safetensors"), initial).unwrap();
        let model = Model::load(&model).unwrap();
        Self { folder, model }
    }

    fn start(&self) -> (Store, WeightsFolder, Result<Weights, StoreError>) {
        let store = Store::open(&self.folder.path().join("history.sqlite")).unwrap();
        let folder = WeightsFolder::new(self.folder.path().join("weights")).unwrap();
        let weights = folder.recover(&store.rounds().unwrap(), &self.model, &ADAM);
        (store, folder, weights)
    }

    /// The optimiser's step of the next round.
    fn step(&self, weights: &mut Weights) -> Completed {
        let mut flat = self.model.shapes.flat(&weights.file.bytes).unwrap();
        weights
            .optimizer
            .step(&mut flat, &[0.1, 0.0, -0.1])
            .unwrap();
        weights.round += 1;
        let file = self.model.shapes.file(&flat, &weights.file.bytes).unwrap();
        weights.file = ModelFile::new(file);
        completed(weights.round, weights.file.digest.sha256)
    }

    /// A whole round.
    fn round(&self) -> Vec<u8> {
        let (mut store, folder, weights) = self.start();
        let mut weights = weights.unwrap();
        let mut row = self.step(&mut weights);
        let state = folder
            .write(row.round, &weights.file.bytes, &weights.optimizer)
            .unwrap();
        row.optimizer = state.map(|state| state.digest.sha256);
        store.commit(&folder, &KEEP, &row, &[], None).unwrap();
        weights.file.bytes.to_vec()
    }
}

fn completed(round: u64, weights: Digest) -> Completed {
    Completed {
        round,
        attempt: 1,
        kind: RoundKind::Train,
        wall_ms: 1.0,
        bytes_up: 2,
        bytes_down: 3,
        figures: Figures::default(),
        weights: Some(weights),
        optimizer: None,
    }
}

#[test]
fn a_restart_after_every_round_changes_nothing() {
    let restarted = Disk::new();
    let mut bytes = Vec::new();
    for _ in 0..4 {
        bytes = restarted.round();
    }
    let straight = Disk::new();
    let (_, _, weights) = straight.start();
    let mut weights = weights.unwrap();
    for _ in 0..4 {
        straight.step(&mut weights);
    }
    assert_eq!(bytes, weights.file.bytes);
    let (store, folder, again) = restarted.start();
    assert_eq!(again.unwrap().optimizer, weights.optimizer);
    assert_eq!(store.rounds().unwrap().len(), 4);
    // Only the newest two, and only the newest state.
    assert_eq!(folder.saved().unwrap(), [3, 4].into());
    assert!(!folder.optimizer_of(3).exists() && folder.optimizer_of(4).exists());
}

#[test]
fn files_without_a_row_do_not_count() {
    let disk = Disk::new();
    disk.round();
    // The process ends after the weights, then after the state, never reaching the commit.
    for files in 1..=2 {
        let (_, folder, weights) = disk.start();
        let mut weights = weights.unwrap();
        assert_eq!(weights.round, 1);
        let row = disk.step(&mut weights);
        write(&folder.weights_of(row.round), &weights.file.bytes).unwrap();
        if files == 2 {
            folder
                .write(row.round, &weights.file.bytes, &weights.optimizer)
                .unwrap();
        }
        assert!(folder.weights_of(2).exists());
        let (_, folder, again) = disk.start();
        assert_eq!(again.unwrap().round, 1);
        assert!(!folder.weights_of(2).exists() && !folder.optimizer_of(2).exists());
    }
    // The round is repeated, and gives what it would have given.
    let repeated = disk.round();
    let straight = Disk::new();
    straight.round();
    assert_eq!(repeated, straight.round());
}

#[test]
fn a_row_counts_even_if_old_files_were_not_deleted() {
    let disk = Disk::new();
    disk.round();
    disk.round();
    let (mut store, folder, weights) = disk.start();
    let mut weights = weights.unwrap();
    let mut row = disk.step(&mut weights);
    let state = folder
        .write(row.round, &weights.file.bytes, &weights.optimizer)
        .unwrap();
    row.optimizer = state.map(|state| state.digest.sha256);
    // The process ends right after the transaction.
    store.complete_round(&row, &[], None, 0).unwrap();
    drop(store);
    let (_, folder, again) = disk.start();
    assert_eq!(again.unwrap().round, 3);
    assert_eq!(folder.saved().unwrap(), [1, 2, 3].into());
    disk.round();
    assert_eq!(disk.start().1.saved().unwrap(), [3, 4].into());
}

#[test]
fn a_changed_or_missing_file_of_a_complete_round_is_named() {
    let disk = Disk::new();
    disk.round();
    let (_, folder, _) = disk.start();
    let path = folder.weights_of(1);
    fs::write(&path, b"something else").unwrap();
    assert!(matches!(
        disk.start().2,
        Err(StoreError::Digest { path: named, .. }) if named == path
    ));
    fs::remove_file(&path).unwrap();
    assert!(matches!(
        disk.start().2,
        Err(StoreError::File { path: named, .. }) if named == path
    ));
}

#[test]
fn the_state_of_another_optimiser_is_refused() {
    let disk = Disk::new();
    disk.round();
    let (store, folder, _) = disk.start();
    let other = ServerOptimizerConfig::FedAvg { rate: 1.0 };
    let rounds = store.rounds().unwrap();
    match folder.recover(&rounds, &disk.model, &other) {
        Err(StoreError::Weights { reason, .. }) => assert!(reason.contains("[server]"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_attempt_number_is_never_used_twice() {
    let disk = Disk::new();
    for expected in 1..=3 {
        let (mut store, ..) = disk.start();
        let attempt = store.begin_attempt(1, RoundKind::Train, 0).unwrap();
        assert_eq!((attempt.round, attempt.attempt), (1, expected));
    }
    let (mut store, ..) = disk.start();
    let attempt = crate::store::Attempt {
        round: 1,
        attempt: 2,
    };
    store.abandon_attempt(attempt, "unmask", "too few").unwrap();
    let abandoned = store.abandoned().unwrap();
    assert_eq!(abandoned.len(), 3);
    assert_eq!(abandoned[1].reason.as_deref(), Some("too few"));
}
