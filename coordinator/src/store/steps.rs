//! The newest steps of evolution strategies, for nodes that have missed them.

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};
use secagg_learning::Step;
use secagg_wire::{digest::Digest, steps::MAX_STEPS};

use super::{Store, StoreError};

/// The step of a completed round.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptStep {
    /// The digest of the plan that it was made under.
    pub plan: Digest,
    /// The step.
    pub step: Step,
}

impl Store {
    /// The newest steps by their rounds. Not every training round has one: in some nobody had an
    /// example, and in others nodes trained.
    ///
    /// # Errors
    /// When SQLite fails, or a row holds what was never written.
    pub fn steps(&self) -> Result<BTreeMap<u64, KeptStep>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT round, plan_sha256, factor, seed, falls FROM steps")?;
        let rows = statement.query_map([], |row| {
            let plan = Digest::from_bytes(row.get(1)?);
            let falls: Vec<u8> = row.get(4)?;
            Ok((row.get(0)?, plan, row.get(2)?, row.get(3)?, falls))
        })?;
        let mut steps = BTreeMap::new();
        for row in rows {
            let (round, plan, factor, seed, falls) = row?;
            let (falls, rest) = falls.as_chunks::<4>();
            if !rest.is_empty() {
                let what = "the numbers of a step";
                return Err(StoreError::Corrupt { what });
            }
            let falls = falls.iter().map(|fall| f32::from_le_bytes(*fall)).collect();
            let step = Step {
                factor,
                seed,
                falls,
            };
            steps.insert(round, KeptStep { plan, step });
        }
        Ok(steps)
    }
}

/// Keeps a round's step, and as many of those before as a log can have.
pub(super) fn keep(
    transaction: &Transaction<'_>,
    round: u64,
    kept: &KeptStep,
) -> Result<(), StoreError> {
    let KeptStep { plan, step } = kept;
    let falls: Vec<u8> = step.falls.iter().flat_map(|x| x.to_le_bytes()).collect();
    transaction.execute(
        "INSERT INTO steps VALUES (?1, ?2, ?3, ?4, ?5)",
        params![round, *plan.as_bytes(), step.factor, step.seed, falls],
    )?;
    transaction.execute(
        "DELETE FROM steps WHERE round NOT IN
             (SELECT round FROM steps ORDER BY round DESC LIMIT ?1)",
        [MAX_STEPS],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use secagg_learning::RoundKind;

    use super::*;
    use crate::store::{Completed, Figures};

    #[test]
    fn the_newest_steps_come_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("history.sqlite")).unwrap();
        let kept = |round: u64| KeptStep {
            plan: Digest::of(&round.to_le_bytes()),
            step: Step {
                factor: 1.0 / 3.0,
                seed: [9; 32],
                falls: vec![0.1, -0.0, 1e-40, round as f32],
            },
        };
        let last = u64::from(MAX_STEPS) + 5;
        for round in 1..=last {
            let completed = Completed {
                round,
                attempt: 1,
                kind: RoundKind::Train,
                wall_ms: 1.0,
                bytes_up: 2,
                bytes_down: 3,
                figures: Figures::default(),
                weights: None,
                optimizer: None,
            };
            // In one of them nobody had an example.
            let kept = (round != last - 1).then(|| kept(round));
            store
                .complete_round(&completed, &[], kept.as_ref(), 0)
                .unwrap();
        }
        let steps = store.steps().unwrap();
        assert_eq!(steps.len(), MAX_STEPS as usize);
        assert_eq!(steps.keys().min(), Some(&5));
        assert_eq!(steps.keys().max(), Some(&last));
        assert!(!steps.contains_key(&(last - 1)));
        for (round, found) in steps {
            let expected = kept(round);
            assert_eq!(found, expected);
            assert_eq!(
                found.step.falls[1].to_bits(),
                expected.step.falls[1].to_bits()
            );
        }
    }
}
