//! Who takes part in an attempt, and waiting until there are enough.

use std::{collections::BTreeSet, sync::Arc};

use secagg::ClientId;
use secagg_learning::{Candidate, SelectionError, SelectionRule, Strategy};
use serde_json::json;
use tokio::time::Instant;

use super::{RunError, Training};
use crate::{
    server::Happening,
    store::{Node, StoreError},
};

impl Training {
    /// Waits until enough nodes can take part; before the first round also a little longer for
    /// others that are on their way.
    pub(super) async fn wait_for_nodes(
        &mut self,
        round: u64,
        excluded: &BTreeSet<ClientId>,
    ) -> Result<(), RunError> {
        let config = Arc::clone(&self.environment.config);
        let needed = config.cohort.min_clients as usize;
        let patience = Instant::now() + config.rounds.wait;
        let mut waited = !self.begun;
        let mut told = false;
        let eligible = loop {
            let (chosen, others) = self.choose(round, excluded).await?;
            if chosen.len() >= needed {
                break chosen.len() + others.len();
            }
            waited = true;
            if !told {
                told = true;
                let there = chosen.len();
                let fields = json!({ "round": round, "eligible": there, "needed": needed });
                self.environment.events.event("waiting", fields);
                self.environment.progress.line(&format!(
                    "round {round}: waiting for nodes, {there} of {needed} are there"
                ));
            }
            if !self.join_or_leave(patience).await? {
                return Err(RunError::TooFewNodes {
                    round,
                    eligible: chosen.len(),
                    needed,
                    seconds: config.rounds.wait.as_secs(),
                });
            }
        };
        if waited {
            self.gather(eligible, excluded).await?;
        }
        Ok(())
    }

    /// Waits for further nodes, but not for long.
    async fn gather(
        &mut self,
        mut eligible: usize,
        excluded: &BTreeSet<ClientId>,
    ) -> Result<(), RunError> {
        let config = Arc::clone(&self.environment.config);
        let until = Instant::now() + config.rounds.gather;
        let max = config.cohort.max_clients as usize;
        loop {
            let registered = self.nodes().await?.len();
            if eligible >= max.min(registered.saturating_sub(excluded.len())) {
                return Ok(());
            }
            if !self.join_or_leave(until).await? {
                return Ok(());
            }
            let there = self.lobby.links();
            eligible = there
                .filter(|link| !excluded.contains(&link.client))
                .count();
        }
    }

    /// Waits until a node comes or goes; `false` when the time is up.
    pub(super) async fn join_or_leave(&mut self, until: Instant) -> Result<bool, RunError> {
        loop {
            match self.lobby.next(Some(until)).await {
                Happening::Joined(_) | Happening::Gone { .. } => return Ok(true),
                Happening::Deadline => return Ok(false),
                Happening::Shutdown => return Err(RunError::Stopped),
                // Of an attempt that is over.
                Happening::Message { .. }
                | Happening::Upload { .. }
                | Happening::UploadFailed { .. } => {}
            }
        }
    }

    /// The nodes of an attempt, and those that may take the place of one that declines (the last
    /// one first).
    pub(super) async fn choose(
        &self,
        round: u64,
        excluded: &BTreeSet<ClientId>,
    ) -> Result<(Vec<ClientId>, Vec<ClientId>), StoreError> {
        let nodes = self.nodes().await?;
        let uploaded = self
            .environment
            .store
            .with(move |store| store.uploaded_in(round))
            .await?;
        let connected = |node: &Node| {
            self.lobby.link(node.client).is_some() && !excluded.contains(&node.client)
        };
        let candidates: Vec<Candidate> = nodes
            .iter()
            .map(|node| node.candidate(connected(node)))
            .collect();
        let uploaded = uploaded.into_iter().collect();
        let rule = self.environment.config.selection();
        select(&rule, &self.seed, round, &candidates, &uploaded).map_err(|error| {
            tracing::error!("selection failed: {error}");
            StoreError::Corrupt {
                what: "the registry of nodes",
            }
        })
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.environment.store.with(|store| store.nodes()).await
    }
}

/// Nodes that have not uploaded for this model yet come first; others fill the round up, and may
/// decline by their own policy. Batches are taken whole, so nobody takes another's place there.
fn select(
    rule: &SelectionRule,
    seed: &[u8; 32],
    round: u64,
    candidates: &[Candidate],
    uploaded: &BTreeSet<ClientId>,
) -> Result<(Vec<ClientId>, Vec<ClientId>), SelectionError> {
    let only = |kept: &dyn Fn(&ClientId) -> bool| -> Vec<Candidate> {
        let among = candidates.iter().map(|candidate| Candidate {
            available: candidate.available && kept(&candidate.id),
            ..*candidate
        });
        among.collect()
    };
    let fresh = rule.select(seed, round, &only(&|id| !uploaded.contains(id)))?;
    let any_used = candidates
        .iter()
        .any(|candidate| candidate.available && uploaded.contains(&candidate.id));
    if rule.strategy != Strategy::LeastRecent {
        if fresh.is_empty() && any_used {
            return Ok((rule.select(seed, round, candidates)?, Vec::new()));
        }
        return Ok((fresh, Vec::new()));
    }
    let mut chosen = fresh;
    let have = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
    let room = rule.max.saturating_sub(have);
    if room > 0 && any_used {
        let rest = SelectionRule { max: room, ..*rule };
        chosen.extend(rest.select(seed, round, &only(&|id| uploaded.contains(id)))?);
    }
    let taken: BTreeSet<ClientId> = chosen.iter().copied().collect();
    let everybody = SelectionRule {
        max: u32::MAX,
        ..*rule
    };
    let others = everybody.select(seed, round, &only(&|id| !taken.contains(id)))?;
    Ok((chosen, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: SelectionRule = SelectionRule {
        max: 3,
        strategy: Strategy::LeastRecent,
        max_participations: None,
    };

    fn id(number: u8) -> ClientId {
        ClientId::from_bytes([number; 16])
    }

    fn candidates(count: u8) -> Vec<Candidate> {
        let one = |number| Candidate {
            id: id(number),
            ordinal: number.into(),
            available: true,
            participations: 0,
            last_round: None,
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn who_has_not_uploaded_comes_first() {
        let uploaded = [id(0), id(1), id(2)].into();
        let (chosen, others) = select(&RULE, &[0; 32], 1, &candidates(5), &uploaded).unwrap();
        assert_eq!(chosen.len(), 3);
        assert_eq!(chosen[..2], [id(3), id(4)]);
        assert!(uploaded.contains(&chosen[2]));
        assert_eq!(others.len(), 2);
        assert!(others.iter().all(|other| !chosen.contains(other)));
    }

    #[test]
    fn only_connected_nodes_are_chosen() {
        let mut candidates = candidates(3);
        candidates[1].available = false;
        let chosen = select(&RULE, &[0; 32], 1, &candidates, &BTreeSet::new());
        assert_eq!(chosen, Ok((vec![id(0), id(2)], vec![])));
    }

    #[test]
    fn batches_stay_whole() {
        let rule = SelectionRule {
            max: 4,
            strategy: Strategy::Batches { size: 2 },
            max_participations: None,
        };
        let uploaded = [id(0), id(1)].into();
        let (chosen, others) = select(&rule, &[0; 32], 1, &candidates(4), &uploaded).unwrap();
        assert_eq!((chosen, others), (vec![id(2), id(3)], vec![]));
        let everybody = (0..4).map(id).collect();
        let (chosen, _) = select(&rule, &[0; 32], 1, &candidates(4), &everybody).unwrap();
        assert_eq!(chosen.len(), 4);
    }
}
