//! The file as written, before its values are checked.
//!
//! Whole numbers are read as i64, so that a negative or huge one is refused by the checks here,
//! with its key and range.

use secagg::{GraphKind, MAX_COHORT, MAX_SPARSE_COHORT, MIN_COHORT, ThreatModel};
use secagg_learning::{
    Evolution, Parts, Pruning, RoundKind, Schedule, ServerOptimizerConfig, StoppingRule, Strategy,
    WeightsDown,
};
use secagg_wire::{authority::AuthorityPin, endpoint::Timeouts, text::Name};
use serde::Deserialize;

use super::{
    Cohort, Config, ConfigError, DEFAULT_SERVER, Deadlines, Network, Rounds, Uploads,
    check::{deadline, fraction, seconds, seconds_or_none, whole},
};
use crate::retention::Retention;

macro_rules! table {
    ($(#[$meta:meta])* $Name:ident { $($field:ident: $Type:ty = $default:expr,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $Name { $($field: $Type,)* }

        impl Default for $Name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

mod learning;

use learning::{RawEvolution, RawTraining, RawUpdate};

table! {
    /// The whole file.
    File {
        federation: RawFederation = RawFederation::default(),
        network: RawNetwork = RawNetwork::default(),
        cohort: RawCohort = RawCohort::default(),
        rounds: RawRounds = RawRounds::default(),
        deadlines: RawDeadlines = RawDeadlines::default(),
        uploads: RawUploads = RawUploads::default(),
        update: RawUpdate = RawUpdate::default(),
        training: RawTraining = RawTraining::default(),
        evolution: RawEvolution = RawEvolution::default(),
        server: ServerOptimizerConfig = DEFAULT_SERVER,
        weights: RawWeights = RawWeights::default(),
    }
}

table! {
    RawFederation { name: String = "federation".to_owned(), authority: String = String::new(), }
}

table! {
    RawNetwork {
        listen: String = "127.0.0.1:4433".to_owned(),
        idle_seconds: f64 = 30.0,
        keep_alive_seconds: f64 = 8.0,
        handshake_seconds: f64 = 10.0,
        max_connections: i64 = 1024,
        handshakes_per_address: i64 = 128,
        frames_per_round: i64 = 64,
    }
}

table! {
    RawCohort {
        threat_model: RawThreatModel = RawThreatModel::Malicious,
        graph: RawGraph = RawGraph::Complete,
        min_clients: i64 = 5,
        max_clients: i64 = 100,
        corrupt_fraction: f64 = 0.1,
        dropout_fraction: f64 = 0.3,
        strategy: Strategy = Strategy::LeastRecent,
        max_participations: i64 = 0,
    }
}

table! {
    RawRounds {
        rounds: i64 = 10,
        patience: i64 = 3,
        min_delta: f64 = 0.0,
        server_schedule: Schedule = Schedule::Constant,
        weights_down: WeightsDown = WeightsDown::F32,
        pruning: Option<Pruning> = None,
        max_attempts: i64 = 5,
        wait_seconds: f64 = 600.0,
        gather_seconds: f64 = 3.0,
    }
}

table! {
    RawDeadlines {
        answer_seconds: f64 = 30.0,
        train: RawTrain = RawTrain::default(),
        share_keys: RawDeadline = RawDeadline::default(),
        masked_input: RawMaskedInput = RawMaskedInput::default(),
        consistency_check: RawDeadline = RawDeadline::default(),
        unmask: RawDeadline = RawDeadline::default(),
    }
}

/// `cohort.threat_model`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawThreatModel {
    HonestButCurious,
    Malicious,
}

/// `cohort.graph`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawGraph {
    Complete,
    Sparse,
}

table! {
    RawDeadline {
        min_seconds: f64 = 10.0,
        max_seconds: f64 = 60.0,
        min_fraction: f64 = 0.8,
    }
}

table! {
    RawTrain {
        min_seconds: f64 = 300.0,
        max_seconds: f64 = 1800.0,
        min_fraction: f64 = 0.8,
    }
}

table! {
    RawMaskedInput {
        min_seconds: f64 = 60.0,
        max_seconds: f64 = 600.0,
        min_fraction: f64 = 0.8,
    }
}

table! { RawUploads { max_buffered_uploads: i64 = 4, stall_seconds: f64 = 15.0, } }

table! { RawWeights { keep_last: i64 = 3, keep_every: i64 = 10, keep_best: bool = true, } }

impl File {
    pub(super) fn check(self) -> Result<Config, ConfigError> {
        let (federation, authority) = self.federation.check()?;
        let (evolution, keep_steps) = self.evolution.check()?;
        let config = Config {
            federation,
            authority,
            network: self.network.check()?,
            cohort: self.cohort.check()?,
            rounds: self.rounds.check()?,
            deadlines: self.deadlines.check()?,
            uploads: Uploads {
                max_buffered: whole(
                    "uploads.max_buffered_uploads",
                    self.uploads.max_buffered_uploads,
                    1..=1024,
                )? as usize,
                stall: seconds("uploads.stall_seconds", self.uploads.stall_seconds)?,
            },
            update: self.update.check()?,
            training: self.training.check()?,
            evolution,
            keep_steps,
            server: self.server,
            weights: self.weights.check()?,
        };
        // Whatever the model's size, the plan's own checks name a value that is out of range.
        config.plan_of(RoundKind::Train, 1, Parts::ALL)?;
        if let Some(Evolution { pairs, .. }) = config.evolution
            && config.rounds.weights_down != WeightsDown::F32
        {
            return Err(ConfigError::RoundedEvolution { pairs });
        }
        if let Some(Evolution { pairs, .. }) = config.evolution
            && let Some(Pruning { sparsity, .. }) = config.rounds.pruning
        {
            return Err(ConfigError::PrunedEvolution { pairs, sparsity });
        }
        let cohort = &config.cohort;
        // Every size of a small cohort; of a large one about a thousand, its ends included.
        let step = (cohort.max_clients - cohort.min_clients) / 1_000 + 1;
        let sizes = (cohort.min_clients..cohort.max_clients).step_by(step as usize);
        for clients in sizes.chain([cohort.max_clients]) {
            cohort
                .choose(clients)
                .map_err(|error| ConfigError::Threshold {
                    corrupt: cohort.corrupt_fraction,
                    dropout: cohort.dropout_fraction,
                    clients,
                    min: cohort.min_clients,
                    max: cohort.max_clients,
                    error,
                })?;
        }
        Ok(config)
    }
}

impl RawFederation {
    fn check(self) -> Result<(Name, Option<AuthorityPin>), ConfigError> {
        let name = Name::new(self.name.clone()).map_err(|error| ConfigError::OutOfRange {
            key: "federation.name",
            value: format!("{:?}", self.name),
            allowed: format!("a short name ({error})"),
        })?;
        let authority = match self.authority.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|error| ConfigError::OutOfRange {
                key: "federation.authority",
                value: format!("{text:?}"),
                allowed: format!("an authority's pin ({error})"),
            })?),
        };
        Ok((name, authority))
    }
}

