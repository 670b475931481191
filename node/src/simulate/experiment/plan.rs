//! The tables of an experiment that make a plan, with the keys of a coordinator's configuration.

use secagg_learning::{
    Evolution, Parts, Plan, RoundKind, Schedule, ServerOptimizerConfig, TrainingPlan, UpdatePlan,
};
use secagg_wire::steps::MAX_STEPS;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::ExperimentError;

/// `[update]`, `[training]`, `[evolution]` and `[server]`, and `rounds.server_schedule`: what they
/// leave out has the coordinator's default.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PlanTables {
    pub(super) update: Table,
    pub(super) training: Table,
    pub(super) evolution: Option<Table>,
    pub(super) server: Option<Table>,
    pub(super) server_schedule: Schedule,
}

impl PlanTables {
    pub(super) fn over(
        &self,
        parameters: u32,
        parts: Parts,
        max_cohort: u32,
    ) -> Result<Plan, ExperimentError> {
        let update = UpdatePlan {
            parts,
            ..UpdatePlan::default_for(parameters, max_cohort)
        };
        // Each by itself first: the error then says in which table it is.
        let update: UpdatePlan = overlaid("update", &update, self.update()?)?;
        let training = overlaid("training", &TrainingPlan::DEFAULT, self.training()?)?;
        let evolution: Option<Evolution> = match &self.evolution {
            Some(evolution) => {
                let mut evolution = evolution.clone();
                evolution.remove(KEEP_STEPS);
                Some(parsed("evolution", evolution)?)
            }
            None => None,
        };
        let server = match &self.server {
            Some(server) => parsed("server", server.clone())?,
            None => ServerOptimizerConfig::DEFAULT,
        };
        Plan::new(RoundKind::Train, update, training, server)
            .and_then(|plan| plan.with_server_schedule(self.server_schedule))
            .and_then(|plan| plan.with_evolution(evolution))
            .map_err(|error| refused(error.to_string()))
    }

    /// The names and patterns of `update.tensors`; none for all tensors.
    pub(super) fn tensors(&self) -> Result<Vec<String>, ExperimentError> {
        let Some(value) = self.update.get("tensors") else {
            return Ok(Vec::new());
        };
        let names = value
            .as_array()
            .map(|names| names.iter().map(Value::as_str));
        let names: Option<Vec<&str>> = names.and_then(Iterator::collect);
        let names = names.ok_or_else(|| {
            let allowed =
                "names of tensors, beginnings of names and *, or rows like embedding[0..1000]";
            refused(format!(
                "update.tensors is {value}; allowed is a list of {allowed}"
            ))
        })?;
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// How many steps of evolution strategies are kept for clients that were away, at most.
    pub(super) fn keep_steps(&self) -> Result<usize, ExperimentError> {
        let written = self
            .evolution
            .as_ref()
            .and_then(|table| table.get(KEEP_STEPS));
        let Some(value) = written else {
            return Ok(MAX_STEPS as usize);
        };
        let keep = value.as_integer().and_then(|keep| u32::try_from(keep).ok());
        match keep.filter(|keep| *keep <= MAX_STEPS) {
            Some(keep) => Ok(keep as usize),
            None => Err(refused(format!(
                "evolution.{KEEP_STEPS} is {value}; allowed is a whole number from 0 to {MAX_STEPS}"
            ))),
        }
    }

    fn update(&self) -> Result<Table, ExperimentError> {
        let mut update = self.update.clone();
        for key in ["parameters", "max_cohort", "parts"] {
            if let Some(value) = update.get(key) {
                let why = "leave it out, it follows from model and cohort";
                return Err(refused(format!("update.{key} is {value}; {why}")));
            }
        }
        update.remove("tensors");
        let mut compression = Table::new();
        match update.remove("rotation_range") {
            None => {}
            // No rotation, as in a coordinator's configuration.
            Some(range) if is_zero(&range) => {}
            Some(range) => {
                let rotation = Table::from_iter([("range".to_owned(), range)]);
                compression.insert("rotation".to_owned(), rotation.into());
            }
        }
        for key in ["fraction", "feedback"] {
            if let Some(value) = update.remove(key) {
                compression.insert(key.to_owned(), value);
            }
        }
        if !compression.is_empty() {
            update.insert("compression".to_owned(), compression.into());
        }
        Ok(update)
    }

    fn training(&self) -> Result<Table, ExperimentError> {
        let mut training = self.training.clone();
        let lengths = ["epochs", "steps", "seconds"];
        let given: Vec<&str> = lengths
            .into_iter()
            .filter(|key| training.contains_key(*key))
            .collect();
        match *given.as_slice() {
            [] => {}
            [key] => {
                let budget = training.remove(key).map(|value| (key.to_owned(), value));
                let budget = Table::from_iter(budget);
                training.insert("budget".to_owned(), budget.into());
            }
            _ => {
                let given = given.join(" and training.");
                return Err(refused(format!(
                    "training.{given} exclude each other: how long a client trains is said once"
                )));
            }
        }
        Ok(training)
    }
}

const KEEP_STEPS: &str = "keep_steps";

fn is_zero(value: &Value) -> bool {
    value.as_float() == Some(0.0) || value.as_integer() == Some(0)
}

/// The defaults, but for the keys that the file has.
fn overlaid<T: Serialize + for<'a> Deserialize<'a>>(
    name: &str,
    defaults: &T,
    written: Table,
) -> Result<T, ExperimentError> {
    let mut values =
        Table::try_from(defaults).map_err(|error| refused(format!("[{name}]: {error}")))?;
    values.extend(written);
    parsed(name, values)
}

fn parsed<T: for<'a> Deserialize<'a>>(name: &str, values: Table) -> Result<T, ExperimentError> {
    values.try_into().map_err(|error: toml::de::Error| {
        // Errors in a value without a file say the key in a line of its own.
        let problem = error.to_string().trim().replace('\n', " ");
        refused(format!("[{name}]: {problem}"))
    })
}

fn refused(problem: String) -> ExperimentError {
    ExperimentError::Plan { problem }
}
