//! Which clients take part in a round: pure functions of the history and a seed.
//!
//! Sums over many rounds with changing participants can be told apart: with the list of who took
//! part when, the server solves for single clients ("gradient disaggregation", Lam et al., ICML
//! 2021). Two rules work against that: a cap on how often one client takes part, and fixed batches
//! that take part as a whole or not at all (So et al., AAAI 2023), so that no combination of sums
//! isolates less than a batch.
//!
//! # Security
//! Selection happens at the server, so it binds a server that follows the protocol. A member of a
//! batch that drops out during a round breaks that batch's rule for that round.

use std::collections::{BTreeMap, BTreeSet};

use secagg::ClientId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A registered client, as far as selection is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who it is.
    pub id: ClientId,
    /// Its place in the order of enrolment, from 0; it never changes, and nobody else has it.
    pub ordinal: u32,
    /// Whether it is connected and may take part now.
    pub available: bool,
    /// In how many rounds it has uploaded so far.
    pub participations: u32,
    /// The last round in which it uploaded.
    pub last_round: Option<u64>,
}

/// How many clients to select, and which first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectionRule {
    /// The most clients of a round.
    pub max: u32,
    /// Who comes first.
    pub strategy: Strategy,
    /// Uploads after which a client is not selected any more; `None`: no cap.
    pub max_participations: Option<u32>,
}

/// Who comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Strategy {
    /// Clients that have waited longest, one by one.
    LeastRecent,
    /// Whole batches of neighbours in the order of enrolment, the batch that has waited longest
    /// first. A batch with a member that is missing, not available or at its cap is left out.
    Batches {
        /// Clients of a batch; at least 1, at most the rule's `max`.
        size: u32,
    },
}

/// Why nothing could be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// A batch must fit into a round.
    #[error("batches of {size} clients; from 1 to {max} fit into a round")]
    BatchSize {
        /// The rule's batch size.
        size: u32,
        /// The most clients of a round.
        max: u32,
    },
    /// Two candidates have the same id.
    #[error("client {id} stands twice among the candidates")]
    DuplicateId {
        /// The id.
        id: ClientId,
    },
    /// Two candidates have the same place in the order of enrolment.
    #[error("two candidates have the ordinal {ordinal}")]
    DuplicateOrdinal {
        /// The ordinal.
        ordinal: u32,
    },
}

impl SelectionRule {
    /// Selects the clients of `round`, in ascending order of their ids: at most [`Self::max`] of
    /// those available. Equals are ordered by a hash of seed, round and client, so the outcome
    /// does not depend on the order of `candidates`, and the same arguments always give the same
    /// clients.
    ///
    /// # Errors
    /// [`SelectionError`] where the rule contradicts itself or candidates are listed twice.
    pub fn select(
        &self,
        seed: &[u8; 32],
        round: u64,
        candidates: &[Candidate],
    ) -> Result<Vec<ClientId>, SelectionError> {
        check_distinct(candidates)?;
        let mut selected = match self.strategy {
            Strategy::LeastRecent => self.least_recent(seed, round, candidates),
            Strategy::Batches { size } => self.batches(seed, round, candidates, size)?,
        };
        selected.sort_unstable();
        Ok(selected)
    }

    fn least_recent(&self, seed: &[u8; 32], round: u64, candidates: &[Candidate]) -> Vec<ClientId> {
        let mut eligible: Vec<_> = candidates
            .iter()
            .filter(|candidate| self.may_take_part(candidate))
            .map(|candidate| {
                let tie = tie_break(seed, round, candidate.id.as_bytes());
                // `None`, never, comes before every round.
                (
                    candidate.last_round,
                    candidate.participations,
                    tie,
                    candidate.id,
                )
            })
            .collect();
        eligible.sort_unstable();
        eligible
            .into_iter()
            .map(|(.., id)| id)
            .take(self.max as usize)
            .collect()
    }

    fn batches(
        &self,
        seed: &[u8; 32],
        round: u64,
        candidates: &[Candidate],
        size: u32,
    ) -> Result<Vec<ClientId>, SelectionError> {
        if !(1..=self.max).contains(&size) {
            let max = self.max;
            return Err(SelectionError::BatchSize { size, max });
        }
        let mut batches: BTreeMap<u32, Vec<&Candidate>> = BTreeMap::new();
        for candidate in candidates {
            batches
                .entry(candidate.ordinal / size)
                .or_default()
                .push(candidate);
        }
        let mut eligible: Vec<_> = batches
            .into_iter()
            .filter(|(_, members)| {
                members.len() == size as usize
                    && members.iter().all(|member| self.may_take_part(member))
            })
            .map(|(number, members)| {
                let last_round = members.iter().filter_map(|member| member.last_round).max();
                let tie = tie_break(seed, round, &number.to_le_bytes());
                (last_round, tie, number, members)
            })
            .collect();
        eligible.sort_unstable_by_key(|&(last_round, tie, number, _)| (last_round, tie, number));
        Ok(eligible
            .into_iter()
            .take((self.max / size) as usize)
            .flat_map(|(.., members)| members)
            .map(|member| member.id)
            .collect())
    }

    fn may_take_part(&self, candidate: &Candidate) -> bool {
        candidate.available
            && self
                .max_participations
                .is_none_or(|cap| candidate.participations < cap)
    }
}

