//! What this node insists on, whatever its coordinator says: `policy.toml`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secagg::{MIN_COHORT, Policy, ThreatModel};
use secagg_wire::process::{Access, write_atomic};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ledger::{Hash, Limits};
use crate::training::DEFAULT_MEMORY_MB;

/// The policy's file in a node's directory.
pub const POLICY_FILE: &str = "policy.toml";

/// A node's own limits. A value that exists is consistent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct NodePolicy {
    raw: Raw,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "policy")]
struct Raw {
    threat_model: Weakest,
    sparse_graph: bool,
    max_corrupt: u32,
    security_bits: u8,
    min_cohort: u32,
    min_survivors: u32,
    uploads_per_model: u32,
    rounds_per_day: u32,
    roster_wait_seconds: u32,
    max_elements: u64,
    max_bits: u8,
    /// Files of before this key stood in them lack it.
    #[serde(default = "default_memory_mb")]
    training_memory_mb: u32,
    models: Vec<Hash>,
    plans: Vec<Hash>,
}

/// The weakest threat model that a node accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Weakest {
    /// The coordinator follows the protocol, but studies all that it sees.
    HonestButCurious,
    /// The coordinator may do anything.
    Malicious,
}

/// Why there is no policy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file could not be read or written.
    #[error(
        "{}: {source}; `secagg-node join` writes this file, and a node without it takes part in \
         nothing", path.display()
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not TOML, a field is missing or unknown, or a value is refused.
    #[error("{}: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        problem: String,
    },
}

/// Why a value of a policy was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyValueError {
    /// A number is out of its range.
    #[error("{field} is {value}; it must be from {least} to {most}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The least allowed.
        least: u64,
        /// The most allowed.
        most: u64,
    },
    /// The corrupt nodes of a sum could subtract their own inputs and be left with one node's.
    #[error(
        "min_survivors is {min_survivors} with max_corrupt {max_corrupt}; it must be at least \
         {max_corrupt} + 2, or corrupt nodes could subtract their own inputs from the sum and be \
         left with this node's"
    )]
    TooFewHonest {
        /// The smallest sum.
        min_survivors: u32,
        /// The bound on corrupt nodes in it.
        max_corrupt: u32,
    },
}

impl NodePolicy {
    /// Reads a node's policy.
    ///
    /// # Errors
    /// A [`PolicyError`] that names the file and what is wrong in it. There is no default for a
    /// file that is missing: it may have said something stricter.
    pub fn read(directory: &Path) -> Result<Self, PolicyError> {
        let path = directory.join(POLICY_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(PolicyError::Io { path, source }),
        };
        toml::from_str(&text).map_err(|error| PolicyError::Syntax {
            path,
            problem: error.to_string(),
        })
    }

    /// Writes the policy with comments, unless there is one already.
    ///
    /// # Errors
    /// [`PolicyError::Io`].
    pub fn write_new(&self, directory: &Path) -> Result<(), PolicyError> {
        let path = directory.join(POLICY_FILE);
        if path.exists() {
            return Ok(());
        }
        write_atomic(&path, self.to_toml().as_bytes(), Access::Owner)
            .map_err(|source| PolicyError::Io { path, source })
    }

    /// The floors that the protocol's client checks.
    #[must_use]
    pub fn floors(&self) -> Policy {
        Policy {
            threat_model: match self.raw.threat_model {
                Weakest::HonestButCurious => ThreatModel::HonestButCurious,
                Weakest::Malicious => ThreatModel::Malicious,
            },
            sparse_graph: self.raw.sparse_graph,
            max_corrupt: self.raw.max_corrupt,
            security_bits: self.raw.security_bits,
            min_cohort: self.raw.min_cohort,
            min_survivors: self.raw.min_survivors,
            // The counters beside the update are wide; `max_bits` is about the update's elements.
            max_bits: 64,
            max_vector_bytes: self.raw.max_elements.saturating_mul(8),
        }
    }

