//! The tables.

use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::StoreError;

const VERSION: i64 = 4;

pub(super) fn prepare(connection: &Connection) -> Result<(), StoreError> {
    // `enrol` writes tokens while `run` reads them.
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A commit is on the disk when it returns: weights and history count together.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -1024)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        0 => connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {TABLES} {STEPS} PRAGMA user_version = {VERSION}; COMMIT;"
        ))?,
        1..VERSION => upgrade(connection)?,
        VERSION => {}
        found => {
            return Err(StoreError::Version {
                found,
                known: VERSION,
            });
        }
    }
    Ok(())
}

/// Up to version 1 there were digests of uploads, which nothing read; up to version 2 there were no personal
/// figures, up to version 3 no steps.
fn upgrade(connection: &Connection) -> Result<(), StoreError> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    // Another process may have done it meanwhile.
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == 1 {
        transaction.execute_batch("ALTER TABLE uploads DROP COLUMN sha256")?;
    }
    if found < 3 {
        for name in ["personal_loss", "personal_top1", "personal_top3"] {
            transaction.execute_batch(&format!("ALTER TABLE rounds ADD COLUMN {name} REAL"))?;
        }
    }
    if found < VERSION {
        transaction.execute_batch(STEPS)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(transaction.commit()?)
}

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS nodes (
    client_id BLOB PRIMARY KEY CHECK (length(client_id) = 16),
    ordinal INTEGER NOT NULL UNIQUE,
    name TEXT NOT NULL,
    identity_key BLOB NOT NULL UNIQUE CHECK (length(identity_key) = 32),
    fingerprint BLOB NOT NULL UNIQUE CHECK (length(fingerprint) = 32),
    enrolled_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tokens (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
    name TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_by BLOB REFERENCES nodes
) STRICT;
CREATE TABLE IF NOT EXISTS attempts (
    round INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    kind TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    phase TEXT,
    reason TEXT,
    PRIMARY KEY (round, attempt)
) STRICT;
CREATE TABLE IF NOT EXISTS uploads (
    round INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    client_id BLOB NOT NULL REFERENCES nodes,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (round, attempt, client_id)
) STRICT;
CREATE TABLE IF NOT EXISTS rounds (
    round INTEGER PRIMARY KEY,
    attempt INTEGER NOT NULL,
    kind TEXT NOT NULL,
    completed_at INTEGER NOT NULL,
    wall_ms REAL NOT NULL,
    bytes_up INTEGER NOT NULL,
    bytes_down INTEGER NOT NULL,
    train_loss REAL,
    train_tokens INTEGER NOT NULL,
    weight INTEGER NOT NULL,
    validation_loss REAL,
    validation_top1 REAL,
    validation_top3 REAL,
    validation_tokens INTEGER,
    weights_sha256 BLOB,
    optimizer_sha256 BLOB,
    personal_loss REAL,
    personal_top1 REAL,
    personal_top3 REAL
) STRICT;
CREATE TABLE IF NOT EXISTS participants (
    round INTEGER NOT NULL REFERENCES rounds,
    client_id BLOB NOT NULL REFERENCES nodes,
    lost_in TEXT,
    PRIMARY KEY (round, client_id)
) STRICT;
CREATE TABLE IF NOT EXISTS settings (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;
";

const STEPS: &str = "
CREATE TABLE IF NOT EXISTS steps (
    round INTEGER PRIMARY KEY REFERENCES rounds,
    plan_sha256 BLOB NOT NULL CHECK (length(plan_sha256) = 32),
    factor REAL NOT NULL,
    seed BLOB NOT NULL CHECK (length(seed) = 32),
    falls BLOB NOT NULL
) STRICT;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_version_1_keeps_its_uploads() {
        let connection = Connection::open_in_memory().unwrap();
        let tables = TABLES.replace(
            "    bytes INTEGER NOT NULL,\n    PRIMARY KEY (round, attempt, client_id)",
            "    sha256 BLOB NOT NULL,\n    bytes INTEGER NOT NULL,\n    \
             PRIMARY KEY (round, attempt, client_id)",
        );
        assert!(tables.contains("    sha256 BLOB"));
        let tables = without_personal(&tables);
        connection.execute_batch(&tables).unwrap();
        connection
            .execute_batch(
                "PRAGMA user_version = 1; PRAGMA foreign_keys = false;
                 INSERT INTO uploads VALUES (3, 1, x'01', x'02', 6)",
            )
            .unwrap();
        for _ in 0..2 {
            prepare(&connection).unwrap();
            let upload = connection.query_row("SELECT * FROM uploads", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(3)?))
            });
            assert_eq!(upload, Ok((3, 1, 6)));
        }
    }

    fn without_personal(tables: &str) -> String {
        let since_3 = ",\n    personal_loss REAL,\n    personal_top1 REAL,\n    personal_top3 REAL";
        assert!(tables.contains(since_3));
        tables.replace(since_3, "")
    }

    #[test]
    fn rounds_of_version_2_have_no_personal_figures() {
        let connection = Connection::open_in_memory().unwrap();
        let tables = without_personal(TABLES);
        connection.execute_batch(&tables).unwrap();
        let round = "INSERT INTO rounds VALUES
            (1, 1, 'train', 5, 2.5, 3, 4, NULL, 0, 0, 1.5, 0.25, 0.5, 8, NULL, NULL)";
        connection.execute_batch(round).unwrap();
        connection.pragma_update(None, "user_version", 2).unwrap();
        for _ in 0..2 {
            prepare(&connection).unwrap();
            let kept = connection.query_row("SELECT * FROM rounds", [], |row| {
                Ok((
                    row.get(10)?,
                    row.get::<_, Option<f64>>(16)?,
                    row.get::<_, Option<f64>>(18)?,
                ))
            });
            assert_eq!(kept, Ok((1.5, None, None)));
            let steps = "SELECT COUNT(*) FROM steps";
            let steps = connection.query_row(steps, [], |row| row.get::<_, i64>(0));
            assert_eq!(steps, Ok(0));
        }
    }
}
