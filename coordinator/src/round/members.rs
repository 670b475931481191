//! The nodes that a round was announced to.

use std::collections::BTreeMap;

use secagg::ClientId;
use secagg_wire::{endpoint::Traffic, phase::Phase};
use serde_json::{Value, json};

use crate::server::Link;

/// Members of one attempt.
#[derive(Debug, Default)]
pub(super) struct Members {
    members: BTreeMap<ClientId, Member>,
    /// Losses since the last phase closed.
    losses: Vec<Value>,
}

#[derive(Debug)]
struct Member {
    name: String,
    standing: Standing,
    /// Whether it was told how the round ended for it.
    told: bool,
    /// Kept to count its bytes also after it is gone.
    connection: quinn::Connection,
    before: Traffic,
}

/// How far a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has not answered the announcement.
    Asked,
    /// It trains.
    Accepted,
    /// Its advert is in.
    Advertised,
    /// It does not take part.
    Declined,
    /// It does not take part now, but may in the next attempt.
    Busy,
    /// It was lost.
    Lost,
}

impl Members {
    pub(super) fn add(&mut self, link: &Link) {
        let member = Member {
            name: link.name.clone(),
            standing: Standing::Asked,
            told: false,
            connection: link.connection.clone(),
            before: Traffic::of(&link.connection),
        };
        self.members.insert(link.client, member);
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn contains(&self, client: ClientId) -> bool {
        self.members.contains_key(&client)
    }

    pub(super) fn name(&self, client: ClientId) -> &str {
        self.members
            .get(&client)
            .map_or("", |member| member.name.as_str())
    }

    pub(super) fn standing(&self, client: ClientId) -> Option<Standing> {
        self.members.get(&client).map(|member| member.standing)
    }

    pub(super) fn stands(&mut self, client: ClientId, standing: Standing) {
        if let Some(member) = self.members.get_mut(&client) {
            member.standing = standing;
        }
    }

    pub(super) fn count(&self, standing: Standing) -> usize {
        self.with(standing).count()
    }

    pub(super) fn with(&self, standing: Standing) -> impl Iterator<Item = ClientId> {
        self.members
            .iter()
            .filter(move |(_, member)| member.standing == standing)
            .map(|(client, _)| *client)
    }

    pub(super) fn declined(&self) -> Vec<ClientId> {
        self.with(Standing::Declined).collect()
    }

    /// A member is lost; only the first reason counts.
    pub(super) fn lose(&mut self, client: ClientId, phase: Phase, reason: &str) {
        let Some(member) = self.members.get_mut(&client) else {
            return;
        };
        if matches!(
            member.standing,
            Standing::Lost | Standing::Declined | Standing::Busy
        ) {
            return;
        }
        member.standing = Standing::Lost;
        self.losses.push(json!({
            "client": client.to_string(),
            "name": member.name,
            "phase": phase.as_str(),
            "reason": reason,
        }));
    }

    pub(super) fn take_losses(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.losses)
    }

    pub(super) fn untold(&self) -> Vec<ClientId> {
        let untold = self.members.iter().filter(|(_, member)| !member.told);
        untold.map(|(client, _)| *client).collect()
    }

    pub(super) fn is_untold(&self, client: ClientId) -> bool {
        self.members.get(&client).is_some_and(|member| !member.told)
    }

    pub(super) fn told(&mut self, client: ClientId) {
        if let Some(member) = self.members.get_mut(&client) {
            member.told = true;
        }
    }

    pub(super) fn traffic(&self) -> Traffic {
        let mut sum = Traffic::default();
        for member in self.members.values() {
            let traffic = Traffic::of(&member.connection).since(member.before);
            sum.sent += traffic.sent;
            sum.received += traffic.received;
        }
        sum
    }
}
