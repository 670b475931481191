//! The network side: connections, their quotas, and what reaches the one task that owns the round.

mod enrolment;
mod files;
mod gate;
mod link;
mod lobby;
mod participant;
mod uploads;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use secagg_wire::{
    close::{CloseCode, close},
    digest::FileDigest,
    endpoint,
    identity::Fingerprint,
    text::Name,
    tls::Alpn,
};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc, watch};

use self::gate::{Admission, Gate, Verdict};
pub(crate) use self::{
    files::{FileSet, Former},
    link::{Input, Link, Upload},
    lobby::{Happening, Lobby},
    uploads::Window,
};
use crate::{config::Config, events::Events, store::StoreHandle};

/// What every connection's tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) federation: Name,
    /// Description, vocabulary and initial weights.
    pub(crate) model_files: [FileDigest; 3],
    pub(crate) fingerprint: Fingerprint,
    pub(crate) store: StoreHandle,
    pub(crate) events: Events,
    /// What may be downloaded now.
    pub(crate) files: watch::Receiver<Arc<FileSet>>,
    /// Whose masked vectors are awaited now.
    pub(crate) window: watch::Receiver<Option<Arc<Window>>>,
    /// One permit for each masked vector that may be in memory.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) next_connection: AtomicU64,
}

impl Shared {
    fn connection_id(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }
}

/// Takes connections until the endpoint is closed.
pub(crate) async fn accept(endpoint: quinn::Endpoint, shared: Arc<Shared>) {
    let gate = Gate::new(
        shared.config.network.max_connections,
        shared.config.network.handshakes_per_address,
    );
    let mut last_refusal: Option<Instant> = None;
    while let Some(incoming) = endpoint.accept().await {
        let address = incoming.remote_address();
        match gate.admit(address.ip(), incoming.remote_address_validated()) {
            Verdict::Admit(admission) => {
                tokio::spawn(connection(incoming, admission, Arc::clone(&shared)));
            }
            // A spoofed source address never answers; it costs one small packet.
            Verdict::Validate => {
                if let Err(error) = incoming.retry() {
                    error.into_incoming().refuse();
                }
            }
            Verdict::Refuse(reason) => {
                incoming.refuse();
                // A flood must not fill the log as well.
                if last_refusal.is_none_or(|last| last.elapsed().as_secs() >= 1) {
                    last_refusal = Some(Instant::now());
                    refused(&shared.events, &address, reason);
                }
            }
        }
    }
}

async fn connection(incoming: quinn::Incoming, mut admission: Admission, shared: Arc<Shared>) {
    let address = incoming.remote_address();
    let peer = match endpoint::accept(incoming, &shared.config.network.timeouts).await {
        Ok(peer) => peer,
        Err(error) => return refused(&shared.events, &address, &error.to_string()),
    };
    admission.handshake_done();
    let connection = peer.connection.clone();
    let ended = match peer.alpn {
        Alpn::Enrol => enrolment::serve(&shared, peer).await,
        Alpn::Participate => participant::serve(Arc::clone(&shared), peer).await,
    };
    if let Err(Refusal { code, reason }) = ended {
        close(&connection, code, &reason);
        refused(&shared.events, &address, &reason);
    }
    drop(admission);
}

/// Why a connection got nowhere.
pub(crate) struct Refusal {
    pub(crate) code: CloseCode,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(code: CloseCode, reason: impl ToString) -> Self {
        Self {
            code,
            reason: reason.to_string(),
        }
    }
}

impl From<secagg_wire::channel::ChannelError> for Refusal {
    fn from(error: secagg_wire::channel::ChannelError) -> Self {
        Self::new(error.close_code(), error)
    }
}

impl From<crate::store::StoreError> for Refusal {
    fn from(error: crate::store::StoreError) -> Self {
        tracing::error!("{error}");
        Self::new(CloseCode::Internal, "the coordinator's store failed")
    }
}

fn refused(events: &Events, address: &std::net::SocketAddr, reason: &str) {
    events.event(
        "refused",
        json!({ "addr": address.to_string(), "reason": reason }),
    );
}