fn check_distinct(candidates: &[Candidate]) -> Result<(), SelectionError> {
    let mut ids = BTreeSet::new();
    let mut ordinals = BTreeSet::new();
    for &Candidate { id, ordinal, .. } in candidates {
        if !ids.insert(id) {
            return Err(SelectionError::DuplicateId { id });
        }
        if !ordinals.insert(ordinal) {
            return Err(SelectionError::DuplicateOrdinal { ordinal });
        }
    }
    Ok(())
}

fn tie_break(seed: &[u8; 32], round: u64, who: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"secagg-learning/v1/selection")
        .chain_update(seed)
        .chain_update(round.to_le_bytes())
        .chain_update(who)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; 32] = [7; 32];

    fn candidate(ordinal: u8, last_round: Option<u64>) -> Candidate {
        Candidate {
            id: id(ordinal),
            ordinal: u32::from(ordinal),
            available: true,
            participations: u32::from(last_round.is_some()),
            last_round,
        }
    }

    fn id(ordinal: u8) -> ClientId {
        ClientId::from_bytes([ordinal; 16])
    }

    fn rule(max: u32, strategy: Strategy) -> SelectionRule {
        SelectionRule {
            max,
            strategy,
            max_participations: None,
        }
    }

    #[test]
    fn who_waited_longest_comes_first() {
        let candidates = [
            candidate(0, Some(4)),
            candidate(1, None),
            candidate(2, Some(2)),
            candidate(3, Some(3)),
        ];
        let selected = rule(3, Strategy::LeastRecent).select(&SEED, 5, &candidates);
        assert_eq!(selected, Ok(vec![id(1), id(2), id(3)]));
    }

    #[test]
    fn who_is_not_available_or_at_the_cap_is_left_out() {
        let mut candidates = [
            candidate(0, None),
            candidate(1, None),
            candidate(2, Some(1)),
        ];
        candidates[0].available = false;
        candidates[2].participations = 2;
        let capped = SelectionRule {
            max_participations: Some(2),
            ..rule(3, Strategy::LeastRecent)
        };
        assert_eq!(capped.select(&SEED, 3, &candidates), Ok(vec![id(1)]));
        candidates[2].participations = 1;
        let selected = capped.select(&SEED, 3, &candidates);
        assert_eq!(selected, Ok(vec![id(1), id(2)]));
        assert_eq!(capped.select(&SEED, 3, &[]), Ok(vec![]));
    }

    #[test]
    fn the_order_of_candidates_does_not_matter_but_seed_and_round_do() {
        let forwards: Vec<_> = (0..100).map(|ordinal| candidate(ordinal, None)).collect();
        let backwards: Vec<_> = forwards.iter().rev().copied().collect();
        let rule = rule(10, Strategy::LeastRecent);
        let selected = rule.select(&SEED, 1, &forwards).unwrap();
        assert_eq!(selected.len(), 10);
        assert!(selected.is_sorted());
        assert_eq!(rule.select(&SEED, 1, &backwards), Ok(selected.clone()));
        assert_ne!(rule.select(&SEED, 2, &forwards), Ok(selected.clone()));
        assert_ne!(rule.select(&[8; 32], 1, &forwards), Ok(selected));
    }

    #[test]
    fn everybody_has_a_turn() {
        let mut candidates: Vec<_> = (0..12).map(|ordinal| candidate(ordinal, None)).collect();
        for round in 1..=6 {
            let selected = rule(4, Strategy::LeastRecent)
                .select(&SEED, round, &candidates)
                .unwrap();
            for candidate in &mut candidates {
                if selected.contains(&candidate.id) {
                    candidate.last_round = Some(round);
                    candidate.participations += 1;
                }
            }
        }
        assert!(candidates.iter().all(|one| one.participations == 2));
    }

    #[test]
    fn batches_take_part_as_a_whole() {
        // Batches {0,1,2}, {3,4,5}, {6,7,8}, and {9,10}, which is not full yet.
        let mut candidates: Vec<_> = (0..11).map(|ordinal| candidate(ordinal, None)).collect();
        let rule = rule(7, Strategy::Batches { size: 3 });
        candidates[4].available = false;
        let expected: Vec<_> = [0, 1, 2, 6, 7, 8].map(id).into();
        assert_eq!(rule.select(&SEED, 1, &candidates), Ok(expected));
        candidates[4].available = true;
        candidates[7].last_round = Some(1);
        let expected: Vec<_> = (0..6).map(id).collect();
        assert_eq!(rule.select(&SEED, 2, &candidates), Ok(expected));
    }

    #[test]
    fn a_rule_that_contradicts_itself_is_refused() {
        for size in [0, 5] {
            assert_eq!(
                rule(4, Strategy::Batches { size }).select(&SEED, 1, &[]),
                Err(SelectionError::BatchSize { size, max: 4 })
            );
        }
    }

    #[test]
    fn nobody_stands_twice_among_the_candidates() {
        let rule = rule(4, Strategy::LeastRecent);
        let twice = [candidate(1, None), candidate(1, None)];
        assert_eq!(
            rule.select(&SEED, 1, &twice),
            Err(SelectionError::DuplicateId { id: id(1) })
        );
        let same_place = [
            candidate(1, None),
            Candidate {
                ordinal: 1,
                ..candidate(2, None)
            },
        ];
        assert_eq!(
            rule.select(&SEED, 1, &same_place),
            Err(SelectionError::DuplicateOrdinal { ordinal: 1 })
        );
    }
}
