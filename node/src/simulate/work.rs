//! What a virtual client computes in a round: the same as a node, with the same code.

use std::ops::ControlFlow;

use rand_chacha::rand_core::Rng;
use secagg::Session;
use secagg_learning::{Counters, Directions, Evolution, Parts, Plan, WeightsDown};
use secagg_wire::digest::Hasher;

use super::SimulateError;
use super::experiment::{Source, Synthetic};
use super::people::{Corpus, Places, model};
use super::randomness::{Purpose, rng, seed, unit};
use crate::evaluation::{Evaluation, evaluate};
use crate::exploration::{ExplorationTask, explore};
use crate::model::{Model, ModelDescription, Weights};
use crate::training::{TrainingError, TrainingLoss, TrainingTask, train};

/// All virtual clients. They take turns with one model.
#[derive(Debug)]
pub(super) enum Clients {
    Text(Box<TextClients>),
    Synthetic(Synthetic),
}

#[derive(Debug)]
pub(super) struct TextClients {
    pub(super) description: ModelDescription,
    model: Model,
    corpus: Corpus,
}

/// What a client sends, before it is encoded.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Update {
    /// New minus old weights, or how much the loss falls along each direction of the round.
    pub(super) delta: Vec<f32>,
    pub(super) counters: Counters,
}

impl Clients {
    /// Reads what they need; with the initial weights.
    pub(super) fn open(
        source: &Source,
        max_words: u32,
        seed: u32,
        places: Places<'_>,
    ) -> Result<(Self, Vec<f32>), SimulateError> {
        let text = match source {
            Source::Synthetic(synthetic) => {
                let initial = vec![0.0; synthetic.parameters as usize];
                return Ok((Self::Synthetic(*synthetic), initial));
            }
            Source::Text(text) => text,
        };
        let (files, initial) = model(&text.model, places)?;
        let corpus = Corpus::read(text, &files, max_words as usize, seed, places)?;
        if corpus.validation.is_empty() {
            return Err(SimulateError::NoValidation);
        }
        let model = Model::new(&files.description, &initial)?;
        let description = files.description;
        let clients = TextClients {
            description,
            model,
            corpus,
        };
        Ok((Self::Text(Box::new(clients)), initial.into_values()))
    }

    /// How many clients there are.
    pub(super) fn count(&self) -> u32 {
        match self {
            Self::Text(text) => u32::try_from(text.corpus.clients.len()).unwrap_or(u32::MAX),
            Self::Synthetic(synthetic) => synthetic.clients,
        }
    }

    /// Where the tensors and rows lie that these names and patterns mean; without any, all of them.
    pub(super) fn parts(&self, patterns: &[String]) -> Result<Parts, SimulateError> {
        match self {
            Self::Synthetic(_) if patterns.is_empty() => Ok(Parts::ALL),
            Self::Synthetic(_) => Err(SimulateError::NoTensors),
            Self::Text(text) => {
                let shapes = text.description.shapes().iter();
                let tensors =
                    shapes.map(|shape| (shape.name.as_str(), shape.dimensions.as_slice()));
                Ok(Parts::of_tensors(tensors, patterns)?)
            }
        }
    }

    /// The tensors' dimensions; of what is synthetic, one vector.
    pub(super) fn shapes(&self) -> Vec<Vec<usize>> {
        match self {
            Self::Text(text) => text.dimensions().map(<[usize]>::to_vec).collect(),
            Self::Synthetic(synthetic) => vec![vec![synthetic.parameters as usize]],
        }
    }

    /// Turns the weights into what clients receive of them.
    pub(super) fn receive(&self, down: WeightsDown, weights: &mut [f32]) {
        match self {
            Self::Text(text) => down.received(text.dimensions(), weights),
            Self::Synthetic(_) => down.received([weights.len()].chunks(1), weights),
        }
    }

    /// Bytes of the weights that a client receives.
    pub(super) fn bytes_down(&self, down: WeightsDown) -> u64 {
        match self {
            Self::Text(text) => down.bytes(text.dimensions()),
            Self::Synthetic(synthetic) => down.bytes([synthetic.parameters as usize].chunks(1)),
        }
    }

    /// Messages of all clients together.
    pub(super) fn messages(&self) -> u64 {
        match self {
            Self::Text(text) => text.corpus.clients.iter().map(|own| own.len() as u64).sum(),
            Self::Synthetic(_) => 0,
        }
    }

    /// Trains from the global weights on a client's own text, or tries the round's directions on it, or
    /// draws an update.
    pub(super) fn update(
        &mut self,
        experiment: u32,
        session: &Session,
        client: u32,
        weights: &[f32],
        plan: &Plan,
    ) -> Result<Update, SimulateError> {
        let round = u32::try_from(session.context().round).unwrap_or(u32::MAX);
        let mut counters = Counters::new();
        let delta = match self {
            Self::Text(text) => {
                let seed = seed(experiment, Purpose::Training, round, client);
                let trained = match plan.evolution() {
                    None => text.train(client, weights, plan, session, seed),
                    Some(evolution) => {
                        text.explore(client, weights, plan, session, evolution, seed)
                    }
                };
                let (delta, loss, examples) = trained.map_err(|error| SimulateError::Training {
                    round,
                    client,
                    error,
                })?;
                counters.record_training(examples, loss.sum, loss.tokens)?;
                delta
            }
            Self::Synthetic(synthetic) => {
                counters.record_training(synthetic.examples.into(), 0.0, 0)?;
                drawn(
                    synthetic,
                    plan.update_len(),
                    &mut rng(experiment, Purpose::Synthetic, round, client),
                )
            }
        };
        Ok(Update { delta, counters })
    }

