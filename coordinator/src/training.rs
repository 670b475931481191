//! The rounds, one after the other, until the stopping rule ends them.

mod apply;
mod choose;
mod commit;
mod report;

use std::{collections::BTreeSet, sync::Arc};

use secagg::{ClientId, Context, Parameters, Session};
use secagg_learning::{Plan, RoundKind, StopReason};
use secagg_wire::{
    digest::{model_digest, plan_digest},
    message::CoordinatorMessage,
    phase::Phase,
    plan::encode_plan,
    text::Opaque,
};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Duration, Instant},
};

use self::{
    apply::{Applied, Summed, apply},
    commit::{commit, participants, summary},
};
use crate::{
    following::{Offer, StepLog},
    model::{Model, ModelFile},
    pause::Moment,
    round::{Announcement, Attempt, Environment, Failure},
    server::{FileSet, Former, Lobby},
    store::{
        Attempt as Number, Completed, Figures, KeptStep, Round, StoreError, Weights, WeightsFolder,
        history, unix_now,
    },
};

/// Runs rounds. One task owns it.
pub(crate) struct Training {
    pub(crate) lobby: Lobby,
    pub(crate) environment: Environment,
    pub(crate) model: Arc<Model>,
    pub(crate) folder: WeightsFolder,
    /// What the next round starts from.
    pub(crate) weights: Weights,
    /// The same as nodes get them.
    pub(crate) down: ModelFile,
    /// With evolution strategies, what moves nodes to these weights.
    pub(crate) log: Option<StepLog>,
    /// The completed rounds.
    pub(crate) rounds: Vec<Round>,
    pub(crate) files: watch::Sender<Arc<FileSet>>,
    /// The seed of selection.
    pub(crate) seed: [u8; 32],
    /// What was announced last.
    pub(crate) former: Option<Former>,
    /// Whether a round has begun in this process.
    pub(crate) begun: bool,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Training rounds that are complete.
    pub rounds: u32,
    /// Why there are no more.
    pub reason: String,
    /// The round with the best validation loss; 0 for the initial weights.
    pub best_round: Option<u32>,
}

