//! The rounds, one after the other.

mod folder;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use secagg::{Choice, Context, MIN_COHORT, Parameters, Session, Traffic, Vector};
use secagg_learning::{
    Counter, Counters, DecodedSum, Parts, Plan, Residual, RoundFigure, ServerStep, StopReason,
    UpdateCodec, best_round, pruning::sparsity,
};

use self::folder::BEST_FILE;
pub use self::folder::RESULTS_FILE;
use super::SimulateError;
use super::clock::CpuTime;
use super::experiment::Experiment;
use super::identity::digest;
use super::people::Places;
use super::randomness::{Purpose, rng, sample, seed, unit};
use super::results::{Header, Log, RoundLine, Seconds, ValidationLine};
use super::secure::{Protocol, Spent};
use super::state::State;
use super::work::{Clients, Update};

/// An experiment that is carried out, from its beginning or from where it was interrupted.
#[derive(Debug)]
pub struct Simulation {
    experiment: Experiment,
    out: PathBuf,
    header: Header,
    clients: Clients,
    plan: Plan,
    parameters: Parameters,
    choice: Choice,
    protocol: Protocol,
    state: State,
    /// The state's weights as clients receive them.
    received: Vec<f32>,
    log: Log,
    /// Whether the line of round 0 is still to be written.
    fresh: bool,
}

/// What happens while a simulation runs.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// One more client of a round has trained.
    Client {
        /// The round.
        round: u32,
        /// How many clients have.
        done: u32,
    },
    /// A round is over.
    Round(&'a RoundLine),
}

/// How a simulation ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finished {
    /// Rounds that are done.
    pub rounds: u32,
    /// Why there are no more.
    pub reason: StopReason,
    /// The round with the lowest validation loss; 0 for the initial weights.
    pub best_round: Option<u32>,
}

impl Finished {
    /// How it ended, in words.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self.reason {
            StopReason::RoundsDone { rounds } => format!("all {rounds} rounds are done"),
            StopReason::NoImprovement {
                best_round,
                rounds_since,
            } => format!(
                "validation has not improved in {rounds_since} evaluations since round {best_round}"
            ),
        }
    }
}

impl Simulation {
    /// Reads model and data, and what an earlier run left in the folder `out`, which is made when
    /// it is missing. With `restart`, what is there is removed.
    ///
    /// # Errors
    /// [`SimulateError`] that says what is wrong; where `out` holds the results of another
    /// experiment, [`SimulateError::OtherExperiment`].
    pub fn open(
        experiment: Experiment,
        name: &str,
        places: Places<'_>,
        out: &Path,
        restart: bool,
    ) -> Result<Self, SimulateError> {
        let max_words = experiment.plan(1, Parts::ALL)?.training().max_words;
        let source = &experiment.source;
        let (clients, initial) = Clients::open(source, max_words, experiment.seed, places)?;
        let cohort = experiment.cohort;
        if cohort.clients > clients.count() {
            return Err(SimulateError::TooFewClients {
                cohort: cohort.clients,
                clients: clients.count(),
            });
        }
        let parameters = u32::try_from(initial.len()).unwrap_or(u32::MAX);
        let parts = clients.parts(&experiment.tensors()?)?;
        if experiment.rounds.pruning.is_some() && clients.shapes().iter().all(|all| all.len() < 2) {
            return Err(SimulateError::NoMatrices);
        }
        let plan = experiment.plan(parameters, parts)?;
        let choice = cohort.choose()?;
        let parameters = Parameters::new(
            cohort.threat_model,
            cohort.graph,
            MIN_COHORT..=cohort.clients,
            plan.layout(),
        )?;
        let header = Header {
            experiment: name.to_owned(),
            digest: digest(&experiment, &plan, &clients, &initial)?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            parameters: plan.update().parameters,
            clients: clients.count(),
            messages: clients.messages(),
            cohort: cohort.clients,
            degree: choice.degree(),
            threshold: choice.threshold(),
            modulus_bits: plan.modulus_bits(),
            secure_aggregation: cohort.secure_aggregation,
        };
        fs::create_dir_all(out).map_err(|error| SimulateError::file(out, error))?;
        if restart {
            folder::clear(out)?;
        }
        let (log, saved) = folder::resume(out, &header, &plan)?;
        let fresh = saved.is_none();
        let state = match saved {
            Some(state) => state,
            None => State::new(initial, plan.server())?,
        };
        let mut received = state.weights.clone();
        clients.receive(experiment.rounds.weights_down, &mut received);
        Ok(Self {
            protocol: Protocol::new(experiment.seed, cohort.threat_model, &choice),
            experiment,
            out: out.to_owned(),
            header,
            clients,
            plan,
            parameters,
            choice,
            state,
            received,
            log,
            fresh,
        })
    }

    /// What is run.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Rounds that are done.
    #[must_use]
    pub fn completed(&self) -> u32 {
        self.state.round
    }

