//! What a round needs of the connection: messages out, files in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secagg_wire::channel::ControlSender;
use secagg_wire::close::StopCode;
use secagg_wire::digest::{Digest, FileDigest};
use secagg_wire::message::NodeMessage;
use secagg_wire::transfer::{Incoming, IncomingFile, TransferError, accept_stream};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::cache::Received;

/// How long nothing of a file may arrive.
const STALL: Duration = Duration::from_secs(30);

/// How long the coordinator may take until a file begins to arrive.
const FILE_WAIT: Duration = Duration::from_secs(120);

/// Messages that wait to be sent.
const QUEUE: usize = 16;

/// Where messages to the coordinator go: one task writes them, so that a round that is dropped
/// never leaves half a message on the stream.
#[derive(Clone, Debug)]
pub(super) struct Outbox(mpsc::Sender<NodeMessage>);

/// The connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the connection was lost")]
pub struct Disconnected;

impl Outbox {
    /// The outbox of a control stream, and the task that empties it; the task ends with the last
    /// clone, when everything was sent.
    pub(super) fn new(
        mut sender: ControlSender<NodeMessage>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (outbox, mut queue) = mpsc::channel(QUEUE);
        let writer = tokio::spawn(async move {
            while let Some(message) = queue.recv().await {
                if let Err(error) = sender.send(&message).await {
                    // Whoever reads from the connection learns that it is lost, and why.
                    tracing::debug!("sending failed: {error}");
                    return;
                }
            }
            if let Err(error) = sender.finish().await {
                tracing::debug!("the control stream did not end properly: {error}");
            }
        });
        (Self(outbox), writer)
    }

    pub(super) async fn send(&self, message: NodeMessage) -> Result<(), Disconnected> {
        self.0.send(message).await.map_err(|_| Disconnected)
    }
}

/// Files that were asked for and have not begun to arrive.
type Waiting = Arc<Mutex<BTreeMap<Digest, oneshot::Sender<IncomingFile>>>>;

/// Asks the coordinator for files.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    outbox: Outbox,
    waiting: Waiting,
}

/// Why a file did not come.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// It came wrong or not whole.
    #[error("the {what} did not arrive: {error}")]
    Transfer {
        /// Which file.
        what: &'static str,
        /// What was wrong.
        error: TransferError,
    },
    /// It did not begin to arrive.
    #[error("the {what} was asked for, and the coordinator sent nothing for {seconds} s")]
    NoAnswer {
        /// Which file.
        what: &'static str,
        /// How long the node waited.
        seconds: u64,
    },
    /// The connection is gone.
    #[error(transparent)]
    Disconnected(#[from] Disconnected),
}

impl Fetcher {
    /// A fetcher over a connection. Streams are accepted until the connection is lost.
    pub(super) fn new(connection: quinn::Connection, outbox: Outbox) -> Self {
        let waiting = Waiting::default();
        tokio::spawn(accept_files(connection, Arc::clone(&waiting)));
        Self { outbox, waiting }
    }

    /// Asks for a file of at most `cap` bytes and receives it, checked against its digest.
    pub(super) async fn fetch(
        &self,
        what: &'static str,
        expected: &FileDigest,
        cap: u64,
    ) -> Result<Received, FetchError> {
        let (arrived, arrives) = oneshot::channel();
        self.waiting().insert(expected.sha256, arrived);
        let digest = expected.sha256;
        self.outbox.send(NodeMessage::GetFile { digest }).await?;
        let file = timeout(FILE_WAIT, arrives)
            .await
            .map_err(|_| FetchError::NoAnswer {
                what,
                seconds: FILE_WAIT.as_secs(),
            })?
            .map_err(|_| Disconnected)?;
        let bytes = file
            .receive(expected, cap, STALL, |_| ())
            .await
            .map_err(|error| FetchError::Transfer { what, error })?;
        Ok(Received::checked(bytes, expected))
    }

    fn waiting(
        &self,
    ) -> std::sync::MutexGuard<'_, BTreeMap<Digest, oneshot::Sender<IncomingFile>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept_files(connection: quinn::Connection, waiting: Waiting) {
    while let Ok(stream) = accept_stream(&connection).await {
        let waiting = Arc::clone(&waiting);
        // A stream that says nothing must not hold up the next one.
        tokio::spawn(async move {
            match stream.header(STALL).await {
                Ok(Incoming::File(file)) => hand_over(file, &waiting),
                Ok(Incoming::Masked(vector)) => vector.refuse(StopCode::NotWanted),
                Err(error) => tracing::debug!("a stream without a header: {error}"),
            }
        });
    }
    // Nobody needs to wait any longer.
    waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
}

fn hand_over(file: IncomingFile, waiting: &Waiting) {
    let wanted = waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&file.file().sha256);
    // What nobody asked for, or nobody waits for any more, is refused before it is read.
    match wanted {
        Some(wanted) => {
            if let Err(file) = wanted.send(file) {
                file.refuse(StopCode::NotWanted);
            }
        }
        None => file.refuse(StopCode::NotWanted),
    }
}