/// Why a run ended before training was over.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It was asked to end.
    #[error("stopped; weights and history up to the last complete round are kept")]
    Stopped,
    /// Too few nodes.
    #[error(
        "round {round}: {eligible} nodes can take part, {needed} are needed, and no more came \
         within {seconds} seconds; enrol nodes, start them, or lower cohort.min_clients"
    )]
    TooFewNodes {
        /// The round.
        round: u64,
        /// Nodes that could take part.
        eligible: usize,
        /// The smallest cohort.
        needed: usize,
        /// How long it waited.
        seconds: u64,
    },
    /// A round failed too often.
    #[error(
        "round {round} was abandoned {attempts} times, the last time in {phase}: {reason}; the \
         weights of the rounds before are kept, `run` goes on from there"
    )]
    Attempts {
        /// The round.
        round: u64,
        /// Attempts in this run.
        attempts: u32,
        /// The phase of the last failure.
        phase: String,
        /// Its reason.
        reason: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something that the checks at the start rule out.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Training {
    /// Trains until the stopping rule ends it, then has the last weights evaluated.
    pub(crate) async fn run(&mut self) -> Result<Finished, RunError> {
        loop {
            let completed = self.completed();
            let figures = history::validation_by_weights(&self.rounds);
            let stopping = self.environment.config.rounds.stopping;
            let Some(reason) = stopping.decide(completed, &figures) else {
                self.round(RoundKind::Train).await?;
                continue;
            };
            if self.last_kind() == Some(RoundKind::Train) {
                match self.round(RoundKind::EvaluateOnly).await {
                    Ok(()) => {}
                    // The weights are complete; only their figures are missing.
                    Err(error @ (RunError::TooFewNodes { .. } | RunError::Attempts { .. })) => {
                        let line = format!("the final weights were not evaluated: {error}");
                        self.environment.progress.line(&line);
                    }
                    Err(error) => return Err(error),
                }
            }
            let figures = history::validation_by_weights(&self.rounds);
            return Ok(Finished {
                rounds: completed,
                reason: sentence(reason),
                best_round: secagg_learning::best_round(&figures),
            });
        }
    }

    fn completed(&self) -> u32 {
        let train = |round: &&Round| round.completed.kind == RoundKind::Train;
        u32::try_from(self.rounds.iter().filter(train).count()).unwrap_or(u32::MAX)
    }

    fn last_kind(&self) -> Option<RoundKind> {
        self.rounds.last().map(|round| round.completed.kind)
    }

    /// Attempts at one round until one succeeds.
    async fn round(&mut self, kind: RoundKind) -> Result<(), RunError> {
        let round = self.rounds.last().map_or(0, |last| last.completed.round) + 1;
        let max_attempts = self.environment.config.rounds.max_attempts;
        let mut excluded = BTreeSet::new();
        let mut tried = 0;
        loop {
            self.wait_for_nodes(round, &excluded).await?;
            tried += 1;
            let (number, failure) = match self.attempt(round, kind, &mut excluded).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            let (phase, reason) = match failure {
                Failure::Abandoned { phase, reason } => (phase.as_str(), reason),
                Failure::Store(error) => return Err(error.into()),
                Failure::Shutdown => ("", "the coordinator was stopped".to_owned()),
            };
            self.abandoned(number, phase, &reason).await?;
            if phase.is_empty() {
                return Err(RunError::Stopped);
            }
            if tried >= max_attempts {
                return Err(RunError::Attempts {
                    round,
                    attempts: tried,
                    phase: phase.to_owned(),
                    reason,
                });
            }
            if phase == Phase::Train.as_str() {
                // Nobody trained: nodes that were busy need a moment, unless another one comes.
                let moment = Duration::from_secs(1 << tried.min(5));
                self.join_or_leave(Instant::now() + moment).await?;
            }
        }
    }

    async fn abandoned(&self, number: Number, phase: &str, reason: &str) -> Result<(), StoreError> {
        let Number { round, attempt } = number;
        self.environment.events.event(
            "round_abandoned",
            json!({ "round": round, "attempt": attempt, "phase": phase, "reason": reason }),
        );
        self.environment.progress.round_done(&format!(
            "round {round}, attempt {attempt}: abandoned in {phase}: {reason}"
        ));
        let (phase, reason) = (phase.to_owned(), reason.to_owned());
        self.environment
            .store
            .with(move |store| store.abandon_attempt(number, &phase, &reason))
            .await
    }

    /// One attempt, up to the commit.
    async fn attempt(
        &mut self,
        round: u64,
        kind: RoundKind,
        excluded: &mut BTreeSet<ClientId>,
    ) -> Result<(), (Number, Failure)> {
        let nowhere = Number { round, attempt: 0 };
        let store = self.environment.store.clone();
        let number = store
            .with(move |store| store.begin_attempt(round, kind, unix_now()))
            .await
            .map_err(|error| (nowhere, error.into()))?;
        let (chosen, substitutes) = self
            .choose(round, excluded)
            .await
            .map_err(|error| (number, error.into()))?;
        let offer = self.log.as_ref().and_then(StepLog::offer);
        let (plan, announcement) = self
            .announcement(number, kind, offer.as_ref())
            .map_err(|error| (number, error))?;
        self.begin(number, kind, chosen.len(), offer.as_ref());
        let session = announcement.session.clone();
        // From the history, so that a restart changes nothing.
        let step = u64::from(self.completed()) + 1;

        let mut attempt = Attempt::new(&mut self.lobby, &self.environment, announcement);
        let outcome = attempt.run(chosen, substitutes).await;
        excluded.extend(attempt.declined());
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(failure) => {
                attempt.abandon(&explain(&failure));
                return Err((number, failure));
            }
        };
        let wall_ms = attempt.elapsed().as_secs_f64() * 1e3;
        let traffic = attempt.traffic();
        let participants = participants(&outcome);
        let contributors = outcome.contributors.clone();

        let summed = Summed {
            plan: &plan,
            session: &session,
            step,
            down: self.environment.config.rounds.weights_down,
            pruning: self.environment.config.rounds.pruning.as_ref(),
        };
        // Other tasks move to other threads meanwhile.
        let applied =
            tokio::task::block_in_place(|| apply(&self.model, &mut self.weights, &summed, outcome));
        let Applied {
            file,
            down,
            sparsity,
            step,
            counters,
        } = match applied {
            Ok(applied) => applied,
            Err(failure) => {
                attempt.abandon(&explain(&failure));
                return Err((number, failure));
            }
        };
        let Environment { pauses, events, .. } = &self.environment;
        pauses.reached(events, round, Moment::Save).await;

        let figures = Figures {
            train_loss: counters.train_loss(),
            train_tokens: counters.value(secagg_learning::Counter::TrainTokens),
            weight: counters.value(secagg_learning::Counter::Weight),
            validation: counters.validation(),
        };
        let completed = Completed {
            round,
            attempt: number.attempt,
            kind,
            wall_ms,
            bytes_up: traffic.received,
            bytes_down: traffic.sent,
            figures,
            weights: file.as_ref().map(|file| file.digest.sha256),
            optimizer: None,
        };
        let summary = summary(&participants, &figures);
        let announced = attempt.announced();
        let step = step.zip(self.log.as_ref());
        let step = step.map(|(step, log)| {
            let plan = log.plan();
            KeptStep { plan, step }
        });
        let committed = commit(
            &self.environment,
            &self.folder,
            &mut self.weights,
            file,
            completed,
            participants,
            step.clone(),
        );
        match committed.await {
            Ok((rounds, state)) => {
                self.rounds = rounds;
                self.down = down.unwrap_or_else(|| self.down.clone());
                if let Some((log, KeptStep { step, .. })) = self.log.as_mut().zip(step) {
                    log.push(step, self.weights.file.digest, state);
                }
            }
            Err(error) => {
                attempt.abandon("the coordinator could not save the round");
                return Err((number, error.into()));
            }
        }
        attempt.complete(&contributors, summary);
        self.completed_round(announced, sparsity);
        Ok(())
    }

    fn announcement(
        &mut self,
        number: Number,
        kind: RoundKind,
        offer: Option<&Offer>,
    ) -> Result<(Plan, Announcement), Failure> {
        // The checks at the start have made the same plan and parameters.
        let internal = |error: &dyn std::fmt::Display| Failure::Abandoned {
            phase: Phase::Train,
            reason: error.to_string(),
        };
        let config = &self.environment.config;
        let plan = config
            .plan(kind, &self.model.shapes)
            .map_err(|error| internal(&error))?;
        let bytes = encode_plan(&plan).map_err(|error| internal(&error))?;
        let parameters = parameters(config, &plan).map_err(|error| internal(&error))?;
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|error| internal(&error))?;
        let weights = self.down.digest;
        let context = Context {
            round: number.round,
            nonce,
            model_digest: model_digest(
                &self.model.description.digest.sha256,
                &self.model.vocabulary.digest.sha256,
                &weights.sha256,
            ),
            plan_digest: plan_digest(&bytes),
        };
        let message = CoordinatorMessage::Announce {
            round: number.round,
            attempt: number.attempt,
            parameters: Opaque(parameters.encode()),
            nonce,
            plan: Opaque(bytes),
            weights,
            following: offer.map(|offer| offer.following),
        };
        let announcement = Announcement {
            number,
            session: Session::new(parameters, context),
            message,
        };
        Ok((plan, announcement))
    }

    fn begin(&mut self, number: Number, kind: RoundKind, selected: usize, offer: Option<&Offer>) {
        self.begun = true;
        let offered = offer.map_or(&[][..], |offer| &offer.files);
        let announced = || [&self.down].into_iter().chain(offered);
        let files = FileSet::of_model(&self.model);
        let files = self.lobby.lies.files(files, &self.weights.file);
        let files = files.with(announced()).after(self.former.take());
        let former = Former {
            files: announced().map(|file| file.digest.sha256).collect(),
            attempt: number,
        };
        self.files.send_replace(Arc::new(files));
        self.former = Some(former);
        let Number { round, attempt } = number;
        self.environment.progress.round(round, attempt);
        self.environment.events.event(
            "round_started",
            json!({
                "round": round,
                "attempt": attempt,
                "kind": history::kind_name(kind),
                "selected": selected,
                "steps": offer.map(|offer| offer.steps),
            }),
        );
    }
}

/// The parameters of every session under that plan.
pub(crate) fn parameters(
    config: &crate::config::Config,
    plan: &Plan,
) -> Result<Parameters, secagg::ParametersError> {
    Parameters::new(
        config.cohort.threat_model,
        config.cohort.graph,
        config.cohort.min_clients..=config.cohort.max_clients,
        plan.layout(),
    )
}

fn explain(failure: &Failure) -> String {
    match failure {
        Failure::Abandoned { reason, .. } => reason.clone(),
        Failure::Shutdown => "the coordinator is shutting down".to_owned(),
        Failure::Store(_) => "the coordinator's store failed".to_owned(),
    }
}

fn sentence(reason: StopReason) -> String {
    match reason {
        StopReason::RoundsDone { rounds } => format!("all {rounds} rounds are done"),
        StopReason::NoImprovement {
            best_round,
            rounds_since,
        } => format!(
            "validation has not improved for {rounds_since} rounds; the best round is {best_round}"
        ),
    }
}