    /// The longest wait between this node's advert and the roster: the graph is drawn from the
    /// roster, and who has time can redraw it often.
    #[must_use]
    pub fn roster_wait(&self) -> Duration {
        Duration::from_secs(self.raw.roster_wait_seconds.into())
    }

    /// How often this node takes part.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            uploads_per_model: self.raw.uploads_per_model,
            rounds_per_day: self.raw.rounds_per_day,
        }
    }

    /// Whether this node trains models with this architecture (see
    /// [`architecture`](super::ledger::architecture)).
    #[must_use]
    pub fn accepts_model(&self, architecture: &Hash) -> bool {
        self.raw.models.is_empty() || self.raw.models.contains(architecture)
    }

    /// Whether this node follows plans with this digest.
    #[must_use]
    pub fn accepts_plan(&self, plan: &Hash) -> bool {
        self.raw.plans.is_empty() || self.raw.plans.contains(plan)
    }

    /// The most elements that a masked vector may have.
    #[must_use]
    pub fn max_elements(&self) -> u64 {
        self.raw.max_elements
    }

    /// The most bits that an element of the update may have.
    #[must_use]
    pub fn max_bits(&self) -> u8 {
        self.raw.max_bits
    }

    /// Bytes that training may take beside the model.
    #[must_use]
    pub fn training_memory(&self) -> u64 {
        u64::from(self.raw.training_memory_mb) << 20
    }

    fn to_toml(&self) -> String {
        let Raw {
            threat_model,
            sparse_graph,
            max_corrupt,
            security_bits,
            min_cohort,
            min_survivors,
            uploads_per_model,
            rounds_per_day,
            roster_wait_seconds,
            max_elements,
            max_bits,
            training_memory_mb,
            models,
            plans,
        } = &self.raw;
        let [models, plans] = [models, plans].map(|accepted| {
            let quoted: Vec<String> = accepted.iter().map(|hash| format!("\"{hash}\"")).collect();
            quoted.join(", ")
        });
        let threat_model = match threat_model {
            Weakest::HonestButCurious => "honest-but-curious",
            Weakest::Malicious => "malicious",
        };
        format!(
            "# What this node insists on, whatever its coordinator says. The coordinator cannot\n\
             # change this file; a round that does not fit it is declined.\n\
             \n\
             # What the coordinator may be trusted with at most. \"malicious\": with nothing, it may\n\
             # lie about everything. \"honest-but-curious\": it follows the protocol, but studies all\n\
             # that it sees.\n\
             threat_model = \"{threat_model}\"\n\
             \n\
             # Whether rounds may use the sparse graph, in which each node has few neighbours.\n\
             sparse_graph = {sparse_graph}\n\
             \n\
             # At most so many nodes of a round work together against the others. The threshold of\n\
             # the secret sharing follows from it.\n\
             max_corrupt = {max_corrupt}\n\
             \n\
             # In the sparse graph these nodes may surround one node with a probability of 2 to the\n\
             # power of minus this number.\n\
             security_bits = {security_bits}\n\
             \n\
             # The fewest nodes that a round may start with, and the fewest whose sum may be opened.\n\
             min_cohort = {min_cohort}\n\
             min_survivors = {min_survivors}\n\
             \n\
             # Masked updates that this node uploads for one and the same model. With more than one,\n\
             # a coordinator that claims that a round failed gets a second sum over other nodes; 2 is\n\
             # right only where the coordinator is trusted to follow the protocol.\n\
             uploads_per_model = {uploads_per_model}\n\
             \n\
             # Rounds that this node takes part in within 24 hours. Many rounds with almost the same\n\
             # nodes and almost the same model tell of the difference, and cost battery.\n\
             rounds_per_day = {rounds_per_day}\n\
             \n\
             # Seconds that may pass between this node's keys and the list of all nodes: the sparse\n\
             # graph is drawn from that list, and a coordinator with time can draw it again and again.\n\
             roster_wait_seconds = {roster_wait_seconds}\n\
             \n\
             # The largest model (elements of a masked vector) and the most bits an element that this\n\
             # node computes and sends.\n\
             max_elements = {max_elements}\n\
             max_bits = {max_bits}\n\
             \n\
             # Memory in MiB that training may take beside the model, by an estimate that is never too\n\
             # low. A batch that needs more is worked through in pieces: slower, with the same result.\n\
             training_memory_mb = {training_memory_mb}\n\
             \n\
             # Digests of the only models (description and vocabulary; the weights change in every\n\
             # round) and of the only plans that this node trains. With empty lists it trains any\n\
             # that fit the limits above. `secagg-node audit` shows the digests of past rounds.\n\
             models = [{models}]\n\
             plans = [{plans}]\n"
        )
    }
}

