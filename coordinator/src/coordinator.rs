//! A coordinator: everything in a folder, put together and run.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc};

use secagg::ThreatModel;
use secagg_learning::{OptimizerError, RoundKind, ServerOptimizer};
use secagg_wire::{
    close::CloseCode,
    digest::{Digest, checkpoint_digest, plan_digest},
    endpoint::{EndpointError, listen},
    identity::{IdentityError, TlsIdentity},
    plan::{PlanBytesError, encode_plan},
};
use serde_json::json;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Duration, timeout},
};

use crate::{
    config::{Config, ConfigError},
    download::file_down,
    events::Events,
    folder::{Folder, Lock, LockError},
    following::{Rule, StepLog},
    lies::Lies,
    model::{INITIAL, Model, ModelError},
    pause::Pauses,
    progress::Progress,
    round::Environment,
    server::{self, FileSet, Lobby, Shared},
    store::{KeptStep, Round, Store, StoreError, StoreHandle, Weights, WeightsFolder},
    training::{Finished, RunError, Training, parameters},
};

/// How a coordinator runs, beside its configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where events go.
    pub events: Events,
    /// What the operator sees.
    pub progress: Progress,
    /// Where to pause; nowhere in a default build.
    pub pauses: Pauses,
    /// What it lies about; nothing in a default build.
    pub lies: Lies,
    /// Listens here instead of at the configured address.
    pub listen: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            events: Events::none(),
            progress: Progress::none(),
            pauses: Pauses::default(),
            lies: Lies::default(),
            listen: None,
        }
    }
}