impl RawNetwork {
    fn check(self) -> Result<Network, ConfigError> {
        let listen = self.listen.parse().map_err(|_| ConfigError::OutOfRange {
            key: "network.listen",
            value: format!("{:?}", self.listen),
            allowed: "an IP address with a port, like \"0.0.0.0:4433\" or \"[::]:4433\"".to_owned(),
        })?;
        let keep_alive = match self.keep_alive_seconds {
            0.0 => None,
            some => Some(seconds("network.keep_alive_seconds", some)?),
        };
        Ok(Network {
            listen,
            timeouts: Timeouts {
                idle: seconds("network.idle_seconds", self.idle_seconds)?,
                keep_alive,
                handshake: seconds("network.handshake_seconds", self.handshake_seconds)?,
            },
            max_connections: whole("network.max_connections", self.max_connections, 1..=65_536)?
                as usize,
            handshakes_per_address: whole(
                "network.handshakes_per_address",
                self.handshakes_per_address,
                1..=65_536,
            )? as usize,
            frames_per_round: whole(
                "network.frames_per_round",
                self.frames_per_round,
                16..=65_536,
            )?,
        })
    }
}

impl RawCohort {
    fn check(self) -> Result<Cohort, ConfigError> {
        let (graph, largest) = match self.graph {
            RawGraph::Complete => (GraphKind::Complete, MAX_COHORT),
            RawGraph::Sparse => (GraphKind::Sparse, MAX_SPARSE_COHORT),
        };
        let min_clients = whole("cohort.min_clients", self.min_clients, MIN_COHORT..=largest)?;
        let max_clients = whole(
            "cohort.max_clients",
            self.max_clients,
            min_clients..=largest,
        )?;
        if let Strategy::Batches { size } = self.strategy {
            whole(
                "cohort.strategy.batches.size",
                i64::from(size),
                1..=max_clients,
            )?;
        }
        let cap = whole(
            "cohort.max_participations",
            self.max_participations,
            0..=u32::MAX,
        )?;
        Ok(Cohort {
            threat_model: match self.threat_model {
                RawThreatModel::HonestButCurious => ThreatModel::HonestButCurious,
                RawThreatModel::Malicious => ThreatModel::Malicious,
            },
            graph,
            min_clients,
            max_clients,
            corrupt_fraction: fraction("cohort.corrupt_fraction", self.corrupt_fraction, false)?,
            dropout_fraction: fraction("cohort.dropout_fraction", self.dropout_fraction, false)?,
            strategy: self.strategy,
            max_participations: (cap > 0).then_some(cap),
        })
    }
}

