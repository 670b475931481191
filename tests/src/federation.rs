//! A coordinator and a swarm of clients, ready for rounds.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use secagg::{Parameters, Session};
use secagg_learning::{Plan, RoundKind, UpdateCodec};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    coordinator::Coordinator,
    deadline::Deadline,
    events::{Event, Events},
    model,
    swarm::{Options, Swarm, authority_pin},
};

/// A coordinator and a swarm in a temporary folder.
#[derive(Debug)]
pub struct Federation {
    /// The coordinator.
    pub coordinator: Coordinator,
    /// The clients.
    pub swarm: Swarm,
    events: Events,
    options: Options,
    deadline: Deadline,
    folder: TempDir,
}

/// Weights of the model.
pub const PARAMETERS: usize = 1000;

/// Weights of a model whose masked vectors are longer than what a receiver buffers that does not
/// read: only then does a sender always hear that its upload was stopped.
pub const MANY_PARAMETERS: usize = 80_000;

impl Federation {
    /// A coordinator that runs, and `clients` enrolled clients that do not take part yet.
    ///
    /// The settings are those of [`QUICK`] for exactly `clients` clients, and then `settings`.
    /// `pauses` are the coordinator's, ROUND:PHASE.
    ///
    /// # Errors
    /// When anything of it fails.
    pub fn new(
        clients: usize,
        options: Options,
        settings: &[(&str, &str)],
        pauses: &[&str],
    ) -> Result<Self> {
        Self::with_model(PARAMETERS, clients, options, settings, pauses)
    }

    /// The same with a model of another size.
    ///
    /// # Errors
    /// When anything of it fails.
    pub fn with_model(
        parameters: usize,
        clients: usize,
        options: Options,
        settings: &[(&str, &str)],
        pauses: &[&str],
    ) -> Result<Self> {
        let deadline = Deadline::of_a_test();
        let folder = tempfile::tempdir()?;
        let files = folder.path().join("model-files");
        model::write(&files, parameters)?;
        let count = clients.to_string();
        let mut all = QUICK.to_vec();
        all.extend([("cohort.max_clients", count.as_str())]);
        all.extend(settings);
        let mut coordinator =
            Coordinator::init(folder.path(), &files, authority_pin(), &all, deadline)?;
        let tokens = coordinator.tokens(clients)?;
        let address = coordinator.start(pauses)?;
        let log = folder.path().join("swarm.jsonl");
        let swarm =
            Swarm::enrol(address, &tokens, &log, &options).with_context(|| coordinator.text())?;
        Ok(Self {
            coordinator,
            swarm,
            events: Events::follow(&log),
            options,
            deadline,
            folder,
        })
    }

    /// The folder with everything.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The time limit.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Waits for an event of a client, past ones included.
    ///
    /// # Errors
    /// When the time is up, with all events of both sides.
    pub fn wait(
        &mut self,
        client: usize,
        event: &str,
        mut fits: impl FnMut(&Event) -> bool,
    ) -> Result<Event> {
        let name = self.swarm.name(client).to_owned();
        let coordinator = &mut self.coordinator;
        let waited = self.events.wait(
            &self.deadline,
            // What it still had to say to the clients arrives a moment later.
            || coordinator.has_not_ended_for(Duration::from_secs(5)),
            event,
            |event| event["name"] == name && fits(event),
        );
        waited.with_context(|| {
            // Read once more, so that the text has the end.
            let _ = self.coordinator.events().all();
            format!("of {name}\n{}", self.coordinator.text())
        })
    }

    /// Waits until a round is complete, at both sides where the client is there.
    ///
    /// # Errors
    /// When the time is up, with all events of both sides.
    pub fn round_complete(&mut self, round: u64) -> Result<Event> {
        let complete = self.coordinator.round_complete(round);
        complete.with_context(|| {
            let _ = self.events.all();
            self.events.text()
        })
    }

