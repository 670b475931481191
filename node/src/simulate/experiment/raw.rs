//! The file as written, before its values are checked.
//!
//! Whole numbers are read as i64, so that a negative or huge one is refused by the checks here,
//! with its key and range.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use secagg::{GraphKind, MAX_COHORT, MAX_SPARSE_COHORT, MIN_COHORT, ThreatModel};
use secagg_learning::{Pruning, Schedule, StoppingRule, WeightsDown};
use serde::Deserialize;

use super::{
    Cohort, Experiment, ExperimentError, ModelSource, PlanTables, Rounds, Source, Split, Synthetic,
    TextSource,
};
use crate::model::MAX_PARAMETERS;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    seed: i64,
    rounds: RawRounds,
    model: Option<RawModel>,
    text: Option<RawText>,
    synthetic: Option<RawSynthetic>,
    cohort: RawCohort,
    update: toml::Table,
    training: toml::Table,
    evolution: Option<toml::Table>,
    server: Option<toml::Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRounds {
    rounds: i64,
    patience: i64,
    min_delta: f64,
    evaluate_every: i64,
    save_every: i64,
    keep_last: i64,
    server_schedule: Schedule,
    weights_down: WeightsDown,
    pruning: Option<Pruning>,
}

impl Default for RawRounds {
    fn default() -> Self {
        Self {
            rounds: 10,
            patience: 0,
            min_delta: 0.0,
            evaluate_every: 1,
            save_every: 10,
            keep_last: 0,
            server_schedule: Schedule::Constant,
            weights_down: WeightsDown::F32,
            pruning: None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    folder: Option<PathBuf>,
    vocabulary_from: Option<Vec<PathBuf>>,
    description: Option<toml::Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawText {
    train: Vec<PathBuf>,
    #[serde(default)]
    validation: Vec<PathBuf>,
    #[serde(default = "person")]
    split: RawSplit,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum RawSplit {
    Person,
    Mixture { clients: i64, alpha: f64 },
    Sizes { clients: i64, alpha: f64 },
}

const fn person() -> RawSplit {
    RawSplit::Person
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSynthetic {
    clients: i64,
    parameters: i64,
    #[serde(default = "one")]
    norm: f64,
    #[serde(default = "hundred")]
    examples: i64,
}

const fn one() -> f64 {
    1.0
}

const fn hundred() -> i64 {
    100
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCohort {
    clients: i64,
    dropout: f64,
    secure_aggregation: bool,
    threat_model: RawThreatModel,
    graph: RawGraph,
    corrupt_fraction: f64,
    dropout_fraction: f64,
}

impl Default for RawCohort {
    fn default() -> Self {
        Self {
            clients: 10,
            dropout: 0.0,
            secure_aggregation: true,
            threat_model: RawThreatModel::Malicious,
            graph: RawGraph::Complete,
            corrupt_fraction: 0.1,
            dropout_fraction: 0.3,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawThreatModel {
    HonestButCurious,
    Malicious,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawGraph {
    Complete,
    Sparse,
}

impl File {
    pub(super) fn check(self) -> Result<Experiment, ExperimentError> {
        let source = match (self.model, self.text, self.synthetic) {
            (Some(model), Some(text), None) => Source::Text(text.check(model)?),
            (None, None, Some(synthetic)) => Source::Synthetic(synthetic.check()?),
            _ => {
                return Err(ExperimentError::Tables {
                    problem: "there must be either [model] and [text], to train, or [synthetic] \
                              alone, for updates that are drawn at random",
                });
            }
        };
        let server_schedule = self.rounds.server_schedule;
        Ok(Experiment {
            seed: whole("seed", self.seed, 0..=u32::MAX)?,
            rounds: self.rounds.check()?,
            source,
            cohort: self.cohort.check()?,
            plan: PlanTables {
                update: self.update,
                training: self.training,
                evolution: self.evolution,
                server: self.server,
                server_schedule,
            },
        })
    }
}

impl RawRounds {
    fn check(self) -> Result<Rounds, ExperimentError> {
        let patience = whole("rounds.patience", self.patience, 0..=MANY)?;
        let pruning = match self.pruning {
            Some(pruning) => pruning
                .configured()
                .map_err(|error| ExperimentError::Plan {
                    problem: error.to_string(),
                })?,
            None => None,
        };
        Ok(Rounds {
            stopping: StoppingRule {
                max_rounds: whole("rounds.rounds", self.rounds, 1..=MANY)?,
                patience: (patience > 0).then_some(patience),
                min_delta: number("rounds.min_delta", self.min_delta, 0.0..=1e9)?,
            },
            evaluate_every: whole("rounds.evaluate_every", self.evaluate_every, 1..=MANY)?,
            save_every: whole("rounds.save_every", self.save_every, 1..=MANY)?,
            keep_last: whole("rounds.keep_last", self.keep_last, 0..=MANY)?,
            weights_down: self.weights_down,
            pruning,
        })
    }
}

impl RawText {
    fn check(self, model: RawModel) -> Result<TextSource, ExperimentError> {
        if self.train.is_empty() {
            return Err(ExperimentError::OutOfRange {
                key: "text.train",
                value: "[]".to_owned(),
                allowed: "one file or folder at least".to_owned(),
            });
        }
        Ok(TextSource {
            model: model.check()?,
            train: self.train,
            validation: self.validation,
            split: match self.split {
                RawSplit::Person => Split::Person,
                RawSplit::Mixture { clients, alpha } => Split::Mixture {
                    clients: whole("text.split.mixture.clients", clients, CLIENTS)?,
                    alpha: number("text.split.mixture.alpha", alpha, ALPHA)?,
                },
                RawSplit::Sizes { clients, alpha } => Split::Sizes {
                    clients: whole("text.split.sizes.clients", clients, CLIENTS)?,
                    alpha: number("text.split.sizes.alpha", alpha, ALPHA)?,
                },
            },
        })
    }
}

impl RawModel {
    fn check(self) -> Result<ModelSource, ExperimentError> {
        match (self.folder, self.vocabulary_from, self.description) {
            (Some(folder), None, None) => Ok(ModelSource::Folder(folder)),
            (None, Some(vocabulary_from), Some(description)) if !vocabulary_from.is_empty() => {
                Ok(ModelSource::Made {
                    vocabulary_from,
                    description,
                })
            }
            _ => Err(ExperimentError::Tables {
                problem: "[model] must have either folder, a model that is there, or \
                          vocabulary_from, files of public text, and description, what stands in \
                          model.toml",
            }),
        }
    }
}

impl RawSynthetic {
    fn check(self) -> Result<Synthetic, ExperimentError> {
        let most = u32::try_from(MAX_PARAMETERS).unwrap_or(u32::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "far from the limits of an f32"
        )]
        let norm = number("synthetic.norm", self.norm, 1e-9..=1e9)? as f32;
        Ok(Synthetic {
            clients: whole("synthetic.clients", self.clients, CLIENTS)?,
            parameters: whole("synthetic.parameters", self.parameters, 1..=most)?,
            norm,
            examples: whole("synthetic.examples", self.examples, 1..=u32::MAX)?,
        })
    }
}

impl RawCohort {
    fn check(self) -> Result<Cohort, ExperimentError> {
        let (graph, largest) = match self.graph {
            RawGraph::Complete => (GraphKind::Complete, MAX_COHORT),
            RawGraph::Sparse => (GraphKind::Sparse, MAX_SPARSE_COHORT),
        };
        Ok(Cohort {
            clients: whole("cohort.clients", self.clients, MIN_COHORT..=largest)?,
            dropout: number("cohort.dropout", self.dropout, 0.0..=1.0)?,
            secure_aggregation: self.secure_aggregation,
            threat_model: match self.threat_model {
                RawThreatModel::HonestButCurious => ThreatModel::HonestButCurious,
                RawThreatModel::Malicious => ThreatModel::Malicious,
            },
            graph,
            corrupt_fraction: number("cohort.corrupt_fraction", self.corrupt_fraction, SHARE)?,
            dropout_fraction: number("cohort.dropout_fraction", self.dropout_fraction, SHARE)?,
        })
    }
}

fn whole(
    key: &'static str,
    value: i64,
    allowed: RangeInclusive<u32>,
) -> Result<u32, ExperimentError> {
    u32::try_from(value)
        .ok()
        .filter(|value| allowed.contains(value))
        .ok_or_else(|| ExperimentError::OutOfRange {
            key,
            value: value.to_string(),
            allowed: format!(
                "a whole number from {} to {}",
                allowed.start(),
                allowed.end()
            ),
        })
}

fn number(
    key: &'static str,
    value: f64,
    allowed: RangeInclusive<f64>,
) -> Result<f64, ExperimentError> {
    if allowed.contains(&value) {
        return Ok(value);
    }
    Err(ExperimentError::OutOfRange {
        key,
        value: value.to_string(),
        allowed: format!("a number from {} to {}", allowed.start(), allowed.end()),
    })
}

const MANY: u32 = 1_000_000;
const CLIENTS: RangeInclusive<u32> = 1..=1_000_000;
const ALPHA: RangeInclusive<f64> = 0.001..=1e6;
const SHARE: RangeInclusive<f64> = 0.0..=0.99;