impl RawRounds {
    fn check(self) -> Result<Rounds, ConfigError> {
        let patience = whole("rounds.patience", self.patience, 0..=1_000_000)?;
        if !(0.0..=1e9).contains(&self.min_delta) {
            return Err(ConfigError::OutOfRange {
                key: "rounds.min_delta",
                value: self.min_delta.to_string(),
                allowed: "a number from 0 to 1e9".to_owned(),
            });
        }
        Ok(Rounds {
            stopping: StoppingRule {
                max_rounds: whole("rounds.rounds", self.rounds, 1..=1_000_000)?,
                patience: (patience > 0).then_some(patience),
                min_delta: self.min_delta,
            },
            server_schedule: self.server_schedule,
            weights_down: self.weights_down,
            pruning: match self.pruning {
                Some(pruning) => pruning.configured()?,
                None => None,
            },
            max_attempts: whole("rounds.max_attempts", self.max_attempts, 1..=1000)?,
            wait: seconds("rounds.wait_seconds", self.wait_seconds)?,
            gather: seconds_or_none("rounds.gather_seconds", self.gather_seconds)?,
        })
    }
}

impl RawDeadlines {
    fn check(self) -> Result<Deadlines, ConfigError> {
        let keys = |min, max, share| [min, max, share];
        Ok(Deadlines {
            answer: seconds("deadlines.answer_seconds", self.answer_seconds)?,
            train: deadline(
                keys(
                    "deadlines.train.min_seconds",
                    "deadlines.train.max_seconds",
                    "deadlines.train.min_fraction",
                ),
                self.train.min_seconds,
                self.train.max_seconds,
                self.train.min_fraction,
            )?,
            share_keys: deadline(
                keys(
                    "deadlines.share_keys.min_seconds",
                    "deadlines.share_keys.max_seconds",
                    "deadlines.share_keys.min_fraction",
                ),
                self.share_keys.min_seconds,
                self.share_keys.max_seconds,
                self.share_keys.min_fraction,
            )?,
            masked_input: deadline(
                keys(
                    "deadlines.masked_input.min_seconds",
                    "deadlines.masked_input.max_seconds",
                    "deadlines.masked_input.min_fraction",
                ),
                self.masked_input.min_seconds,
                self.masked_input.max_seconds,
                self.masked_input.min_fraction,
            )?,
            consistency_check: deadline(
                keys(
                    "deadlines.consistency_check.min_seconds",
                    "deadlines.consistency_check.max_seconds",
                    "deadlines.consistency_check.min_fraction",
                ),
                self.consistency_check.min_seconds,
                self.consistency_check.max_seconds,
                self.consistency_check.min_fraction,
            )?,
            unmask: deadline(
                keys(
                    "deadlines.unmask.min_seconds",
                    "deadlines.unmask.max_seconds",
                    "deadlines.unmask.min_fraction",
                ),
                self.unmask.min_seconds,
                self.unmask.max_seconds,
                self.unmask.min_fraction,
            )?,
        })
    }
}

impl RawWeights {
    fn check(self) -> Result<Retention, ConfigError> {
        let every = whole("weights.keep_every", self.keep_every, 0..=1_000_000)?;
        Ok(Retention {
            last: whole("weights.keep_last", self.keep_last, 1..=1_000_000)?,
            every: (every > 0).then_some(every),
            best: self.keep_best,
        })
    }
}
