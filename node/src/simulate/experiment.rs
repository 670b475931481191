//! An experiment, as its TOML file says it.
//!
//! An [`Experiment`] that exists is valid, up to what its data says. Every key but those that say
//! what is trained has a default; an unknown key is refused, and every error names key, value and
//! what is allowed.

mod plan;
mod raw;
mod setting;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use secagg::{Choice, ChooserError, GraphKind, ThreatModel};
use secagg_learning::{Parts, Plan, Pruning, StoppingRule, WeightsDown, cohort::assumptions};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::plan::PlanTables;

/// What is simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// Fixes everything that is left to chance.
    pub seed: u32,
    /// How many rounds, and what happens in which.
    pub rounds: Rounds,
    /// What the virtual clients have, and what they train.
    pub source: Source,
    /// Who takes part in a round, and how the updates are summed.
    pub cohort: Cohort,
    plan: PlanTables,
}

/// `[rounds]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounds {
    /// When training ends.
    pub stopping: StoppingRule,
    /// The global weights are evaluated after every so many rounds, and after the last.
    pub evaluate_every: u32,
    /// The state is saved after every so many rounds, and with each best evaluation.
    pub save_every: u32,
    /// Of so many of the newest rounds the weights are kept, each in a file; 0 for none.
    pub keep_last: u32,
    /// In how many bits the weights go down to the clients.
    pub weights_down: WeightsDown,
    /// Which weights the server sets to zero, if any.
    pub pruning: Option<Pruning>,
}

/// Where the updates come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// `[model]` and `[text]`: each client trains on its own messages.
    Text(TextSource),
    /// `[synthetic]`: there is neither model nor text, and updates are drawn at random.
    Synthetic(Synthetic),
}

/// A model, and text to train it on.
#[derive(Clone, Debug, PartialEq)]
pub struct TextSource {
    /// Which model.
    pub model: ModelSource,
    /// Files or folders with messages to train on.
    pub train: Vec<PathBuf>,
    /// Files or folders with messages to evaluate on. Without them, every tenth message of each
    /// person is held out, as nodes do.
    pub validation: Vec<PathBuf>,
    /// Whose messages are whose.
    pub split: Split,
}

/// `[model]`.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelSource {
    /// A folder that `init-model` wrote.
    Folder(PathBuf),
    /// A model that is made anew.
    Made {
        /// Public text for the vocabulary.
        vocabulary_from: Vec<PathBuf>,
        /// What stands in `model.toml`; here `vocabulary` is the most words.
        description: toml::Table,
    },
}

/// How messages become the text of clients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Split {
    /// A client is a person, as the files say; in files that name none, the file is one.
    Person,
    /// Each client's text is a mixture of people, and its images one of classes, in shares of its own
    /// from a Dirichlet distribution; all have equally many messages (Hsu, Qi and Brown, "Measuring the
    /// Effects of Non-Identical Data Distribution for Federated Visual Classification", 2019; for text
    /// with the author as the label).
    Mixture {
        /// Virtual clients.
        clients: u32,
        /// The concentration α: near 0 a client has one person's messages, with a large one all
        /// clients are alike.
        alpha: f64,
    },
    /// All messages are shuffled and dealt out in shares from a symmetric Dirichlet distribution:
    /// clients differ in size alone (Li, Diao, Chen and He, "Federated Learning on Non-IID Data
    /// Silos", ICDE 2022, quantity skew). Each has one message at least.
    Sizes {
        /// Virtual clients.
        clients: u32,
        /// The concentration: near 0 a few clients have nearly all.
        alpha: f64,
    },
}

/// `[synthetic]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Synthetic {
    /// Virtual clients.
    pub clients: u32,
    /// Elements of an update.
    pub parameters: u32,
    /// The expected L2 norm of an update.
    pub norm: f32,
    /// What each client says it has trained on.
    pub examples: u32,
}

/// `[cohort]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cohort {
    /// Clients of a round, drawn uniformly without replacement.
    pub clients: u32,
    /// The probability with which a client of a round is lost after it has shared its keys.
    pub dropout: f64,
    /// Whether the updates are summed by the protocol, or in the clear.
    pub secure_aggregation: bool,
    /// What clients trust the coordinator with.
    pub threat_model: ThreatModel,
    /// Who is whose neighbour.
    pub graph: GraphKind,
    /// Share of a roster that may be corrupt.
    pub corrupt_fraction: f64,
    /// Share of a roster that may be lost; a round that loses more is abandoned.
    pub dropout_fraction: f64,
}

