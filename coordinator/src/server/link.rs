//! What passes between a connection's tasks and the task that owns the round.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use secagg::ClientId;
use secagg_wire::{
    close::{CloseCode, close},
    frame::SecaggLimit,
    message::{CoordinatorMessage, NodeMessage},
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// From a connection's tasks.
#[derive(Debug)]
pub(crate) enum Input {
    /// A registered node has said hello.
    Connected(Link),
    /// A connection is over.
    Gone {
        client: ClientId,
        connection_id: u64,
        reason: String,
    },
    /// A control message, other than those that the connection's tasks answer themselves.
    Message {
        client: ClientId,
        connection_id: u64,
        message: NodeMessage,
    },
    /// A masked vector that arrived whole.
    Upload {
        client: ClientId,
        connection_id: u64,
        upload: Upload,
    },
    /// An upload that came to nothing.
    UploadFailed {
        client: ClientId,
        connection_id: u64,
        serial: u64,
        reason: String,
    },
}

/// A masked vector in memory. It holds its slot until it is dropped.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Of which window.
    pub(crate) serial: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) slot: OwnedSemaphorePermit,
}

/// To a connection's writing task.
#[derive(Debug)]
pub(crate) enum Outbound {
    /// One message.
    Message(CoordinatorMessage),
    /// The last message, then the connection is closed.
    Last(CoordinatorMessage, CloseCode, &'static str),
}

/// A connected node.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) client: ClientId,
    pub(crate) name: String,
    pub(crate) connection_id: u64,
    pub(crate) connection: quinn::Connection,
    pub(super) outbox: mpsc::Sender<Outbound>,
    pub(super) limit: SecaggLimit,
    pub(super) frames: Arc<AtomicU32>,
}

impl Link {
    /// Queues a message. A node that does not read its messages is closed: nobody waits for it.
    pub(crate) fn send(&self, message: CoordinatorMessage) {
        self.queue(Outbound::Message(message));
    }

    /// Queues the last message.
    pub(crate) fn send_last(
        &self,
        message: CoordinatorMessage,
        code: CloseCode,
        why: &'static str,
    ) {
        self.queue(Outbound::Last(message, code, why));
    }

    /// Closes the connection at once.
    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        close(&self.connection, code, reason);
    }

    /// Opens a new attempt for this node: longer messages, and a fresh quota.
    pub(crate) fn open_attempt(&self, longest: usize) {
        self.limit.allow(longest);
        self.frames.store(0, Ordering::Relaxed);
    }

    fn queue(&self, outbound: Outbound) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.outbox.try_send(outbound) {
            self.close(CloseCode::Timeout, "this node does not read its messages");
        }
    }
}
