//! A client's end of a connection, with the raw stream at hand for what no honest client sends.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use quinn::{Connection, RecvStream, SendStream};
use secagg_wire::{
    close::{Closed, Lost},
    digest::FileDigest,
    endpoint::Link,
    frame::{self, FrameReader, SecaggLimit},
    message::{CoordinatorMessage, NodeMessage},
    transfer::{self, Incoming},
};

/// The control stream and the connection under it.
pub(super) struct Control {
    link: Link,
    send: SendStream,
    receive: FrameReader<RecvStream>,
    limit: SecaggLimit,
}

impl Control {
    pub(super) async fn open(link: Link) -> Result<Self> {
        let (send, receive) = link.connection.open_bi().await?;
        let limit = SecaggLimit::new();
        Ok(Self {
            link,
            send,
            receive: FrameReader::new(receive, limit.clone()),
            limit,
        })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.link.connection
    }

    /// The longest secagg message that is accepted from the coordinator.
    pub(super) fn limit(&self) -> &SecaggLimit {
        &self.limit
    }

    pub(super) async fn send(&mut self, message: &NodeMessage) -> Result<()> {
        self.send_raw(&frame::encode(message)?).await
    }

    /// Sends bytes that need not be a frame.
    pub(super) async fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.send.write_all(bytes).await?)
    }

    /// Ends this side's control stream.
    pub(super) fn end_stream(&mut self) {
        // It can only have ended already.
        let _ = self.send.finish();
    }

    /// Ends the control stream, waits until the coordinator has all of it, and closes.
    pub(super) async fn leave(mut self) {
        self.end_stream();
        // Either it has everything or it is gone.
        let _ = self.send.stopped().await;
        self.link
            .close(secagg_wire::close::CloseCode::Done, "leaving")
            .await;
    }

    pub(super) async fn receive(&mut self) -> Result<CoordinatorMessage> {
        let message = self.receive.read().await?;
        message.context("the coordinator has ended the control stream")
    }

    /// Asks for a file and waits for it.
    pub(super) async fn fetch(&mut self, file: &FileDigest) -> Result<Vec<u8>> {
        let digest = file.sha256;
        self.send(&NodeMessage::GetFile { digest }).await?;
        let stream = transfer::accept_stream(self.connection()).await?;
        match stream.header(STALL).await? {
            Incoming::File(incoming) => Ok(incoming.receive(file, FILE_CAP, STALL, |_| ()).await?),
            Incoming::Masked(_) => Err(anyhow!("the coordinator sends a masked vector")),
        }
    }

    /// Why the connection was closed, when the coordinator has closed it.
    pub(super) fn closed(&self) -> Option<Closed> {
        match Lost::from(self.connection().close_reason()?) {
            Lost::Closed(closed) if closed.by_peer => Some(closed),
            _ => None,
        }
    }
}

const STALL: Duration = Duration::from_secs(60);
const FILE_CAP: u64 = 1 << 30;