/// A coordinator that listens.
pub struct Coordinator {
    endpoint: quinn::Endpoint,
    address: SocketAddr,
    shared: Arc<Shared>,
    training: Training,
    _lock: Lock,
}

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coordinator")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Coordinator {
    /// Opens the folder, goes back to the last complete round, and listens. Nodes are served once
    /// it [`run`](Self::run)s.
    ///
    /// Needs a multi-threaded tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] that says which file or value is wrong.
    pub fn open(
        path: &Path,
        options: Options,
        shutdown: watch::Receiver<bool>,
    ) -> Result<Self, StartError> {
        let folder = Folder::new(path);
        let config = Arc::new(Config::load(&folder.config())?);
        let lock = folder.lock()?;
        let identity = TlsIdentity::load(&folder.identity())?;
        let model = Arc::new(Model::load(&folder.model())?);
        if config.cohort.threat_model != ThreatModel::HonestButCurious && config.authority.is_none()
        {
            return Err(ConfigError::NoAuthority.into());
        }
        for kind in [RoundKind::Train, RoundKind::EvaluateOnly] {
            let plan = config.plan(kind, &model.shapes)?;
            encode_plan(&plan)?;
            parameters(&config, &plan)?;
        }
        let mut store = Store::open(&folder.history())?;
        let rounds = store.rounds()?;
        let seed = store.setting("selection seed", random)?;
        let weights_folder = WeightsFolder::new(folder.weights())?;
        let weights = weights_folder.recover(&rounds, &model, config.server_optimizer())?;
        let weights_down = config.rounds.weights_down;
        let pruned = config.rounds.pruning.is_some();
        let down = file_down(&model.shapes, &weights.file, weights_down, pruned)
            .map_err(|error| ModelError::weights(&folder.model().join(INITIAL), &error))?;
        let log = step_log(&config, &model, &weights, &rounds, store.steps()?)?;

        let mut network = config.network.clone();
        network.listen = options.listen.unwrap_or(network.listen);
        let endpoint = listen(network.listen, &identity, &network.timeouts)?;
        let address = endpoint.local_addr().map_err(|error| EndpointError::Bind {
            address: network.listen,
            error,
        })?;

        let store = StoreHandle::new(store);
        let (inputs, from_connections) = mpsc::channel(INPUTS);
        let (window, windows) = watch::channel(None);
        let (files, file_sets) = watch::channel(Arc::new(FileSet::of_model(&model)));
        let shared = Shared {
            config: Arc::clone(&config),
            federation: config.federation.clone(),
            model_files: [&model.description, &model.vocabulary, &model.initial]
                .map(|file| file.digest),
            fingerprint: identity.fingerprint(),
            store: store.clone(),
            events: options.events.clone(),
            files: file_sets,
            window: windows,
            slots: Arc::new(Semaphore::new(config.uploads.max_buffered)),
            inputs,
            next_connection: std::sync::atomic::AtomicU64::new(1),
        };
        let training = Training {
            lobby: Lobby::new(
                from_connections,
                shutdown,
                options.events.clone(),
                options.lies,
            ),
            environment: Environment {
                config,
                store,
                events: options.events,
                pauses: options.pauses,
                progress: options.progress,
                window,
            },
            model,
            folder: weights_folder,
            weights,
            down,
            log,
            rounds,
            files,
            seed,
            former: None,
            begun: false,
        };
        Ok(Self {
            endpoint,
            address,
            shared: Arc::new(shared),
            training,
            _lock: lock,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves nodes and trains until training is over or `shutdown` becomes true. Every node is
    /// told how it ended.
    ///
    /// # Errors
    /// [`RunError`]; weights and history of all complete rounds are kept.
    pub async fn run(mut self) -> Result<Finished, RunError> {
        let events = self.shared.events.clone();
        let address = self.address.to_string();
        events.event("listening", json!({ "addr": address }));
        let progress = self.training.environment.progress.clone();
        progress.line(&format!("listening on quic://{address}"));
        let accepting = tokio::spawn(server::accept(self.endpoint.clone(), self.shared));
        let result = self.training.run().await;
        match &result {
            Ok(finished) => {
                events.event(
                    "finished",
                    json!({
                        "rounds": finished.rounds,
                        "reason": finished.reason,
                        "best_round": finished.best_round,
                    }),
                );
                progress.line(&format!("finished: {}", finished.reason));
                self.training.lobby.finish(&finished.reason).await;
                self.training.lobby.close("training is over");
            }
            Err(error) => {
                events.event("stopped", json!({ "reason": error.to_string() }));
                self.training
                    .lobby
                    .close("the coordinator is shutting down");
            }
        }
        progress.finish();
        accepting.abort();
        let code = quinn::VarInt::from_u64(CloseCode::ShuttingDown.number());
        self.endpoint
            .close(code.unwrap_or(quinn::VarInt::MAX), b"shutting down");
        // A node that does not acknowledge must not keep the process.
        let _ = timeout(Duration::from_secs(2), self.endpoint.wait_idle()).await;
        result
    }
}

/// Inputs that wait for the task that owns the round. Connections wait when it is full.
const INPUTS: usize = 256;

/// With evolution strategies, the log of the steps that led to these weights.
fn step_log(
    config: &Config,
    model: &Model,
    weights: &Weights,
    rounds: &[Round],
    kept: BTreeMap<u64, KeptStep>,
) -> Result<Option<StepLog>, StartError> {
    let Some(evolution) = config.evolution() else {
        return Ok(None);
    };
    let plan = encode_plan(&config.plan(RoundKind::Train, &model.shapes)?)?;
    let rule = Rule {
        plan: Digest::from_bytes(plan_digest(&plan)),
        evolution,
        keep: config.keep_steps,
    };
    let len = model.shapes.parameters() as usize;
    let fresh = ServerOptimizer::new(config.server_optimizer(), len)?;
    let state = fresh.to_file().map(|state| Digest::of(&state));
    let start = checkpoint_digest(&model.initial.digest.sha256, state.as_ref());
    let (current, optimizer) = (weights.file.digest, &weights.optimizer);
    let log = StepLog::recover(rule, start, rounds, kept, current, optimizer);
    Ok(Some(log))
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    // Selection is not secret: without randomness it is merely predictable.
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::warn!("no randomness for the seed of selection: {error}");
    }
    bytes
}

/// Why a coordinator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder is in use.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The optimiser's constants are out of bounds.
    #[error("coordinator.toml: {0}")]
    Optimizer(#[from] OptimizerError),
    /// The plan is too long to be announced.
    #[error(transparent)]
    Plan(#[from] PlanBytesError),
    /// The protocol refuses the parameters.
    #[error("[cohort] and [update] give no valid parameters: {0}")]
    Parameters(#[from] secagg::ParametersError),
    /// History or weights cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] EndpointError),
}
