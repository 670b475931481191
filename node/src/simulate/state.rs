//! What a run goes on from: one file, replaced whole.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::{fs, io};

use safetensors::{Dtype, SafeTensors, View};
use secagg_learning::{Plan, Residual, RoundFigure, ServerOptimizer, ServerOptimizerConfig};
use secagg_wire::process::{Access, write_atomic};
use serde::{Deserialize, Serialize};

use super::SimulateError;
use super::download::Holdings;

/// Everything that one round leaves to the next.
#[derive(Debug)]
pub(super) struct State {
    /// Rounds that are done.
    pub(super) round: u32,
    pub(super) weights: Vec<f32>,
    pub(super) optimizer: ServerOptimizer,
    /// What clients have not sent of their updates, where the plan has error feedback: one for each
    /// client that was ever in a sum.
    pub(super) residuals: BTreeMap<u32, Residual>,
    /// Which weights clients hold, with evolution strategies.
    pub(super) holdings: Holdings,
    /// The validation losses so far.
    pub(super) figures: Vec<RoundFigure>,
}

/// What stands in the file beside the tensors.
#[derive(Debug, Serialize, Deserialize)]
struct Notes {
    digest: String,
    round: u32,
    /// Rounds, and the bits of the losses: text would not give them back exactly.
    figures: Vec<(u32, Option<u64>)>,
    /// Steps, and how many of them each client has made.
    #[serde(default)]
    steps: u32,
    #[serde(default)]
    made: BTreeMap<u32, u32>,
}

/// The key of the notes in the file's metadata.
const NOTES: &str = "simulation";
const WEIGHTS: &str = "weights";
const OPTIMIZER: &str = "optimizer.";
const RESIDUAL: &str = "residual.";

/// A tensor of one dimension; its bytes are made when they are written.
struct Floats<'a> {
    shape: [usize; 1],
    elements: &'a [f32],
}

impl<'a> Floats<'a> {
    fn new(elements: &'a [f32]) -> Self {
        let shape = [elements.len()];
        Self { shape, elements }
    }
}

impl View for Floats<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.elements
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    fn data_len(&self) -> usize {
        4 * self.elements.len()
    }
}

impl State {
    /// Before the first round.
    pub(super) fn new(
        weights: Vec<f32>,
        optimizer: &ServerOptimizerConfig,
    ) -> Result<Self, SimulateError> {
        Ok(Self {
            round: 0,
            optimizer: ServerOptimizer::new(optimizer, weights.len())?,
            weights,
            residuals: BTreeMap::new(),
            holdings: Holdings::default(),
            figures: Vec::new(),
        })
    }