/// Why an experiment was refused.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// It is not TOML, has an unknown key, or a value of another type.
    #[error("{problem}")]
    Syntax {
        /// What the parser said, with the line.
        problem: String,
    },
    /// What replaces a value is not of the form `KEY=VALUE`.
    #[error(
        "the setting {setting:?} is refused: {problem}; it must be like training.batch=8 or \
         'server={{ fedavg = {{ rate = 1.0 }} }}'"
    )]
    Setting {
        /// The setting as written.
        setting: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A value is out of range.
    #[error("{key} is {value}; allowed is {allowed}")]
    OutOfRange {
        /// The key, with its table.
        key: &'static str,
        /// The value as written.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// A value of `[update]`, `[training]`, `[evolution]`, `[server]` or `rounds.pruning` was refused.
    #[error("{problem}")]
    Plan {
        /// Which, and why.
        problem: String,
    },
    /// Two tables that exclude each other, or none of them.
    #[error("{problem}")]
    Tables {
        /// What to do.
        problem: &'static str,
    },
    /// No threshold suits the cohort.
    #[error(
        "cohort.corrupt_fraction {corrupt} and cohort.dropout_fraction {dropout} leave no threshold \
         for cohort.clients {clients}: {error}"
    )]
    Threshold {
        /// The corrupt fraction.
        corrupt: f64,
        /// The dropout fraction.
        dropout: f64,
        /// The cohort.
        clients: u32,
        /// Why.
        error: ChooserError,
    },
}

impl Experiment {
    /// Reads and checks what an experiment's file says.
    ///
    /// # Errors
    /// [`ExperimentError`] that names the key, its value and what is allowed.
    pub fn parse(text: &str) -> Result<Self, ExperimentError> {
        Self::checked(toml::from_str(text).map_err(syntax)?)
    }

    /// Reads a file of which some values are replaced, or added: each setting is `KEY=VALUE`, with the
    /// key's tables before it (`training.batch=8`) and the value as in the file.
    ///
    /// # Errors
    /// As [`Experiment::parse`]; also [`ExperimentError::Setting`] for a setting that is not of that
    /// form.
    pub fn parse_with(text: &str, settings: &[String]) -> Result<Self, ExperimentError> {
        let mut file: toml::Table = toml::from_str(text).map_err(syntax)?;
        for setting in settings {
            setting::apply(&mut file, setting)?;
        }
        if settings.is_empty() {
            // Errors then say the line.
            return Self::parse(text);
        }
        Self::checked(toml::Value::Table(file).try_into().map_err(syntax)?)
    }

    fn checked(raw: raw::File) -> Result<Self, ExperimentError> {
        let experiment = raw.check()?;
        // Whatever the model's size, the plan's own checks name a value that is out of range.
        experiment.plan(1, Parts::ALL)?;
        experiment.tensors()?;
        experiment.keep_steps()?;
        if experiment.plan.evolution.is_some() && experiment.rounds.weights_down != WeightsDown::F32
        {
            return Err(ExperimentError::Tables {
                problem: "with [evolution] clients hold the weights themselves, and need all their bits: \
                          leave out rounds.weights_down",
            });
        }
        if experiment.plan.evolution.is_some() && experiment.rounds.pruning.is_some() {
            return Err(ExperimentError::Tables {
                problem: "with [evolution] clients hold the weights themselves, and nobody prunes them: \
                          leave out rounds.pruning",
            });
        }
        experiment.cohort.choose()?;
        Ok(experiment)
    }

    /// The plan of a round over a model with so many parameters, of which these are trained.
    ///
    /// # Errors
    /// [`ExperimentError::Plan`] when a value is out of range, or a sum could overflow.
    pub fn plan(&self, parameters: u32, parts: Parts) -> Result<Plan, ExperimentError> {
        self.plan.over(parameters, parts, self.cohort.clients)
    }

    /// How many steps of evolution strategies are kept for clients that were away, at most.
    ///
    /// # Errors
    /// [`ExperimentError::Plan`] when `evolution.keep_steps` is out of range.
    pub fn keep_steps(&self) -> Result<usize, ExperimentError> {
        self.plan.keep_steps()
    }

    /// The tensors that are trained, as `update.tensors` names them; none for all.
    ///
    /// # Errors
    /// [`ExperimentError::Plan`] when it is no list of names.
    pub fn tensors(&self) -> Result<Vec<String>, ExperimentError> {
        self.plan.tensors()
    }
}

fn syntax(error: toml::de::Error) -> ExperimentError {
    ExperimentError::Syntax {
        problem: error.to_string(),
    }
}

impl Cohort {
    /// Degree and threshold of a full roster.
    ///
    /// # Errors
    /// [`ExperimentError::Threshold`] where none meet both bounds.
    pub fn choose(&self) -> Result<Choice, ExperimentError> {
        let (corrupt, dropout) = (self.corrupt_fraction, self.dropout_fraction);
        assumptions(
            self.threat_model,
            self.graph,
            self.clients,
            corrupt,
            dropout,
        )
        .choose()
        .map_err(|error| ExperimentError::Threshold {
            corrupt,
            dropout,
            clients: self.clients,
            error,
        })
    }
}
