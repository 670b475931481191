//! Masked vectors on their way in.
//!
//! At most as many are read at a time as there are slots. The others have sent their header and
//! wait by QUIC's flow control; what they hold here is one stream window.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use secagg::ClientId;
use secagg_wire::{
    close::{CloseCode, StopCode, close},
    transfer::{Incoming, IncomingMasked, IncomingStream, TransferError, accept_stream},
};
use tokio::{sync::watch, task::JoinSet};

use super::{Input, Shared, Upload};

/// Whose masked vectors are awaited.
#[derive(Debug)]
pub(crate) struct Window {
    /// Another for every window.
    pub(crate) serial: u64,
    pub(crate) round: u64,
    pub(crate) attempt: u32,
    /// Bytes of each vector.
    pub(crate) len: usize,
    /// Who may send one.
    pub(crate) members: BTreeSet<ClientId>,
}

/// Takes the streams of one connection until it is lost.
pub(super) async fn serve(
    shared: Arc<Shared>,
    connection: quinn::Connection,
    client: ClientId,
    connection_id: u64,
) {
    let taken = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            stream = accept_stream(&connection) => match stream {
                Ok(stream) => {
                    let upload = Uploader {
                        shared: Arc::clone(&shared),
                        connection: connection.clone(),
                        client,
                        connection_id,
                        taken: Arc::clone(&taken),
                    };
                    tasks.spawn(upload.take(stream));
                }
                Err(_) => return,
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

struct Uploader {
    shared: Arc<Shared>,
    connection: quinn::Connection,
    client: ClientId,
    connection_id: u64,
    /// The serial of the last window in which this connection has begun an upload.
    taken: Arc<AtomicU64>,
}

impl Uploader {
    async fn take(self, stream: IncomingStream) {
        let stall = self.shared.config.uploads.stall;
        match stream.header(stall).await {
            Ok(Incoming::Masked(masked)) => self.masked(masked).await,
            Ok(Incoming::File(file)) => {
                file.refuse(StopCode::NotWanted);
                let reason = "a node sends no files";
                close(&self.connection, CloseCode::UnexpectedMessage, reason);
            }
            Err(TransferError::Frame(error)) => {
                let code = CloseCode::for_frame(&error);
                close(&self.connection, code, &error.to_string());
            }
            Err(error) => {
                let window = self.shared.window.borrow().clone();
                if let Some(window) = window.filter(|window| window.members.contains(&self.client))
                {
                    self.failed(&window, error.to_string()).await;
                }
            }
        }
    }

    async fn masked(self, masked: IncomingMasked) {
        let mut windows = self.shared.window.clone();
        let window = windows.borrow_and_update().clone();
        let expected = window.filter(|window| {
            (window.round, window.attempt) == (masked.round(), masked.attempt())
                && window.members.contains(&self.client)
        });
        let Some(window) = expected else {
            return masked.refuse(StopCode::Late);
        };
        // A second stream would take a second slot.
        if self.taken.fetch_max(window.serial, Ordering::Relaxed) >= window.serial {
            return masked.refuse(StopCode::NotWanted);
        }
        let slots = Arc::clone(&self.shared.slots);
        let slot = tokio::select! {
            slot = slots.acquire_owned() => slot,
            () = over(&mut windows, window.serial) => return masked.refuse(StopCode::Late),
        };
        let Ok(slot) = slot else {
            return masked.refuse(StopCode::Late);
        };
        let received = tokio::select! {
            received = masked.receive(window.len, self.shared.config.uploads.stall, |_| ()) => received,
            // Dropping the stream tells the sender to stop.
            () = over(&mut windows, window.serial) => return,
        };
        match received {
            Ok(bytes) => {
                let upload = Upload {
                    serial: window.serial,
                    bytes,
                    slot,
                };
                self.input(Input::Upload {
                    client: self.client,
                    connection_id: self.connection_id,
                    upload,
                })
                .await;
            }
            Err(error) => {
                drop(slot);
                self.failed(&window, error.to_string()).await;
            }
        }
    }

    async fn failed(&self, window: &Window, reason: String) {
        self.input(Input::UploadFailed {
            client: self.client,
            connection_id: self.connection_id,
            serial: window.serial,
            reason,
        })
        .await;
    }

    async fn input(&self, input: Input) {
        // The coordinator has ended: nobody needs it.
        let _ = self.shared.inputs.send(input).await;
    }
}

/// Waits until a window is no longer the current one.
async fn over(windows: &mut watch::Receiver<Option<Arc<Window>>>, serial: u64) {
    let other =
        |window: &Option<Arc<Window>>| window.as_ref().is_none_or(|window| window.serial != serial);
    // An error means that the coordinator has ended.
    let _ = windows.wait_for(other).await;
}
