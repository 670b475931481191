//! The coordinator's configuration: `coordinator.toml`.
//!
//! A [`Config`] that exists is valid. Every key has a default, so that a file holds only what
//! differs; an unknown key is refused, and every error names key, value and what is allowed.

mod check;
mod raw;
mod template;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use secagg::{Choice, ChooserError, GraphKind, ThreatModel};
use secagg_learning::{
    Compression, Evolution, Parts, Plan, PlanError, Pruning, RoundKind, Schedule, SelectionRule,
    ServerOptimizerConfig, Shapes, StoppingRule, Strategy, TensorsError, TrainingPlan, UpdatePlan,
    WeightsDown, cohort::assumptions,
};
use secagg_wire::{authority::AuthorityPin, endpoint::Timeouts, text::Name};

use crate::{retention::Retention, round::deadline::Deadline};

pub use self::template::template;

/// Everything that an operator can set.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The federation's name, shown to nodes.
    pub federation: Name,
    /// Whose credentials nodes believe; needed where they do not trust the coordinator.
    pub authority: Option<AuthorityPin>,
    /// Where to listen, and what peers may use up.
    pub network: Network,
    /// Who takes part in a round.
    pub cohort: Cohort,
    /// How many rounds and attempts.
    pub rounds: Rounds,
    /// How long each phase waits.
    pub deadlines: Deadlines,
    /// How masked vectors are taken in.
    pub uploads: Uploads,
    /// Which weights are kept.
    pub weights: Retention,
    /// The steps of evolution strategies that nodes are offered, at most.
    pub keep_steps: usize,
    update: UpdateSettings,
    training: TrainingPlan,
    evolution: Option<Evolution>,
    server: ServerOptimizerConfig,
}

/// `[network]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The UDP address to listen on; port 0 for any free one.
    pub listen: SocketAddr,
    /// Idle timeout, keep-alive and handshake timeout.
    pub timeouts: Timeouts,
    /// Connections at a time, handshakes included.
    pub max_connections: usize,
    /// Handshakes in progress from one address.
    pub handshakes_per_address: usize,
    /// Messages that one node may send between two announcements.
    pub frames_per_round: u32,
}

/// `[cohort]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cohort {
    /// What nodes trust the coordinator with.
    pub threat_model: ThreatModel,
    /// Who is whose neighbour.
    pub graph: GraphKind,
    /// The smallest roster.
    pub min_clients: u32,
    /// The largest roster.
    pub max_clients: u32,
    /// Share of a roster that may be corrupt.
    pub corrupt_fraction: f64,
    /// Share of a roster that may be lost after ShareKeys.
    pub dropout_fraction: f64,
    /// Who comes first.
    pub strategy: Strategy,
    /// Uploads after which a node is not selected any more.
    pub max_participations: Option<u32>,
}

/// `[rounds]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounds {
    /// When training ends.
    pub stopping: StoppingRule,
    /// How the server's rate changes from one training round to the next.
    pub server_schedule: Schedule,
    /// In how many bits the weights go down to the nodes.
    pub weights_down: WeightsDown,
    /// Which weights are set to zero, if any.
    pub pruning: Option<Pruning>,
    /// Attempts at one round.
    pub max_attempts: u32,
    /// How long to wait for enough nodes.
    pub wait: Duration,
    /// How long to wait for more nodes when there are enough for the first round.
    pub gather: Duration,
}

/// `[deadlines]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deadlines {
    /// How long a node may take to answer an announcement.
    pub answer: Duration,
    /// From the announcement until the roster is fixed: training and AdvertiseKeys.
    pub train: Deadline,
    /// ShareKeys.
    pub share_keys: Deadline,
    /// MaskedInput.
    pub masked_input: Deadline,
    /// ConsistencyCheck.
    pub consistency_check: Deadline,
    /// Unmask.
    pub unmask: Deadline,
}

/// `[uploads]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uploads {
    /// Masked vectors that are read at a time.
    pub max_buffered: usize,
    /// How long an upload may make no progress.
    pub stall: Duration,
}

