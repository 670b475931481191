//! From the announcement to the roster: nodes answer, train, and advertise their keys.

use secagg::{
    Advert, ClientId,
    server::{CollectAdverts, CollectShares, RejectionReason},
};
use secagg_wire::{
    close::CloseCode,
    message::{CoordinatorMessage, DeclineReason, NodeMessage},
    phase::Phase,
};
use serde_json::json;
use tokio::time::Duration;

use super::{Attempt, Environment, Failure, deadline::Decision, members::Standing};
use crate::{server::Happening, store::Attempt as Number};

impl Attempt<'_> {
    pub(super) async fn advertise(
        &mut self,
        chosen: Vec<ClientId>,
        mut substitutes: Vec<ClientId>,
    ) -> Result<CollectShares, Failure> {
        self.open(Phase::Train).await;
        let Environment { events, .. } = self.environment;
        self.lobby.lies.begin(events, &self.announcement, &chosen);
        for client in chosen {
            self.announce(client);
        }
        let mut state = CollectAdverts::new(self.session().clone(), self.trust());
        let training = self.opened;
        while let Some(at) = self.wait_for_adverts(&state, training.elapsed()) {
            let since_announcement = training + at;
            let happening = self.lobby.next(Some(since_announcement)).await;
            match happening {
                Happening::Shutdown => return Err(Failure::Shutdown),
                Happening::Message { client, message } => {
                    self.answer(&mut state, client, message).await;
                    self.substitute(&mut substitutes);
                }
                Happening::Gone { client, reason } => {
                    self.members.lose(client, self.phase, &reason);
                    state.drop_client(client);
                    self.substitute(&mut substitutes);
                }
                Happening::Joined(_)
                | Happening::Upload { .. }
                | Happening::UploadFailed { .. }
                | Happening::Deadline => {}
            }
        }
        self.roster(state)
    }

    /// How long to wait further since the announcement; `None` when the roster is to be fixed.
    fn wait_for_adverts(&self, state: &CollectAdverts, elapsed: Duration) -> Option<Duration> {
        let deadlines = &self.environment.config.deadlines;
        let asked = self.members.count(Standing::Asked);
        // Who does not even answer is not expected.
        let unanswered = if elapsed < deadlines.answer { asked } else { 0 };
        let missing = self.members.count(Standing::Accepted) + unanswered;
        let tally = state.tally();
        self.environment
            .progress
            .count(tally.have, tally.have + missing);
        match deadlines
            .train
            .decide(elapsed, tally.have, missing, tally.needed)
        {
            Decision::Close => None,
            Decision::WaitUntil(at) if unanswered > 0 => Some(at.min(deadlines.answer)),
            Decision::WaitUntil(at) => Some(at),
        }
    }

    fn announce(&mut self, client: ClientId) {
        let longest = self.longest();
        let Some(link) = self.lobby.link(client) else {
            return;
        };
        self.members.add(link);
        link.open_attempt(longest);
        self.lobby.send(client, self.announcement.message.clone());
    }

    /// Announces to others in the place of those that declined or are gone.
    fn substitute(&mut self, substitutes: &mut Vec<ClientId>) {
        if self.phase != Phase::Train {
            return;
        }
        let active = [Standing::Asked, Standing::Accepted, Standing::Advertised];
        let active: usize = active
            .into_iter()
            .map(|standing| self.members.count(standing))
            .sum();
        let max = self.environment.config.cohort.max_clients as usize;
        for _ in active..max {
            let Some(client) = substitutes.pop() else {
                return;
            };
            if !self.members.contains(client) {
                self.announce(client);
            }
        }
    }

    async fn answer(&mut self, state: &mut CollectAdverts, client: ClientId, message: NodeMessage) {
        match message {
            NodeMessage::Accept { round, attempt }
                if self.is_now(round, attempt)
                    && self.members.standing(client) == Some(Standing::Asked) =>
            {
                self.members.stands(client, Standing::Accepted);
                let selected = CoordinatorMessage::Selected { round, attempt };
                self.lobby.send(client, selected);
            }
            NodeMessage::Decline {
                round,
                attempt,
                reason,
            } if self.is_now(round, attempt) => self.declined_by(state, client, &reason),
            NodeMessage::Secagg {
                round,
                attempt,
                phase,
                body,
            } if self.is_now(round, attempt) => {
                if phase == Phase::AdvertiseKeys {
                    self.advert(state, client, &body).await;
                } else {
                    let reason = format!("a message of {phase} before the roster");
                    state.drop_client(client);
                    self.expel(client, CloseCode::UnexpectedMessage, &reason);
                }
            }
            // Of an earlier attempt, and too late.
            _ => {}
        }
    }

    fn declined_by(&mut self, state: &mut CollectAdverts, client: ClientId, why: &DeclineReason) {
        let Some(Standing::Asked | Standing::Accepted) = self.members.standing(client) else {
            return;
        };
        let standing = match why {
            DeclineReason::Busy => Standing::Busy,
            _ => Standing::Declined,
        };
        self.members.stands(client, standing);
        state.drop_client(client);
        let Number { round, attempt } = self.number();
        self.environment.events.event(
            "declined",
            json!({
                "round": round,
                "attempt": attempt,
                "client": client.to_string(),
                "name": self.members.name(client),
                "reason": why.to_string(),
            }),
        );
    }

    async fn advert(&mut self, state: &mut CollectAdverts, client: ClientId, body: &[u8]) {
        if self.phase == Phase::Train {
            self.closed(0);
            self.open(Phase::AdvertiseKeys).await;
        }
        match self.members.standing(client) {
            Some(Standing::Asked | Standing::Accepted) => {}
            Some(Standing::Advertised | Standing::Lost) => return,
            Some(Standing::Declined | Standing::Busy) | None => {
                let reason = "an advert of a node that does not take part";
                return self.expel(client, CloseCode::UnexpectedMessage, reason);
            }
        }
        let advert = match Advert::decode(body, self.session()) {
            Ok(advert) => advert,
            Err(error) => {
                state.drop_client(client);
                let reason = format!("its advert does not decode: {error}");
                return self.expel(client, CloseCode::MalformedFrame, &reason);
            }
        };
        match state.receive(client, advert) {
            Ok(()) => self.members.stands(client, Standing::Advertised),
            Err(rejection) if rejection.reason == RejectionReason::Duplicate => {}
            Err(rejection) => {
                state.drop_client(client);
                self.reject(client, &rejection.to_string());
            }
        }
    }

    fn roster(&mut self, state: CollectAdverts) -> Result<CollectShares, Failure> {
        let tally = state.tally();
        let late: Vec<ClientId> = self
            .members
            .with(Standing::Asked)
            .chain(self.members.with(Standing::Accepted))
            .collect();
        for client in late {
            self.members
                .lose(client, self.phase, "it did not advertise its keys in time");
        }
        self.closed(tally.have);
        if tally.have < tally.needed {
            let declined =
                self.members.count(Standing::Declined) + self.members.count(Standing::Busy);
            return Err(self.abandoned(format!(
                "{} of {} nodes advertised their keys, {} are needed ({declined} declined)",
                tally.have,
                self.members.len(),
                tally.needed
            )));
        }
        let n = u32::try_from(tally.have).unwrap_or(u32::MAX);
        let choice = self.environment.config.cohort.choose(n);
        let choice = choice.map_err(|error| self.abandoned(error))?;
        state
            .close(choice.degree(), choice.threshold())
            .map_err(|abort| self.abandoned(abort))
    }
}
