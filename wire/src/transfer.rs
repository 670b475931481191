//! Large transfers, each on a unidirectional stream of its own: a header frame, then raw bytes.
//!
//! Files go down to the nodes, masked vectors go up to the coordinator. A receiver that does not
//! read yet holds [`STREAM_WINDOW`](crate::endpoint::STREAM_WINDOW) bytes at most; the sender waits.

mod error;
mod receive;

use bytes::Bytes;
use quinn::{Connection, SendStream};

pub use self::{
    error::TransferError,
    receive::{Incoming, IncomingFile, IncomingMasked, IncomingStream, accept_stream},
};
use crate::{
    close::{Lost, StopCode},
    digest::FileDigest,
    frame::{encode, messages},
};

messages! {
    /// What a stream carries.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum StreamHeader (secagg: secagg) {
        /// A file that was asked for.
        File = 0x21, cap 64, {
            /// Its digest and length.
            file: FileDigest,
        }
        /// A masked vector.
        Masked = 0x22, cap 64, {
            /// The round.
            round: u64,
            /// The attempt.
            attempt: u32,
            /// Bytes of the vector.
            len: u64,
        }
    }
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes done: read, or taken by the transport to be sent.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// A transfer that is being sent. The bytes are shared with the caller's buffer, not copied.
#[derive(Debug)]
pub struct Outgoing {
    stream: SendStream,
    bytes: Bytes,
    sent: usize,
}

impl Outgoing {
    /// Starts to send a file, of which `file` is the digest.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn file(
        connection: &Connection,
        file: FileDigest,
        bytes: Bytes,
    ) -> Result<Self, TransferError> {
        Self::open(connection, &StreamHeader::File { file }, bytes).await
    }

    /// Starts to send a masked vector.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn masked(
        connection: &Connection,
        round: u64,
        attempt: u32,
        bytes: Bytes,
    ) -> Result<Self, TransferError> {
        let header = StreamHeader::Masked {
            round,
            attempt,
            len: bytes.len() as u64,
        };
        Self::open(connection, &header, bytes).await
    }

    /// Sends until `end` bytes (or all, if there are fewer) were taken by the transport.
    /// Cancel-safe: after a dropped call the next one goes on where it was.
    ///
    /// # Errors
    /// [`TransferError::Stopped`] when the receiver wants no more.
    pub async fn send_until(
        &mut self,
        end: usize,
        mut progress: impl FnMut(Progress),
    ) -> Result<(), TransferError> {
        let end = end.min(self.bytes.len());
        while self.sent < end {
            let next = end.min(self.sent + CHUNK);
            // Not `write_chunk`: when that is cancelled, nobody knows how much of it was taken.
            let mut chunk = [self.bytes.slice(self.sent..next)];
            self.sent += self.stream.write_chunks(&mut chunk).await?.bytes;
            progress(self.progress());
        }
        Ok(())
    }

    /// Sends the rest and waits until the receiver's transport has everything.
    ///
    /// # Errors
    /// [`TransferError::Stopped`] when the receiver wants no more.
    pub async fn finish(mut self, progress: impl FnMut(Progress)) -> Result<(), TransferError> {
        self.send_until(self.bytes.len(), progress).await?;
        // It can only be closed already by `finish` or `reset`, both of which consume `self`.
        let _ = self.stream.finish();
        match self.stream.stopped().await {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(TransferError::stopped(code)),
            Err(quinn::StoppedError::ConnectionLost(error)) => Err(Lost::from(error).into()),
            Err(quinn::StoppedError::ZeroRttRejected) => Err(TransferError::Gone),
        }
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            done: self.sent as u64,
            total: self.bytes.len() as u64,
        }
    }

    async fn open(
        connection: &Connection,
        header: &StreamHeader,
        bytes: Bytes,
    ) -> Result<Self, TransferError> {
        let mut stream = connection.open_uni().await.map_err(Lost::from)?;
        stream.write_chunk(encode(header)?.into()).await?;
        Ok(Self {
            stream,
            bytes,
            sent: 0,
        })
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // Without this, dropping the stream would end it as if it were complete. After `finish`
        // it has no effect.
        if self.sent < self.bytes.len() {
            let _ = self.stream.reset(StopCode::Cancelled.to_varint());
        }
    }
}

/// Sends a file; see [`Outgoing`].
///
/// # Errors
/// See [`Outgoing::finish`].
pub async fn send_file(
    connection: &Connection,
    file: FileDigest,
    bytes: Bytes,
    progress: impl FnMut(Progress),
) -> Result<(), TransferError> {
    Outgoing::file(connection, file, bytes)
        .await?
        .finish(progress)
        .await
}

/// Sends a masked vector; see [`Outgoing`].
///
/// # Errors
/// See [`Outgoing::finish`].
pub async fn send_masked(
    connection: &Connection,
    round: u64,
    attempt: u32,
    bytes: Bytes,
    progress: impl FnMut(Progress),
) -> Result<(), TransferError> {
    Outgoing::masked(connection, round, attempt, bytes)
        .await?
        .finish(progress)
        .await
}

/// Bytes handed to the transport at a time, between two reports of progress.
const CHUNK: usize = 128 << 10;