    /// Evaluates weights on the validation text; `None` where there is none.
    pub(super) fn evaluate(
        &mut self,
        weights: &[f32],
    ) -> Result<Option<Evaluation>, SimulateError> {
        let Self::Text(text) = self else {
            return Ok(None);
        };
        text.model.load_flat(weights)?;
        Ok(Some(evaluate(&text.model, &text.corpus.validation)))
    }

    /// Weights as a file; `None` where there is no model.
    pub(super) fn file(&self, weights: &[f32]) -> Result<Option<Vec<u8>>, SimulateError> {
        let Self::Text(text) = self else {
            return Ok(None);
        };
        let weights = Weights::new(&text.description, weights.to_vec())?;
        Ok(Some(weights.to_safetensors()))
    }

    /// Adds to a digest what clients train and evaluate on.
    pub(super) fn digest(&self, hasher: &mut Hasher) {
        let Self::Text(text) = self else { return };
        hasher.update(text.description.to_toml().as_bytes());
        for own in text.corpus.clients.iter().chain([&text.corpus.validation]) {
            own.digest(hasher);
        }
    }
}

/// Update, loss and examples.
type Trained = (Vec<f32>, TrainingLoss, u64);

impl TextClients {
    fn dimensions(&self) -> impl Iterator<Item = &[usize]> {
        let shapes = self.description.shapes().iter();
        shapes.map(|shape| shape.dimensions.as_slice())
    }

    fn train(
        &mut self,
        client: u32,
        weights: &[f32],
        plan: &Plan,
        session: &Session,
        seed: [u8; 32],
    ) -> Result<Trained, TrainingError> {
        let text = &self.corpus.clients[client as usize];
        let task = TrainingTask::new(plan.training(), session.context().round, seed);
        let mut go_on = |_| ControlFlow::Continue(());
        self.model.train_only(&plan.update().parts);
        let trained = train(&mut self.model, weights, text, &task, &mut go_on)?;
        Ok((trained.delta, trained.loss, trained.examples))
    }

    fn explore(
        &mut self,
        client: u32,
        weights: &[f32],
        plan: &Plan,
        session: &Session,
        evolution: &Evolution,
        seed: [u8; 32],
    ) -> Result<Trained, TrainingError> {
        let text = &self.corpus.clients[client as usize];
        let training = plan.training();
        let task = ExplorationTask {
            evolution,
            directions: &Directions::new(session),
            parts: &plan.update().parts,
            messages: training.batch as usize * training.accumulate as usize,
            seed,
        };
        let mut go_on = |_| ControlFlow::Continue(());
        let explored = explore(&mut self.model, weights, text, &task, &mut go_on)?;
        Ok((explored.falls, explored.loss, explored.examples))
    }
}

/// So many elements, uniform in an interval around zero, with the expected norm.
fn drawn(synthetic: &Synthetic, elements: usize, rng: &mut impl Rng) -> Vec<f32> {
    // The mean square of a uniform number in ±bound is bound²/3.
    let bound = f64::from(synthetic.norm) * (3.0 / elements as f64).sqrt();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounded to the nearest f32"
    )]
    let element = |unit: f64| ((2.0 * unit - 1.0) * bound) as f32;
    (0..elements).map(|_| element(unit(rng))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secagg::{Context, GraphKind, Parameters, ThreatModel};
    use secagg_learning::{RoundKind, ServerOptimizerConfig, TrainingPlan, UpdatePlan};

    use super::*;

    #[test]
    fn synthetic_updates_have_the_norm_and_are_each_clients_own() {
        let synthetic = Synthetic {
            clients: 5,
            parameters: 20_000,
            norm: 3.0,
            examples: 7,
        };
        let places = Places {
            experiment: Path::new(""),
            data: Path::new(""),
        };
        let source = Source::Synthetic(synthetic);
        let (mut clients, initial) = Clients::open(&source, 29, 1, places).unwrap();
        assert_eq!((clients.count(), initial.len()), (5, 20_000));
        let plan = UpdatePlan::default_for(20_000, 3);
        let server = ServerOptimizerConfig::DEFAULT;
        let plan = Plan::new(RoundKind::Train, plan, TrainingPlan::DEFAULT, server).unwrap();
        let session = |round| {
            let model = ThreatModel::HonestButCurious;
            let parameters = Parameters::new(model, GraphKind::Complete, 3..=3, plan.layout());
            let context = Context {
                round,
                nonce: [0; 32],
                model_digest: [0; 32],
                plan_digest: [0; 32],
            };
            Session::new(parameters.unwrap(), context)
        };
        let mut update = |round, client| {
            let session = session(round);
            clients
                .update(1, &session, client, &initial, &plan)
                .unwrap()
        };
        let first = update(1, 0);
        let norm = first
            .delta
            .iter()
            .map(|x| f64::from(x * x))
            .sum::<f64>()
            .sqrt();
        assert!((norm - 3.0).abs() < 0.1, "{norm}");
        assert_eq!(first.counters.value(secagg_learning::Counter::Weight), 7);
        assert_eq!(first, update(1, 0));
        assert_ne!(first.delta, update(1, 1).delta);
        assert_ne!(first.delta, update(2, 0).delta);
        assert_eq!(clients.evaluate(&initial).unwrap(), None);
        assert_eq!(clients.file(&initial).unwrap(), None);
    }
}
