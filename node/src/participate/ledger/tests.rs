use std::fs;

use super::*;

const LIMITS: Limits = Limits {
    uploads_per_model: 2,
    rounds_per_day: 3,
};

/// Noon of some day.
const NOON: u64 = 1_700_049_600;

fn hash(number: u8) -> Hash {
    Hash::from_bytes([number; 32])
}

fn entry(at: u64, session: u8, step: Step) -> Entry {
    Entry {
        at,
        round: 7,
        attempt: 1,
        session: hash(session),
        step,
    }
}

fn join(at: u64, session: u8, model: u8) -> Entry {
    let step = Step::Join(Join {
        model: hash(model),
        architecture: hash(200),
        plan: hash(201),
        threat_model: "malicious".to_owned(),
        graph: "complete".to_owned(),
        min_cohort: 3,
        max_cohort: 8,
        elements: 1000,
    });
    entry(at, session, step)
}

fn upload(model: u8, session: u8) -> Entry {
    let step = Step::Upload(Upload {
        model: hash(model),
        roster: hash(202),
        round_id: hash(203),
        cohort: 5,
        degree: 4,
        threshold: 3,
    });
    entry(NOON, session, step)
}

fn reveal(session: u8) -> Entry {
    let step = Step::Reveal(Reveal {
        survivors: 4,
        survivors_digest: hash(204),
    });
    entry(NOON, session, step)
}

/// Two uploads for model 1, one for model 2.
fn filled(directory: &Path) -> PathBuf {
    let mut ledger = Ledger::open(directory).unwrap();
    for (model, session) in [(1, 10), (2, 11), (1, 12)] {
        ledger.record(&upload(model, session), LIMITS).unwrap();
    }
    directory.join(LEDGER_FILE)
}

#[test]
fn uploads_are_counted_by_model_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let mut ledger = Ledger::open(folder.path()).unwrap();
    assert_eq!(
        [1, 2, 3].map(|model| ledger.uploads(&hash(model))),
        [2, 1, 0]
    );
    for again in [upload(1, 13), join(NOON, 13, 1)] {
        assert!(matches!(
            ledger.record(&again, LIMITS),
            Err(LedgerError::UploadsUsedUp {
                uploads: 2,
                allowed: 2
            })
        ));
    }
    ledger.record(&upload(2, 14), LIMITS).unwrap();
    drop(ledger);
    assert_eq!(Ledger::open(folder.path()).unwrap().uploads(&hash(2)), 2);
}

#[test]
fn a_session_is_used_once() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let mut ledger = Ledger::open(folder.path()).unwrap();
    for again in [upload(3, 11), join(NOON, 11, 3)] {
        assert!(matches!(
            ledger.record(&again, LIMITS),
            Err(LedgerError::SessionUsed { round: 7 })
        ));
    }
    assert_eq!(ledger.uploads(&hash(3)), 0);
}

#[test]
fn rounds_of_a_day_are_counted_over_restarts_and_changed_clocks() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path()).unwrap();
    for (at, session) in [(NOON, 1), (NOON + 60, 2), (NOON + 60, 2), (NOON + 3600, 3)] {
        ledger.record(&join(at, session, session), LIMITS).unwrap();
    }
    drop(ledger);
    let mut ledger = Ledger::open(folder.path()).unwrap();
    let mut used_up = |at| {
        let refused = ledger.record(&join(at, 4, 4), LIMITS);
        matches!(
            refused,
            Err(LedgerError::RoundsUsedUp {
                rounds: 3,
                allowed: 3
            })
        )
    };
    assert!(used_up(NOON + 3600));
    // A second less than a day after the first one.
    assert!(used_up(NOON + DAY - 1));
    // The clock was set back by a year: the rounds are in the future, and count.
    assert!(used_up(NOON - 365 * DAY));
    ledger.record(&join(NOON + DAY, 4, 4), LIMITS).unwrap();
}

#[test]
fn a_line_that_a_crash_cut_off_is_dropped_wherever_it_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = filled(folder.path());
    let whole = fs::read(&path).unwrap();
    let second_line = whole.len() / 3 * 2;
    for cut in second_line + 1..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let record = Record::read(folder.path()).unwrap();
        assert_eq!((record.lines.len(), record.cut), (2, true), "cut at {cut}");
        let mut ledger = Ledger::open(folder.path()).unwrap();
        assert_eq!(ledger.uploads(&hash(1)), 1, "cut at {cut}");
        ledger.record(&upload(1, 12), LIMITS).unwrap();
        drop(ledger);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn a_changed_removed_or_swapped_line_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = filled(folder.path());
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let changed = whole.replacen("\"cohort\":5", "\"cohort\":6", 1);
    let unchecked = whole.replacen("0202", "0303", 1);
    let spaced = whole.replacen("\"cohort\":5", "\"cohort\": 5", 1);
    for (bad, expected) in [
        (changed, 1),
        (unchecked, 2),
        (spaced, 1),
        (lines[1..].concat(), 1),
        ([lines[0], lines[2]].concat(), 2),
        ([lines[0], lines[2], lines[1]].concat(), 2),
        (format!("{whole}\n"), 4),
        (whole.replacen('\n', " \n", 1), 1),
    ] {
        fs::write(&path, &bad).unwrap();
        for error in [
            Ledger::open(folder.path()).unwrap_err(),
            Record::read(folder.path()).unwrap_err(),
        ] {
            assert!(
                matches!(error, LedgerError::Damaged { line, .. } if line == expected),
                "{error} for\n{bad}"
            );
        }
    }
}

/// What is written reads back, with checks that a reader can compare with those it has noted.
#[test]
fn the_record_is_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path()).unwrap();
    let left = Step::Leave {
        reason: "the protocol's checks: \"quoted\"\nand more".to_owned(),
    };
    let done = [
        join(NOON, 1, 1),
        upload(1, 1),
        reveal(1),
        join(NOON, 2, 2),
        entry(NOON, 2, left),
    ];
    let mut checks = vec![Record::read(folder.path()).unwrap().check()];
    for entry in &done {
        ledger.record(entry, LIMITS).unwrap();
        // Also while the ledger is in use.
        checks.push(Record::read(folder.path()).unwrap().check());
    }
    let record = Record::read(folder.path()).unwrap();
    let (found, entries): (Vec<Hash>, Vec<Entry>) = record.lines.into_iter().unzip();
    assert_eq!(entries, done);
    assert_eq!(found, checks[1..]);
    let mut distinct = checks.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), checks.len());
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    assert!(matches!(
        Ledger::open(folder.path()),
        Err(LedgerError::InUse { .. })
    ));
    drop(ledger);
    Ledger::open(folder.path()).unwrap();
}
