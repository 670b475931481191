//! Federated training of many virtual clients in one process, without sockets.
//!
//! What a round does is what coordinator and nodes do, with the same code: clients train
//! ([`crate::training`]), encode ([`secagg_learning::UpdateCodec`]), are summed in the ring, by the
//! real protocol of [`secagg`] or in the clear, and the server's optimiser makes its step
//! ([`secagg_learning::ServerOptimizer`]). What is missing is the network, and the clock: nobody is
//! late. Both ways of summing give the same weights to the bit.
//!
//! | module | what it holds |
//! |---|---|
//! | [`experiment`] | what is simulated, as a file says it |
//! | [`results`] | what came out, as JSON Lines |
//! | [`plot`] | pictures of it |
//!
//! A run is deterministic. It is saved every so many rounds, and goes on from there: after a kill
//! its results are, but for the seconds, those of a run that was never interrupted.
//!
//! # Security
//! All randomness, keys included, comes from the experiment's seed. A simulation protects nobody's
//! text: it has all of it in one process.

mod clock;
mod download;
pub mod experiment;
mod identity;
mod people;
pub mod plot;
mod randomness;
pub mod results;
mod run;
mod secure;
mod split;
mod state;
mod work;

use std::io;
use std::path::{Path, PathBuf};

use secagg::client::ClientError;
use secagg::server::{Abort, Rejection};
use secagg::{CredentialError, DecodeError, InputError, ParametersError};
use secagg_learning::{CodecError, CountersError, OptimizerError, TensorsError};
use thiserror::Error;

pub use experiment::{Experiment, ExperimentError};
pub use people::Places;
pub(crate) use randomness::unit;
pub use run::{Event, Finished, RESULTS_FILE, Simulation};
pub(crate) use split::{dirichlet, draw};

use crate::examples::ExampleError;
use crate::model::{ModelError, WeightsError};
use crate::text::TextError;
use crate::training::TrainingError;

/// Why a simulation could not begin, or ended early.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// The experiment is wrong.
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    /// The text cannot be read.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The model cannot be read or made.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The data is nothing that the model can learn from.
    #[error(transparent)]
    Examples(#[from] ExampleError),
    /// Weights are not the model's.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A model that is made needs a size of its vocabulary.
    #[error(
        "model.description.vocabulary is missing, or no whole number: the most words of the \
         vocabulary"
    )]
    NoVocabularySize,
    /// Tensors cannot be chosen for training.
    #[error("update.tensors: {0}")]
    Tensors(#[from] TensorsError),
    /// Updates that are drawn have no tensors.
    #[error("update.tensors names tensors, and [synthetic] has none; leave it out")]
    NoTensors,
    /// Updates that are drawn have no matrices.
    #[error("rounds.pruning prunes matrices, and [synthetic] has none; leave it out")]
    NoMatrices,
    /// There is nothing to evaluate on.
    #[error(
        "there is no message to evaluate on: name files in text.validation, or give each person ten \
         messages"
    )]
    NoValidation,
    /// Not every virtual client can have a message.
    #[error(
        "text.split asks for {clients} clients; there are only {messages} messages with a word"
    )]
    TooFewMessages {
        /// Clients asked for.
        clients: u32,
        /// Messages that can be dealt out.
        messages: usize,
    },
    /// Fewer clients than a round takes.
    #[error("cohort.clients is {cohort}; the experiment has only {clients} virtual clients")]
    TooFewClients {
        /// Clients of a round.
        cohort: u32,
        /// All there are.
        clients: u32,
    },
    /// A client's training failed.
    #[error("round {round}, client {client}: {error}")]
    Training {
        /// The round.
        round: u32,
        /// The client's number, from 0.
        client: u32,
        /// Why.
        error: TrainingError,
    },
    /// A loss is no number.
    #[error(transparent)]
    Counters(#[from] CountersError),
    /// An update or a sum was refused.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The server's optimiser refused its step.
    #[error("the server's optimiser: {0}; use a lower rate")]
    Optimizer(#[from] OptimizerError),
    /// Clear vectors could not be added.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The protocol refuses cohort or plan.
    #[error("[cohort] and [update] give no valid parameters: {0}")]
    Parameters(#[from] ParametersError),
    /// A simulated client left the protocol.
    #[error("the protocol failed at a client: {0}")]
    Client(#[from] ClientError),
    /// A message could not be read.
    #[error("the protocol failed at a message: {0}")]
    Decode(#[from] DecodeError),
    /// The server refused a message.
    #[error("the protocol failed at the server: {0}")]
    Rejected(#[from] Rejection),
    /// The server gave the round up.
    #[error("the protocol failed: {0}; another seed draws another graph")]
    Abort(#[from] Abort),
    /// A simulated client has no credential.
    #[error("the protocol failed at a credential: {0}")]
    Credential(#[from] CredentialError),
    /// A message that is due is not there.
    #[error("internal error: a message of the protocol is missing")]
    Silent,
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Results are no results.
    #[error(
        "{}, line {line}: {problem}; choose another folder with --out, or begin anew with --restart",
        path.display()
    )]
    Results {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A saved state cannot be gone on from.
    #[error(
        "{}: {problem}; choose another folder with --out, or begin anew with --restart",
        path.display()
    )]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The folder holds another experiment.
    #[error(
        "{} belongs to another experiment: its digest is {found}, that of this file with its model \
         and data is {expected}. Undo the change, choose another folder with --out, or remove what \
         is there and begin anew with --restart",
        path.display()
    )]
    OtherExperiment {
        /// The file.
        path: PathBuf,
        /// The digest that stands there.
        found: String,
        /// The digest of this experiment.
        expected: String,
    },
    /// Another process writes there.
    #[error("{}: another process is writing to it", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A plot could not be drawn.
    #[error("cannot draw {}: {problem}", path.display())]
    Plot {
        /// The plot.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The observer ended it.
    #[error("stopped; the same command goes on from the last saved round")]
    Stopped,
}

impl SimulateError {
    fn file(path: &Path, error: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            error,
        }
    }
}