const fn default_memory_mb() -> u32 {
    DEFAULT_MEMORY_MB
}

impl Default for NodePolicy {
    /// The floors of the protocol's own default, against a coordinator that may do anything.
    fn default() -> Self {
        let floors = Policy::default();
        Self {
            raw: Raw {
                threat_model: Weakest::Malicious,
                sparse_graph: floors.sparse_graph,
                max_corrupt: floors.max_corrupt,
                security_bits: floors.security_bits,
                min_cohort: floors.min_cohort,
                min_survivors: floors.min_survivors,
                uploads_per_model: 1,
                rounds_per_day: 100,
                roster_wait_seconds: 1_800,
                max_elements: crate::model::MAX_PARAMETERS + 64,
                max_bits: 40,
                training_memory_mb: DEFAULT_MEMORY_MB,
                models: Vec::new(),
                plans: Vec::new(),
            },
        }
    }
}

impl TryFrom<Raw> for NodePolicy {
    type Error = PolicyValueError;

    fn try_from(raw: Raw) -> Result<Self, PolicyValueError> {
        let least = u64::from(MIN_COHORT);
        let most = u64::from(u32::MAX);
        for (field, value, least, most) in [
            ("min_cohort", raw.min_cohort.into(), least, most),
            ("min_survivors", raw.min_survivors.into(), least, most),
            ("uploads_per_model", raw.uploads_per_model.into(), 1, most),
            ("rounds_per_day", raw.rounds_per_day.into(), 1, most),
            ("security_bits", raw.security_bits.into(), 20, 120),
            (
                "roster_wait_seconds",
                raw.roster_wait_seconds.into(),
                1,
                most,
            ),
            ("max_elements", raw.max_elements, 1, u64::MAX),
            ("max_bits", raw.max_bits.into(), 1, 64),
            (
                "training_memory_mb",
                raw.training_memory_mb.into(),
                1,
                1 << 24,
            ),
        ] {
            if !(least..=most).contains(&value) {
                return Err(PolicyValueError::OutOfRange {
                    field,
                    value,
                    least,
                    most,
                });
            }
        }
        let (min_survivors, max_corrupt) = (raw.min_survivors, raw.max_corrupt);
        if min_survivors < max_corrupt.saturating_add(2) {
            return Err(PolicyValueError::TooFewHonest {
                min_survivors,
                max_corrupt,
            });
        }
        Ok(Self { raw })
    }
}

impl From<NodePolicy> for Raw {
    fn from(policy: NodePolicy) -> Self {
        policy.raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_policy_reads_back_and_an_own_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        NodePolicy::default().write_new(folder.path()).unwrap();
        let path = folder.path().join(POLICY_FILE);
        assert_eq!(
            NodePolicy::read(folder.path()).unwrap(),
            NodePolicy::default()
        );
        let own = fs::read_to_string(&path).unwrap();
        let own = own.replace("uploads_per_model = 1", "uploads_per_model = 3");
        fs::write(&path, &own).unwrap();
        NodePolicy::default().write_new(folder.path()).unwrap();
        let limits = NodePolicy::read(folder.path()).unwrap().limits();
        assert_eq!(limits.uploads_per_model, 3);
    }