    /// Who was lost in a phase of a round, with the reason, as the coordinator says.
    ///
    /// # Errors
    /// When it does not say so.
    pub fn lost(&mut self, round: u64, phase: &str) -> Result<Vec<(String, String)>> {
        let event = self.coordinator.wait("phase", |event| {
            event["round"] == round && event["phase"] == phase
        })?;
        let lost = event["lost"].as_array().context("no list of those lost")?;
        let text = |value: &Value| value.as_str().unwrap_or("not a text").to_owned();
        let lost = lost
            .iter()
            .map(|lost| (text(&lost["name"]), text(&lost["reason"])));
        Ok(lost.collect())
    }

    /// The names of those lost in a phase of a round.
    ///
    /// # Errors
    /// See [`lost`](Self::lost).
    pub fn lost_names(&mut self, round: u64, phase: &str) -> Result<Vec<String>> {
        let lost = self.lost(round, phase)?;
        Ok(lost.into_iter().map(|(name, _)| name).collect())
    }

    /// Waits until a client's round is over, and returns what became of it.
    ///
    /// # Errors
    /// See [`wait`](Self::wait).
    pub fn round_end(&mut self, client: usize, round: u64) -> Result<String> {
        let end = self.wait(client, "round_end", |event| event["round"] == round)?;
        Ok(end["result"].as_str().context("no result")?.to_owned())
    }

    /// The events of the swarm.
    pub fn events(&mut self) -> &mut Events {
        &mut self.events
    }

    /// Holds the weights after a round against the plain weighted mean of the updates of exactly
    /// these clients, within the codec's bound, and the coordinator's figures against their sums.
    ///
    /// # Errors
    /// Where they differ.
    pub fn check_sum(&mut self, round: u64, contributors: &[usize]) -> Result<()> {
        let complete = self.round_complete(round)?;
        ensure!(
            complete["contributors"] == contributors.len(),
            "{complete}: not {} contributors",
            contributors.len()
        );
        let updates = self.options.updates;
        let plan = self.plan(round)?;
        let totals = updates.totals(contributors, round, plan.kind())?;
        let number = |value: &Value| value.as_f64().context("not a number");
        let close = |found: f64, expected: f64| (found - expected).abs() <= 1e-9 * expected.abs();
        let validation = totals.validation().context("no validation")?;
        let found = &complete["validation"];
        ensure!(found["tokens"] == validation.tokens, "{complete}");
        for (name, expected) in [
            ("loss", validation.loss),
            ("perplexity", validation.perplexity),
            ("top1", validation.top1),
            ("top3", validation.top3),
        ] {
            let found = number(&found[name])?;
            ensure!(close(found, expected), "{name}: {found}, not {expected}");
        }
        if plan.kind() == RoundKind::EvaluateOnly {
            return Ok(());
        }
        let loss = totals.train_loss().context("no training")?;
        ensure!(close(number(&complete["train_loss"])?, loss), "{complete}");

        let before = self.coordinator.weights(round - 1)?;
        let after = self.coordinator.weights(round)?;
        for (name, tensor) in &before {
            let shape = after.get(name).map(|tensor| &tensor.shape);
            ensure!(shape == Some(&tensor.shape), "the shape of {name} changed");
        }
        ensure!(before.len() == after.len(), "another number of tensors");
        let mean = updates.mean(&plan, contributors, round)?;
        let weight = totals.value(secagg_learning::Counter::Weight);
        let bound = UpdateCodec::new(&plan).error_bound(u32::try_from(contributors.len())?, weight);
        let (before, after) = (model::flat(&before), model::flat(&after));
        ensure!(after.len() == mean.len(), "{} weights", after.len());
        for (index, ((before, after), mean)) in before.iter().zip(&after).zip(&mean).enumerate() {
            let expected = f64::from(*before) + mean;
            // The weights themselves are f32.
            let slack = bound + expected.abs() * f64::from(f32::EPSILON);
            ensure!(
                (f64::from(*after) - expected).abs() <= slack,
                "weight {index} after round {round} is {after}, not {expected} within {slack}"
            );
        }
        // The bound must tell the sum of one client less apart, or this shows nothing.
        ensure!(
            bound < f64::from(updates.scale) / 10.0,
            "a bound of {bound}"
        );
        Ok(())
    }

