//! Rounds and attempts.

use rusqlite::{OptionalExtension as _, Row, TransactionBehavior, params, types::Type};
use secagg::ClientId;
use secagg_learning::{PersonalValidation, RoundFigure, RoundKind, Validation};
use secagg_wire::digest::Digest;
use serde_json::{Value, json};

use super::{KeptStep, Store, StoreError, steps};

/// A completed round.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// What happened.
    pub completed: Completed,
    /// Nodes in the sum.
    pub contributors: u32,
    /// Nodes that were lost after the roster.
    pub lost: u32,
    /// Attempts, this one included.
    pub attempts: u32,
}

/// A round's row. Inserting it is what completes the round.
#[derive(Clone, Debug, PartialEq)]
pub struct Completed {
    /// The round, from 1.
    pub round: u64,
    /// The attempt that succeeded.
    pub attempt: u32,
    /// Training, or evaluation only.
    pub kind: RoundKind,
    /// Time from the announcement to the sum, in milliseconds.
    pub wall_ms: f64,
    /// Bytes from the nodes.
    pub bytes_up: u64,
    /// Bytes to the nodes.
    pub bytes_down: u64,
    /// What the sum said.
    pub figures: Figures,
    /// The digest of the new weights; `None` for a round of evaluation.
    pub weights: Option<Digest>,
    /// The digest of the optimiser's state; `None` where it has none.
    pub optimizer: Option<Digest>,
}

/// What a round's counters say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Mean training loss, in nats a token.
    pub train_loss: Option<f64>,
    /// Training tokens.
    pub train_tokens: u64,
    /// Sum of the contributors' weights.
    pub weight: u64,
    /// Figures of the weights that the nodes received in this round.
    pub validation: Option<Validation>,
}

/// A member of a completed round's roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Who.
    pub client: ClientId,
    /// The phase in which it was lost; `None` for a contributor that stayed to the end.
    pub lost_in: Option<secagg::server::Phase>,
    /// Whether its vector is in the sum.
    pub contributed: bool,
}

/// An attempt that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The round.
    pub round: u64,
    /// The attempt, from 1; a number that was used stays used after a crash.
    pub attempt: u32,
}

/// An attempt that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned {
    /// The round.
    pub round: u64,
    /// The attempt.
    pub attempt: u32,
    /// The phase in which it ended; `None` for a process that ended.
    pub phase: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

impl Store {
    /// Begins an attempt: the next number for that round.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn begin_attempt(
        &mut self,
        round: u64,
        kind: RoundKind,
        now: i64,
    ) -> Result<Attempt, StoreError> {
        let attempt = self.connection.query_row(
            "INSERT INTO attempts (round, attempt, kind, started_at)
             SELECT ?1, COALESCE(MAX(attempt) + 1, 1), ?2, ?3 FROM attempts WHERE round = ?1
             RETURNING attempt",
            params![round, kind_name(kind), now],
            |row| row.get(0),
        )?;
        Ok(Attempt { round, attempt })
    }

    /// Notes why an attempt came to nothing.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn abandon_attempt(
        &mut self,
        attempt: Attempt,
        phase: &str,
        reason: &str,
    ) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE attempts SET phase = ?3, reason = ?4 WHERE round = ?1 AND attempt = ?2",
            params![attempt.round, attempt.attempt, phase, reason],
        )?;
        Ok(())
    }

    /// Commits a round, with its step where it has one: from now on it counts.
    ///
    /// # Errors
    /// When SQLite fails; nothing is stored then.
    pub fn complete_round(
        &mut self,
        completed: &Completed,
        participants: &[Participant],
        step: Option<&KeptStep>,
        now: i64,
    ) -> Result<(), StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let Figures {
            train_loss,
            train_tokens,
            weight,
            validation,
        } = completed.figures;
        let personal = validation.and_then(|figures| figures.personal);
        transaction.execute(
            "INSERT INTO rounds VALUES
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
              ?18, ?19)",
            params![
                completed.round,
                completed.attempt,
                kind_name(completed.kind),
                now,
                completed.wall_ms,
                completed.bytes_up,
                completed.bytes_down,
                train_loss,
                train_tokens,
                weight,
                validation.map(|figures| figures.loss),
                validation.map(|figures| figures.top1),
                validation.map(|figures| figures.top3),
                validation.map(|figures| figures.tokens),
                completed.weights.map(|digest| *digest.as_bytes()),
                completed.optimizer.map(|digest| *digest.as_bytes()),
                personal.map(|figures| figures.loss),
                personal.map(|figures| figures.top1),
                personal.map(|figures| figures.top3),
            ],
        )?;
        for participant in participants {
            // A contributor that fell silent during Unmask still counts as one.
            let lost_in = participant
                .lost_in
                .filter(|_| !participant.contributed)
                .map(|phase| phase.to_string());
            transaction.execute(
                "INSERT INTO participants (round, client_id, lost_in) VALUES (?1, ?2, ?3)",
                params![
                    completed.round,
                    participant.client.as_bytes().as_slice(),
                    lost_in
                ],
            )?;
        }
        if let Some(step) = step {
            steps::keep(&transaction, completed.round, step)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// All completed rounds, ascending.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn rounds(&self) -> Result<Vec<Round>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT round, attempt, kind, wall_ms, bytes_up, bytes_down, train_loss, train_tokens,
                 weight, validation_loss, validation_top1, validation_top3, validation_tokens,
                 weights_sha256, optimizer_sha256,
                 (SELECT COUNT(*) FROM participants p
                  WHERE p.round = rounds.round AND lost_in IS NULL),
                 (SELECT COUNT(*) FROM participants p
                  WHERE p.round = rounds.round AND lost_in IS NOT NULL),
                 (SELECT COUNT(*) FROM attempts a WHERE a.round = rounds.round),
                 personal_loss, personal_top1, personal_top3
             FROM rounds ORDER BY round",
        )?;
        let rows = statement.query_map([], round_of)?;
        rows.map(|row| row.map_err(StoreError::from)).collect()
    }

    /// Attempts that came to nothing, in order; of those whose process ended, the reason is missing.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn abandoned(&self) -> Result<Vec<Abandoned>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT round, attempt, phase, reason FROM attempts
             WHERE NOT EXISTS (SELECT 1 FROM rounds
                 WHERE rounds.round = attempts.round AND rounds.attempt = attempts.attempt)
             ORDER BY round, attempt",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(Abandoned {
                round: row.get(0)?,
                attempt: row.get(1)?,
                phase: row.get(2)?,
                reason: row.get(3)?,
            })
        })?;
        rows.map(|row| row.map_err(StoreError::from)).collect()
    }

    /// A stored setting of 32 bytes, made by `make` the first time.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn setting(
        &mut self,
        name: &str,
        make: impl FnOnce() -> [u8; 32],
    ) -> Result<[u8; 32], StoreError> {
        let found = self
            .connection
            .query_row(
                "SELECT value FROM settings WHERE name = ?1",
                [name],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(value) = found {
            return Ok(value);
        }
        let value = make();
        self.connection.execute(
            "INSERT INTO settings (name, value) VALUES (?1, ?2)",
            params![name, value.as_slice()],
        )?;
        Ok(value)
    }
}