#[derive(Clone, Debug, PartialEq)]
struct UpdateSettings {
    clip_norm: f32,
    range: f32,
    value_bits: u8,
    weight_cap: u32,
    compression: Compression,
    /// Names of the tensors that are trained; none for all.
    tensors: Vec<String>,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] that names the file, or the key, its value and what is allowed.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
            path: path.to_owned(),
            error,
        })?;
        Self::parse(&text)
    }

    /// Checks a configuration.
    ///
    /// # Errors
    /// [`ConfigError`] that names the key, its value and what is allowed.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let raw: raw::File = toml::from_str(text)?;
        raw.check()
    }

    /// The plan of a round over a model with these tensors.
    ///
    /// # Errors
    /// [`ConfigError::Plan`] when a sum could overflow; [`ConfigError::Tensors`] when a tensor that is
    /// to be trained is not there.
    pub fn plan(&self, kind: RoundKind, shapes: &Shapes) -> Result<Plan, ConfigError> {
        let parts = shapes.parts(&self.update.tensors)?;
        Ok(self.plan_of(kind, shapes.parameters(), parts)?)
    }

    fn plan_of(&self, kind: RoundKind, parameters: u32, parts: Parts) -> Result<Plan, PlanError> {
        let UpdateSettings {
            clip_norm,
            range,
            value_bits,
            weight_cap,
            compression,
            tensors: _,
        } = self.update;
        let update = UpdatePlan {
            parameters,
            clip_norm,
            range,
            value_bits,
            weight_cap,
            max_cohort: self.cohort.max_clients,
            compression,
            parts,
        };
        Plan::new(kind, update, self.training, self.server)?
            .with_server_schedule(self.rounds.server_schedule)?
            .with_evolution(self.evolution)
    }

    /// Evolution strategies, where they take the place of training.
    #[must_use]
    pub fn evolution(&self) -> Option<Evolution> {
        self.evolution
    }

    /// The server's optimiser.
    #[must_use]
    pub fn server_optimizer(&self) -> &ServerOptimizerConfig {
        &self.server
    }

    /// Which nodes are selected, of those that are connected.
    #[must_use]
    pub fn selection(&self) -> SelectionRule {
        SelectionRule {
            max: self.cohort.max_clients,
            strategy: self.cohort.strategy,
            max_participations: self.cohort.max_participations,
        }
    }
}

impl Cohort {
    /// Degree and threshold for a roster of `n`, with A = max(⌊corrupt·n⌋, 1) and D = ⌊dropout·n⌋:
    /// by their own policy, nodes reckon with one corrupt node at least.
    ///
    /// # Errors
    /// When no degree and threshold meet both bounds.
    pub fn choose(&self, n: u32) -> Result<Choice, ChooserError> {
        let (corrupt, dropped) = (self.corrupt_fraction, self.dropout_fraction);
        assumptions(self.threat_model, self.graph, n, corrupt, dropped).choose()
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}: run `secagg-coordinator init` first", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is no TOML, has an unknown key, or a value of another type.
    #[error("coordinator.toml: {0}")]
    Toml(#[from] toml::de::Error),
    /// A value is out of range.
    #[error("coordinator.toml: {key} is {value}; allowed is {allowed}")]
    OutOfRange {
        /// The key, with its table.
        key: &'static str,
        /// The value as written.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// Local training has more than one length.
    #[error(
        "coordinator.toml: {given} are given, and they say how long a node trains in three ways: \
         keep one of them"
    )]
    TrainingLengths {
        /// The keys.
        given: String,
    },
    /// A value of `[update]`, `[training]`, `[server]` or `rounds.pruning` was refused.
    #[error("coordinator.toml: {0}")]
    Plan(#[from] PlanError),
    /// Weights that nodes hold themselves cannot be rounded on their way.
    #[error(
        "coordinator.toml: evolution.pairs is {pairs} and rounds.weights_down is not \"f32\": with \
         evolution strategies nodes make each round's step on weights that they hold, and need all \
         their bits; set rounds.weights_down to \"f32\", or evolution.pairs to 0"
    )]
    RoundedEvolution {
        /// The directions.
        pairs: u32,
    },
    /// Nodes that make each round's step themselves do not prune.
    #[error(
        "coordinator.toml: evolution.pairs is {pairs} and rounds.pruning.sparsity is {sparsity}: with \
         evolution strategies nodes make each round's step on weights that they hold, and nobody prunes \
         them; set one of the two to 0"
    )]
    PrunedEvolution {
        /// The directions.
        pairs: u32,
        /// The share of zeros at the schedule's end.
        sparsity: f32,
    },
    /// The tensors of `update.tensors` are not those of the model.
    #[error("coordinator.toml: update.tensors: {0}")]
    Tensors(#[from] TensorsError),
    /// No threshold suits a roster that the bounds allow.
    #[error(
        "coordinator.toml: cohort.corrupt_fraction {corrupt} and cohort.dropout_fraction {dropout} \
         leave no threshold for a roster of {clients} (cohort.min_clients {min} to \
         cohort.max_clients {max}): {error}"
    )]
    Threshold {
        /// The corrupt fraction.
        corrupt: f64,
        /// The dropout fraction.
        dropout: f64,
        /// The roster's size.
        clients: u32,
        /// The smallest roster.
        min: u32,
        /// The largest roster.
        max: u32,
        /// Why.
        error: ChooserError,
    },
    /// Nodes do not trust the coordinator, and nobody vouches for them.
    #[error(
        "coordinator.toml: cohort.threat_model is \"malicious\" and federation.authority is empty: \
         put the pin there that `secagg-coordinator authority` printed, or set \
         cohort.threat_model = \"honest-but-curious\""
    )]
    NoAuthority,
}

const DEFAULT_TRAINING: TrainingPlan = TrainingPlan::DEFAULT;

const DEFAULT_SERVER: ServerOptimizerConfig = ServerOptimizerConfig::DEFAULT;

/// The update of a plan depends on model and cohort; its settings do not.
const DEFAULT_UPDATE: UpdatePlan = UpdatePlan::default_for(1, 100);

#[cfg(test)]
mod tests;