    #[test]
    fn named_models_and_plans_are_the_only_ones() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = [1, 2].map(|number| Hash::from_bytes([number; 32]));
        let default = NodePolicy::default();
        assert!(default.accepts_model(&one) && default.accepts_plan(&one));
        let own = NodePolicy {
            raw: Raw {
                models: vec![one],
                plans: vec![other, one],
                ..default.raw
            },
        };
        own.write_new(folder.path()).unwrap();
        let read = NodePolicy::read(folder.path()).unwrap();
        assert_eq!(read, own);
        assert!(read.accepts_model(&one) && !read.accepts_model(&other));
        assert!(read.accepts_plan(&one) && read.accepts_plan(&other));
    }

    #[test]
    fn training_takes_no_more_memory_than_the_policy_says() {
        let folder = tempfile::tempdir().unwrap();
        let line = "training_memory_mb = 4096\n";
        let text = NodePolicy::default().to_toml();
        assert!(text.contains(line), "{text}");
        for (own, expected) in [("training_memory_mb = 300\n", 300 << 20), ("", 4 << 30)] {
            fs::write(folder.path().join(POLICY_FILE), text.replace(line, own)).unwrap();
            let policy = NodePolicy::read(folder.path()).unwrap();
            assert_eq!(policy.training_memory(), expected);
        }
    }

    #[test]
    fn a_missing_policy_is_no_default() {
        let folder = tempfile::tempdir().unwrap();
        let error = NodePolicy::read(folder.path()).unwrap_err();
        assert!(matches!(error, PolicyError::Io { path, .. } if path.ends_with(POLICY_FILE)));
    }

    #[test]
    fn values_that_protect_nobody_are_refused() {
        let good = NodePolicy::default().raw;
        let with = |change: fn(&mut Raw)| {
            let mut raw = good.clone();
            change(&mut raw);
            NodePolicy::try_from(raw).unwrap_err()
        };
        assert_eq!(
            with(|raw| raw.min_cohort = 2),
            PolicyValueError::OutOfRange {
                field: "min_cohort",
                value: 2,
                least: 3,
                most: u32::MAX.into()
            }
        );
        assert_eq!(
            with(|raw| raw.max_corrupt = 2),
            PolicyValueError::TooFewHonest {
                min_survivors: 3,
                max_corrupt: 2
            }
        );
        assert_eq!(
            with(|raw| raw.uploads_per_model = 0),
            PolicyValueError::OutOfRange {
                field: "uploads_per_model",
                value: 0,
                least: 1,
                most: u32::MAX.into()
            }
        );
    }

    #[test]
    fn a_refused_value_is_named_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let text = NodePolicy::default().to_toml();
        for (bad, hint) in [
            (
                text.replace("min_survivors = 3", "min_survivors = 2"),
                "min_survivors is 2",
            ),
            (text.replace("max_bits", "max_bit"), "max_bit"),
            (
                text.replace("= \"malicious\"", "= \"trusting\""),
                "trusting",
            ),
            (
                text.replace("rounds_per_day = 100", "rounds_per_day = 0"),
                "rounds_per_day is 0",
            ),
            (
                text.replace("training_memory_mb = 4096", "training_memory_mb = 0"),
                "training_memory_mb is 0",
            ),
            (
                text.replace("plans = []", "plans = [\"12ab\"]"),
                "64 hexadecimal digits",
            ),
        ] {
            fs::write(folder.path().join(POLICY_FILE), bad).unwrap();
            match NodePolicy::read(folder.path()) {
                Err(PolicyError::Syntax { problem, .. }) => {
                    assert!(problem.contains(hint), "{problem}");
                }
                other => panic!("expected a syntax error, not {other:?}"),
            }
        }
    }
}