/// The last round that made weights.
#[must_use]
pub(crate) fn last_training(rounds: &[Round]) -> Option<&Round> {
    rounds
        .iter()
        .rev()
        .find(|round| round.completed.kind == RoundKind::Train)
}

/// Validation figures by the round that made the weights they are about; 0 is the initial weights.
#[must_use]
pub(crate) fn validation_by_weights(rounds: &[Round]) -> Vec<RoundFigure> {
    let mut made_by = 0;
    let mut figures: Vec<RoundFigure> = Vec::with_capacity(rounds.len());
    for Round { completed, .. } in rounds {
        let figure = RoundFigure {
            round: made_by,
            validation_loss: completed.figures.validation.map(|figures| figures.loss),
        };
        // Weights that were evaluated twice count once, with the newer figures.
        match figures.last_mut().filter(|last| last.round == made_by) {
            Some(last) => *last = figure,
            None => figures.push(figure),
        }
        if completed.kind == RoundKind::Train {
            made_by = u32::try_from(completed.round).unwrap_or(u32::MAX);
        }
    }
    figures
}

/// Validation figures in events and reports.
pub(crate) fn validation_json(figures: &Validation) -> Value {
    json!({
        "loss": figures.loss,
        "perplexity": figures.perplexity,
        "top1": figures.top1,
        "top3": figures.top3,
        "tokens": figures.tokens,
        "personal": figures.personal.map(|personal| {
            json!({ "loss": personal.loss, "top1": personal.top1, "top3": personal.top3 })
        }),
    })
}

/// The name of a kind in history and events.
pub(crate) fn kind_name(kind: RoundKind) -> &'static str {
    match kind {
        RoundKind::Train => "train",
        RoundKind::EvaluateOnly => "evaluate-only",
    }
}

fn round_of(row: &Row<'_>) -> Result<Round, rusqlite::Error> {
    let kind: String = row.get(2)?;
    let kind = match kind.as_str() {
        "train" => RoundKind::Train,
        "evaluate-only" => RoundKind::EvaluateOnly,
        _ => return Err(rusqlite::Error::InvalidColumnType(2, kind, Type::Text)),
    };
    let loss: Option<f64> = row.get(9)?;
    let personal_loss: Option<f64> = row.get(18)?;
    let personal = match personal_loss {
        None => None,
        Some(loss) => Some(PersonalValidation {
            loss,
            top1: row.get(19)?,
            top3: row.get(20)?,
        }),
    };
    let validation = match loss {
        None => None,
        Some(loss) => Some(Validation {
            loss,
            perplexity: loss.exp(),
            top1: row.get(10)?,
            top3: row.get(11)?,
            tokens: row.get(12)?,
            personal,
        }),
    };
    let digest = |index| {
        row.get::<_, Option<[u8; 32]>>(index)
            .map(|bytes| bytes.map(Digest::from_bytes))
    };
    Ok(Round {
        completed: Completed {
            round: row.get(0)?,
            attempt: row.get(1)?,
            kind,
            wall_ms: row.get(3)?,
            bytes_up: row.get(4)?,
            bytes_down: row.get(5)?,
            figures: Figures {
                train_loss: row.get(6)?,
                train_tokens: row.get(7)?,
                weight: row.get(8)?,
                validation,
            },
            weights: digest(13)?,
            optimizer: digest(14)?,
        },
        contributors: row.get(15)?,
        lost: row.get(16)?,
        attempts: row.get(17)?,
    })
}
