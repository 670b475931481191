//! The connection of a registered node.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use secagg_wire::{
    channel::{ChannelError, ControlReceiver, ControlSender, CoordinatorChannel},
    close::{CloseCode, Lost, close},
    endpoint::Peer,
    message::{CoordinatorMessage, NodeMessage, PROTOCOL_VERSION},
    transfer::send_file,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use super::{Input, Link, Refusal, Shared, files::Lookup, link::Outbound, uploads};
use crate::model::ModelFile;

/// Messages that wait for one node.
const OUTBOX: usize = 32;

/// Downloads of one node at a time.
const DOWNLOADS: usize = 4;

pub(super) async fn serve(shared: Arc<Shared>, peer: Peer) -> Result<(), Refusal> {
    let fingerprint = peer.fingerprint;
    let known = shared
        .store
        .with(move |store| store.node_by_fingerprint(&fingerprint))
        .await?;
    let Some((client, name)) = known else {
        let reason = "this certificate is not registered: run `secagg-node join` with a token";
        return Err(Refusal::new(CloseCode::UnknownIdentity, reason));
    };
    let patience = shared.config.network.timeouts.handshake;
    let mut channel = CoordinatorChannel::accept(&peer.connection, patience).await?;
    welcome(&shared, &mut channel, patience).await?;
    let limit = channel.limit().clone();
    let (sender, receiver) = channel.split();
    let (outbox, outbound) = mpsc::channel(OUTBOX);
    let link = Link {
        client,
        name,
        connection_id: shared.connection_id(),
        connection: peer.connection.clone(),
        outbox,
        limit,
        frames: Arc::new(AtomicU32::new(0)),
    };
    let reader = Reader {
        shared: Arc::clone(&shared),
        link: link.clone(),
        downloads: Arc::new(Semaphore::new(DOWNLOADS)),
        tasks: JoinSet::new(),
    };
    let connection_id = link.connection_id;
    let streams = uploads::serve(
        Arc::clone(&shared),
        peer.connection.clone(),
        client,
        connection_id,
    );
    if shared.inputs.send(Input::Connected(link)).await.is_err() {
        return Err(Refusal::new(CloseCode::ShuttingDown, "shutting down"));
    }
    let stall = shared.config.network.timeouts.idle;
    let reason = tokio::select! {
        reason = reader.run(receiver) => reason,
        reason = write(sender, outbound, stall) => reason,
        () = streams => "the connection is lost".to_owned(),
    };
    // The other tasks may have noticed first, with less to say.
    let reason = match peer.connection.close_reason() {
        Some(quinn::ConnectionError::LocallyClosed) | None => reason,
        Some(error) => Lost::from(error).to_string(),
    };
    close(&peer.connection, CloseCode::Done, &reason);
    let gone = Input::Gone {
        client,
        connection_id,
        reason,
    };
    // The coordinator has ended: nobody needs it.
    let _ = shared.inputs.send(gone).await;
    Ok(())
}

async fn welcome(
    shared: &Shared,
    channel: &mut CoordinatorChannel,
    patience: Duration,
) -> Result<(), Refusal> {
    match channel.receive_within(patience).await? {
        NodeMessage::Hello {
            protocol: PROTOCOL_VERSION,
            ..
        } => {}
        NodeMessage::Hello { protocol, .. } => {
            let reason =
                format!("this coordinator speaks version {PROTOCOL_VERSION}, not {protocol}");
            return Err(Refusal::new(CloseCode::ProtocolVersion, reason));
        }
        _ => {
            let reason = "a node says hello first";
            return Err(Refusal::new(CloseCode::UnexpectedMessage, reason));
        }
    }
    let [description, vocabulary, initial] = shared.model_files;
    let welcome = CoordinatorMessage::Welcome {
        federation: shared.federation.clone(),
        description,
        vocabulary,
        initial,
    };
    tokio::time::timeout(patience, channel.send(&welcome))
        .await
        .map_err(|_| Refusal::from(ChannelError::TimedOut))??;
    Ok(())
}

struct Reader {
    shared: Arc<Shared>,
    link: Link,
    downloads: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Reader {
    /// Reads messages until the connection is over, and says why.
    async fn run(mut self, mut receiver: ControlReceiver<NodeMessage>) -> String {
        loop {
            let message = tokio::select! {
                message = receiver.receive() => message,
                Some(_) = self.tasks.join_next() => continue,
            };
            let message = match message {
                Ok(message) => message,
                Err(error) => {
                    error.close(&self.link.connection);
                    return error.to_string();
                }
            };
            let sent = self.link.frames.fetch_add(1, Ordering::Relaxed);
            let allowed = self.shared.config.network.frames_per_round;
            // A node that floods costs itself its connection, and nobody else anything.
            if sent >= allowed {
                let reason = format!("more than {allowed} messages in one round");
                return self.end(CloseCode::NotAllowed, &reason);
            }
            match message {
                NodeMessage::GetFile { digest } => {
                    let found = self.shared.files.borrow().find(&digest);
                    match found {
                        Lookup::Found(bytes) => self.send(bytes),
                        Lookup::Former(rejected) => self.link.send(rejected),
                        Lookup::Unknown => {
                            let reason = format!("no file with the SHA-256 {digest} is offered");
                            return self.end(CloseCode::NotAllowed, &reason);
                        }
                    }
                }
                NodeMessage::Hello { .. } => {
                    let reason = "a second hello on one connection";
                    return self.end(CloseCode::UnexpectedMessage, reason);
                }
                message => {
                    let input = Input::Message {
                        client: self.link.client,
                        connection_id: self.link.connection_id,
                        message,
                    };
                    if self.shared.inputs.send(input).await.is_err() {
                        return "the coordinator has ended".to_owned();
                    }
                }
            }
        }
    }

    fn send(&mut self, file: ModelFile) {
        let connection = self.link.connection.clone();
        let downloads = Arc::clone(&self.downloads);
        self.tasks.spawn(async move {
            let _turn = downloads.acquire_owned().await;
            if let Err(error) = send_file(&connection, file.digest, file.bytes, |_| ()).await {
                tracing::debug!("a download failed: {error}");
            }
        });
    }

    fn end(&self, code: CloseCode, reason: &str) -> String {
        self.link.close(code, reason);
        reason.to_owned()
    }
}

/// Writes what is queued until the connection is over, and says why.
async fn write(
    mut sender: ControlSender<CoordinatorMessage>,
    mut outbound: mpsc::Receiver<Outbound>,
    stall: Duration,
) -> String {
    while let Some(next) = outbound.recv().await {
        let (message, last) = match next {
            Outbound::Message(message) => (message, None),
            Outbound::Last(message, code, why) => (message, Some((code, why))),
        };
        match tokio::time::timeout(stall, sender.send(&message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                error.close(sender.connection());
                return error.to_string();
            }
            Err(_) => {
                let reason = "this node does not read its messages";
                close(sender.connection(), CloseCode::Timeout, reason);
                return reason.to_owned();
            }
        }
        if let Some((code, why)) = last {
            let connection = sender.connection().clone();
            // Closing would discard what was not read yet.
            let _ = tokio::time::timeout(stall, sender.finish()).await;
            close(&connection, code, why);
            return why.to_owned();
        }
    }
    // The connection was replaced, and closed with its code.
    "the connection was replaced".to_owned()
}