    /// By how much a round moved each weight, one after the other.
    ///
    /// # Errors
    /// When the weights of one of the two rounds are missing.
    pub fn moved(&self, round: u64) -> Result<Vec<f64>> {
        let before = model::flat(&self.coordinator.weights(round - 1)?);
        let after = model::flat(&self.coordinator.weights(round)?);
        let moved = before.iter().zip(&after);
        Ok(moved
            .map(|(before, after)| f64::from(*after) - f64::from(*before))
            .collect())
    }

    /// The session of a round, as its clients have it.
    ///
    /// # Errors
    /// When no client has had one.
    pub fn session(&mut self, round: u64) -> Result<Session> {
        let sessions = self.events.named("session")?;
        let session = sessions.iter().find(|event| event["round"] == round);
        let session = session.context("no client has had a session in this round")?;
        let bytes =
            |name: &str| -> Result<[u8; 32]> { Ok(serde_json::from_value(session[name].clone())?) };
        let parameters: Vec<u8> = serde_json::from_value(session["parameters"].clone())?;
        let context = secagg::Context {
            round,
            nonce: bytes("nonce")?,
            model_digest: bytes("model_digest")?,
            plan_digest: bytes("plan_digest")?,
        };
        Ok(Session::new(Parameters::decode(&parameters)?, context))
    }

    /// The plan of a round, as its clients were told.
    ///
    /// # Errors
    /// When no client was.
    pub fn plan(&mut self, round: u64) -> Result<Plan> {
        let announced = self.events.named("announced")?;
        let announced = announced.iter().find(|event| event["round"] == round);
        let plan = &announced.context("no client has seen this round")?["plan"];
        Ok(serde_json::from_value(plan.clone())?)
    }
}

/// Settings for tests: a round starts when everybody is there, and waits seconds at most for
/// whoever does not answer.
pub const QUICK: [(&str, &str); 29] = [
    ("network.idle_seconds", "6.0"),
    ("network.keep_alive_seconds", "0.5"),
    // What does not depend on the threat model is tried in the one with fewer phases.
    ("cohort.threat_model", "\"honest-but-curious\""),
    ("cohort.min_clients", "3"),
    ("cohort.corrupt_fraction", "0.0"),
    ("cohort.dropout_fraction", "0.0"),
    ("rounds.rounds", "2"),
    ("rounds.patience", "0"),
    ("rounds.wait_seconds", "60.0"),
    ("rounds.gather_seconds", "30.0"),
    ("deadlines.answer_seconds", "2.0"),
    ("deadlines.train.min_seconds", "5.0"),
    ("deadlines.train.max_seconds", "30.0"),
    ("deadlines.train.min_fraction", "0.0"),
    ("deadlines.share_keys.min_seconds", "5.0"),
    ("deadlines.share_keys.max_seconds", "30.0"),
    ("deadlines.share_keys.min_fraction", "0.0"),
    ("deadlines.masked_input.min_seconds", "5.0"),
    ("deadlines.masked_input.max_seconds", "30.0"),
    ("deadlines.masked_input.min_fraction", "0.0"),
    ("deadlines.consistency_check.min_seconds", "5.0"),
    ("deadlines.consistency_check.max_seconds", "30.0"),
    ("deadlines.consistency_check.min_fraction", "0.0"),
    ("deadlines.unmask.min_seconds", "5.0"),
    ("deadlines.unmask.max_seconds", "30.0"),
    ("deadlines.unmask.min_fraction", "0.0"),
    ("uploads.stall_seconds", "2.0"),
    ("update.range", "0.02"),
    ("update.weight_cap", "20"),
];