    /// What was saved under this digest; `None` where nothing was.
    pub(super) fn load(
        path: &Path,
        digest: &str,
        plan: &Plan,
    ) -> Result<Option<Self>, SimulateError> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|error| SimulateError::file(path, error))?,
        };
        let wrong = |problem: String| SimulateError::State {
            path: path.to_owned(),
            problem,
        };
        let (_, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|error| wrong(error.to_string()))?;
        let notes = metadata.metadata().as_ref().and_then(|all| all.get(NOTES));
        let notes = notes.ok_or_else(|| wrong("it is not a state".to_owned()))?;
        let notes: Notes = serde_json::from_str(notes).map_err(|error| wrong(error.to_string()))?;
        if notes.digest != digest {
            return Err(SimulateError::OtherExperiment {
                path: path.to_owned(),
                found: notes.digest,
                expected: digest.to_owned(),
            });
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
        let mut weights = None;
        let mut state = BTreeMap::new();
        let mut residuals = BTreeMap::new();
        for (name, view) in file.iter() {
            let (elements, _) = view.data().as_chunks::<4>();
            let elements = elements.iter().map(|bytes| f32::from_le_bytes(*bytes));
            if name == WEIGHTS {
                weights = Some(elements.collect::<Vec<_>>());
            } else if let Some(name) = name.strip_prefix(OPTIMIZER) {
                state.insert(name.to_owned(), elements.collect());
            } else if let Some(client) = name.strip_prefix(RESIDUAL)
                && let Ok(client) = client.parse()
            {
                residuals.insert(client, Residual::new(elements.collect()));
            } else {
                return Err(wrong(format!("\"{name}\" is no part of a state")));
            }
        }
        let update = plan.update();
        let parameters = update.parameters as usize;
        let trained = update.trained() as usize;
        let of_another = |residual: &Residual| residual.values().len() != trained;
        if residuals.values().any(of_another) {
            return Err(wrong("its residuals are another model's".to_owned()));
        }
        let weights = weights.filter(|weights| weights.len() == parameters);
        let figure = |(round, bits): (u32, Option<u64>)| RoundFigure {
            round,
            validation_loss: bits.map(f64::from_bits),
        };
        Ok(Some(Self {
            round: notes.round,
            weights: weights.ok_or_else(|| wrong("its weights are another model's".to_owned()))?,
            optimizer: ServerOptimizer::restore(plan.server(), parameters, state)?,
            residuals,
            holdings: Holdings::new(notes.steps, notes.made),
            figures: notes.figures.into_iter().map(figure).collect(),
        }))
    }

    /// Replaces the file.
    pub(super) fn save(&self, path: &Path, digest: &str) -> Result<(), SimulateError> {
        let failed = |error| SimulateError::file(path, error);
        let notes = Notes {
            digest: digest.to_owned(),
            round: self.round,
            figures: self
                .figures
                .iter()
                .map(|figure| (figure.round, figure.validation_loss.map(f64::to_bits)))
                .collect(),
            steps: self.holdings.steps(),
            made: self.holdings.made().clone(),
        };
        let notes =
            serde_json::to_string(&notes).map_err(|error| failed(io::Error::other(error)))?;
        let mut tensors = vec![(WEIGHTS.to_owned(), Floats::new(&self.weights))];
        for (name, elements) in self.optimizer.state() {
            tensors.push((format!("{OPTIMIZER}{name}"), Floats::new(elements)));
        }
        for (client, residual) in &self.residuals {
            tensors.push((
                format!("{RESIDUAL}{client}"),
                Floats::new(residual.values()),
            ));
        }
        let metadata = HashMap::from([(NOTES.to_owned(), notes)]);
        let file = safetensors::serialize(tensors, Some(metadata))
            .map_err(|error| failed(io::Error::other(error)))?;
        write_atomic(path, &file, Access::Shared).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use secagg_learning::{RoundKind, TrainingPlan, UpdatePlan};

    use super::*;

    const YOGI: ServerOptimizerConfig = ServerOptimizerConfig::FedYogi {
        rate: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        tau: 0.001,
    };

    #[test]
    fn a_state_comes_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let load = |digest: &str, parameters| {
            let update = UpdatePlan::default_for(parameters, 3);
            let plan = Plan::new(RoundKind::Train, update, TrainingPlan::DEFAULT, YOGI).unwrap();
            State::load(&path, digest, &plan)
        };
        assert!(load("d", 3).unwrap().is_none());
        let mut state = State::new(vec![0.1, -2.0, 3e-9], &YOGI).unwrap();
        state
            .optimizer
            .step(&mut state.weights, &[0.3, 0.1, -0.2])
            .unwrap();
        state.round = 7;
        let residual = Residual::new(vec![1e-9, -0.1, 0.0]);
        state.residuals.insert(12, residual);
        state.figures = vec![
            RoundFigure {
                round: 0,
                validation_loss: Some(0.1 + 0.2),
            },
            RoundFigure {
                round: 5,
                validation_loss: None,
            },
        ];
        state.holdings = Holdings::new(7, BTreeMap::from([(3, 5), (12, 7)]));
        state.save(&path, "d").unwrap();
        let loaded = load("d", 3).unwrap().unwrap();
        assert_eq!(loaded.holdings, state.holdings);
        assert_eq!(loaded.round, 7);
        assert_eq!(loaded.weights, state.weights);
        assert_eq!(loaded.optimizer, state.optimizer);
        assert_eq!(loaded.figures, state.figures);
        assert_eq!(loaded.residuals.len(), 1);
        assert_eq!(loaded.residuals[&12].values(), [1e-9, -0.1, 0.0]);
        assert!(matches!(
            load("e", 3),
            Err(SimulateError::OtherExperiment { found, expected, .. })
                if found == "d" && expected == "e"
        ));
        assert!(matches!(load("d", 4), Err(SimulateError::State { .. })));
        state.residuals.insert(3, Residual::new(vec![1.0; 2]));
        state.save(&path, "d").unwrap();
        match load("d", 3) {
            Err(SimulateError::State { problem, .. }) => assert!(problem.contains("residuals")),
            other => panic!("{other:?}"),
        }
        fs::write(&path, b"nothing").unwrap();
        assert!(matches!(load("d", 3), Err(SimulateError::State { .. })));
    }
}