    /// Runs rounds until the stopping rule ends it. `observer` can end it too, as a kill would:
    /// nothing is saved then that was not saved before.
    ///
    /// # Errors
    /// [`SimulateError`]; up to the last saved round everything is kept.
    pub fn run(
        &mut self,
        observer: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Finished, SimulateError> {
        if self.fresh {
            let line = self.initial()?;
            self.fresh = false;
            self.finish_round(&line, observer)?;
        }
        loop {
            let stopping = self.experiment.rounds.stopping;
            if let Some(reason) = stopping.decide(self.state.round, &self.state.figures) {
                // A state of before its last rounds was raised may not have been saved.
                self.save()?;
                return Ok(Finished {
                    rounds: self.state.round,
                    reason,
                    best_round: best_round(&self.state.figures),
                });
            }
            let line = self.round(observer)?;
            self.finish_round(&line, observer)?;
        }
    }

    /// Round 0: the initial weights.
    fn initial(&mut self) -> Result<RoundLine, SimulateError> {
        let (started, worked) = (Instant::now(), CpuTime::now());
        let mut seconds = Seconds::default();
        let validation = self.evaluate(&mut seconds)?;
        seconds.cpu = worked.seconds();
        seconds.clock = started.elapsed().as_secs_f64();
        Ok(RoundLine {
            round: 0,
            cohort: 0,
            survivors: 0,
            abandoned: false,
            train_loss: None,
            train_tokens: 0,
            weight: 0,
            validation,
            sparsity: self.sparsity(),
            bytes_up: 0,
            bytes_down: 0,
            whole: 0,
            seconds,
        })
    }

    fn round(
        &mut self,
        observer: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<RoundLine, SimulateError> {
        let (started, worked) = (Instant::now(), CpuTime::now());
        let round = self.state.round + 1;
        let (experiment, cohort) = (self.experiment.seed, self.experiment.cohort);
        let sampling = &mut rng(experiment, Purpose::Sampling, round, 0);
        let sampled = sample(sampling, self.clients.count(), cohort.clients);
        let is_lost = |client: &u32| {
            unit(&mut rng(experiment, Purpose::Dropout, round, *client)) < cohort.dropout
        };
        let lost: BTreeSet<u32> = sampled.iter().copied().filter(is_lost).collect();
        let survivors = cohort.clients - u32::try_from(lost.len()).unwrap_or(u32::MAX);
        let abandoned = lost.len() > self.choice.max_dropped() as usize || survivors < MIN_COHORT;

        let session = self.session(round);
        let weights_down = self.bytes_down();
        let mut seconds = Seconds::default();
        let mut holdings = self.state.holdings.clone();
        let download = holdings.download(
            &sampled,
            &self.plan,
            &self.state.optimizer,
            weights_down,
            self.experiment.keep_steps()?,
        );
        let counters = if abandoned {
            Counters::new()
        } else {
            let mut residuals = BTreeMap::new();
            let mut keep = |client, residual| drop(residuals.insert(client, residual));
            let (sum, spent) =
                self.sum(&session, &sampled, &lost, &mut keep, &mut seconds, observer)?;
            // Only now, for a round that is stopped is repeated.
            self.state.residuals.append(&mut residuals);
            seconds.client_cryptography = spent.clients;
            seconds.server_cryptography = spent.server;
            let decoded = self.apply(&session, &sum, survivors, &mut seconds)?;
            if decoded.falls.is_some() {
                holdings.step();
            }
            decoded.counters
        };
        self.state.holdings = holdings;
        self.state.round = round;
        let rounds = self.experiment.rounds;
        let is_last = round >= rounds.stopping.max_rounds;
        let validation = if is_last || round.is_multiple_of(rounds.evaluate_every) {
            self.evaluate(&mut seconds)?
        } else {
            None
        };
        let (degree, threshold) = (self.choice.degree(), self.choice.threshold());
        let traffic = Traffic::new(&session, cohort.clients, degree, threshold);
        seconds.cpu = worked.seconds();
        seconds.clock = started.elapsed().as_secs_f64();
        Ok(RoundLine {
            round,
            cohort: cohort.clients,
            survivors,
            abandoned,
            train_loss: counters.train_loss(),
            train_tokens: counters.value(Counter::TrainTokens),
            weight: counters.value(Counter::Weight),
            validation,
            sparsity: self.sparsity(),
            bytes_up: traffic.up(),
            bytes_down: traffic.down() + download.bytes,
            whole: download.whole,
            seconds,
        })
    }

    /// The ring's sum of the updates of those who are not lost. Who is lost trains as well in a real
    /// round; here that is saved, for nothing of it is left.
    fn sum(
        &mut self,
        session: &Session,
        sampled: &[u32],
        lost: &BTreeSet<u32>,
        keep: &mut dyn FnMut(u32, Residual),
        seconds: &mut Seconds,
        observer: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(Vector, Spent), SimulateError> {
        let (experiment, round) = (self.experiment.seed, self.state.round + 1);
        let (clients, plan) = (&mut self.clients, &self.plan);
        let (weights, residuals) = (&self.received, &self.state.residuals);
        let codec = UpdateCodec::new(plan);
        let mut done = 0;
        let mut input = |client: u32, seconds: &mut Seconds| {
            let start = CpuTime::now();
            let update = clients.update(experiment, session, client, weights, plan)?;
            let trained = CpuTime::now();
            let Update { delta, counters } = update;
            let mut rounding = rng(experiment, Purpose::Rounding, round, client);
            let residual = residuals.get(&client);
            let encoded =
                codec.encode_with_feedback(session, &delta, residual, &counters, &mut rounding)?;
            if let Some(residual) = encoded.residual {
                keep(client, residual);
            }
            seconds.training += trained.since(start);
            seconds.codec += trained.seconds();
            done += 1;
            match observer(Event::Client { round, done }) {
                ControlFlow::Continue(()) => Ok(encoded.input),
                ControlFlow::Break(()) => Err(SimulateError::Stopped),
            }
        };
        if self.experiment.cohort.secure_aggregation {
            let mut input = |client| input(client, seconds);
            return self.protocol.sum(session, round, sampled, lost, &mut input);
        }
        let mut sum = Vector::zero(session.layout());
        for &client in sampled.iter().filter(|client| !lost.contains(client)) {
            let vector = input(client, seconds)?;
            let start = CpuTime::now();
            sum.add(&vector)?;
            seconds.codec += start.seconds();
        }
        Ok((sum, Spent::default()))
    }

    /// As the coordinator does: decodes the sum, and lets the server's optimiser make its step. The mean
    /// update is used up by it.
    fn apply(
        &mut self,
        session: &Session,
        sum: &Vector,
        contributors: u32,
        seconds: &mut Seconds,
    ) -> Result<DecodedSum, SimulateError> {
        let start = CpuTime::now();
        let mut decoded = UpdateCodec::new(&self.plan).decode(session, sum, contributors)?;
        let opened = CpuTime::now();
        let step = session.context().round;
        if let Some(delta) = decoded.mean_delta.take() {
            let State {
                optimizer, weights, ..
            } = &mut self.state;
            let step = ServerStep {
                round: step,
                factor: self.plan.server_schedule().factor(step),
                parts: &self.plan.update().parts,
                pruning: self.experiment.rounds.pruning.as_ref(),
            };
            let shapes = self.clients.shapes();
            step.apply(shapes.iter().map(Vec::as_slice), optimizer, weights, delta)?;
            self.received.clone_from(weights);
            let down = self.experiment.rounds.weights_down;
            self.clients.receive(down, &mut self.received);
        }
        seconds.codec += opened.since(start);
        seconds.optimizer += opened.seconds();
        Ok(decoded)
    }

    /// Bytes of the present weights on their way down to a client.
    fn bytes_down(&self) -> u64 {
        let rounds = self.experiment.rounds;
        if rounds.pruning.is_none() {
            return self.clients.bytes_down(rounds.weights_down);
        }
        let shapes = self.clients.shapes();
        let shapes = shapes.iter().map(Vec::as_slice);
        rounds
            .weights_down
            .pruned_bytes(shapes, &self.state.weights)
    }

    /// The share of the weights that is zero, where they are pruned.
    fn sparsity(&self) -> Option<f64> {
        let shapes = self
            .experiment
            .rounds
            .pruning
            .map(|_| self.clients.shapes())?;
        let shapes = shapes.iter().map(Vec::as_slice);
        Some(sparsity(shapes, &self.state.weights))
    }

    /// Evaluates the weights that clients receive and notes their figure, as a coordinator does.
    fn evaluate(&mut self, seconds: &mut Seconds) -> Result<Option<ValidationLine>, SimulateError> {
        let start = CpuTime::now();
        let Some(evaluation) = self.clients.evaluate(&self.received)? else {
            return Ok(None);
        };
        seconds.evaluation += start.seconds();
        let line = ValidationLine::from(evaluation);
        self.state.figures.push(RoundFigure {
            round: self.state.round,
            validation_loss: line.loss,
        });
        Ok(Some(line))
    }

    fn finish_round(
        &mut self,
        line: &RoundLine,
        observer: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), SimulateError> {
        self.log.append(line)?;
        let is_best =
            line.validation.is_some() && best_round(&self.state.figures) == Some(line.round);
        if is_best {
            self.write_weights(BEST_FILE)?;
        }
        self.keep(line.round)?;
        let rounds = self.experiment.rounds;
        let is_last = line.round >= rounds.stopping.max_rounds;
        if is_best || is_last || line.round.is_multiple_of(rounds.save_every) {
            self.save()?;
        }
        match observer(Event::Round(line)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(SimulateError::Stopped),
        }
    }

    fn session(&self, round: u32) -> Session {
        let context = Context {
            round: round.into(),
            nonce: seed(self.experiment.seed, Purpose::Nonce, round, 0),
            // Nobody shows anybody another model here.
            model_digest: [0; 32],
            plan_digest: [0; 32],
        };
        Session::new(self.parameters.clone(), context)
    }
}

#[cfg(test)]
mod tests;
