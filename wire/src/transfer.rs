//! Large transfers, each on a unidirectional stream of its own: a header frame, then raw bytes.
//!
//! Files go down to the nodes, masked vectors go up to the coordinator. A receiver that does not
//! read yet holds [`STREAM_WINDOW`](crate::endpoint::STREAM_WINDOW) bytes at most; the sender waits.

use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use tokio::time::{Instant, timeout_at};

use crate::{
    close::{Lost, StopCode},
    digest::{Digest, FileDigest, Hasher},
    frame::{FrameError, FrameReader, ReceiveError, SecaggLimit, encode, messages},
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
    /// Starts to send a file.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn file(connection: &Connection, bytes: Bytes) -> Result<Self, TransferError> {
        let file = FileDigest::of(&bytes);
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
    bytes: Bytes,
    progress: impl FnMut(Progress),
) -> Result<(), TransferError> {
    Outgoing::file(connection, bytes)
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

/// A transfer that the other side has started.
#[derive(Debug)]
pub enum Incoming {
    /// A file.
    File(IncomingFile),
    /// A masked vector.
    Masked(IncomingMasked),
}

/// Waits for the next stream. Cancel-safe. Give it to a task of its own that reads the
/// [`header`](IncomingStream::header): one silent stream must not hold up the others.
///
/// # Errors
/// When the connection is lost.
pub async fn accept_stream(connection: &Connection) -> Result<IncomingStream, TransferError> {
    Ok(IncomingStream(
        connection.accept_uni().await.map_err(Lost::from)?,
    ))
}

/// A stream that has said nothing yet.
#[derive(Debug)]
pub struct IncomingStream(RecvStream);

impl IncomingStream {
    /// Reads what the stream carries.
    ///
    /// # Errors
    /// [`TransferError::Stalled`] when it does not say so within `stall`.
    pub async fn header(self, stall: Duration) -> Result<Incoming, TransferError> {
        let mut reader = FrameReader::new(self.0, SecaggLimit::new());
        let header = match tokio::time::timeout(stall, reader.read()).await {
            Ok(Ok(Some(header))) => header,
            Ok(Ok(None)) => return Err(TransferError::Ended { done: 0, total: 0 }),
            Ok(Err(ReceiveError::Frame(error))) => {
                stop(reader.source_mut(), StopCode::Malformed);
                return Err(error.into());
            }
            Ok(Err(ReceiveError::Io(error))) => return Err(failed(&error)),
            Err(_) => {
                stop(reader.source_mut(), StopCode::Stalled);
                return Err(TransferError::Stalled { done: 0, total: 0 });
            }
        };
        let stream = reader.into_inner();
        Ok(match header {
            StreamHeader::File { file } => Incoming::File(IncomingFile { stream, file }),
            StreamHeader::Masked {
                round,
                attempt,
                len,
            } => Incoming::Masked(IncomingMasked {
                stream,
                round,
                attempt,
                len,
            }),
        })
    }
}

/// A file that is arriving.
#[derive(Debug)]
pub struct IncomingFile {
    stream: RecvStream,
    file: FileDigest,
}

impl IncomingFile {
    /// What the sender says it is. Compare it with what was asked for.
    #[must_use]
    pub fn file(&self) -> FileDigest {
        self.file
    }

    /// Reads the file, of at most `cap` bytes, and checks it against `expected`.
    ///
    /// # Errors
    /// [`TransferError::TooLarge`] and [`TransferError::Unexpected`] before anything is allocated,
    /// [`TransferError::WrongDigest`] at the end, [`TransferError::Stalled`] when too little comes
    /// within `stall`.
    pub async fn receive(
        mut self,
        expected: &FileDigest,
        cap: u64,
        stall: Duration,
        progress: impl FnMut(Progress),
    ) -> Result<Vec<u8>, TransferError> {
        if self.file != *expected {
            stop(&mut self.stream, StopCode::NotWanted);
            return Err(TransferError::Unexpected {
                expected: *expected,
                found: self.file,
            });
        }
        let len = match usize::try_from(self.file.len) {
            Ok(len) if self.file.len <= cap => len,
            _ => {
                stop(&mut self.stream, StopCode::WrongLength);
                return Err(TransferError::TooLarge {
                    len: self.file.len,
                    cap,
                });
            }
        };
        let mut hasher = Hasher::new();
        let bytes = receive_exact(&mut self.stream, len, stall, progress, |piece| {
            hasher.update(piece);
        })
        .await?;
        let found = hasher.finish();
        if found != expected.sha256 {
            return Err(TransferError::WrongDigest {
                expected: expected.sha256,
                found,
            });
        }
        Ok(bytes)
    }

    /// Tells the sender that the file is not wanted.
    pub fn refuse(mut self, code: StopCode) {
        stop(&mut self.stream, code);
    }
}

/// A masked vector that is arriving. Until [`receive`](Self::receive) is called the sender waits
/// by flow control: that is how a coordinator lets uploads wait for a free slot.
#[derive(Debug)]
pub struct IncomingMasked {
    stream: RecvStream,
    round: u64,
    attempt: u32,
    len: u64,
}

impl IncomingMasked {
    /// The round that the sender says it is for.
    #[must_use]
    pub fn round(&self) -> u64 {
        self.round
    }

    /// The attempt that the sender says it is for.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Reads the vector into one buffer of exactly `expected` bytes, the length that the session
    /// gives it.
    ///
    /// # Errors
    /// [`TransferError::WrongLength`] before anything is allocated, when the sender announced
    /// another length; [`TransferError::Stalled`] when less than 4 KiB (or the rest, if shorter)
    /// comes within `stall`, and the sender is then told to stop.
    pub async fn receive(
        mut self,
        expected: usize,
        stall: Duration,
        progress: impl FnMut(Progress),
    ) -> Result<Vec<u8>, TransferError> {
        if self.len != expected as u64 {
            stop(&mut self.stream, StopCode::WrongLength);
            return Err(TransferError::WrongLength {
                len: self.len,
                expected: expected as u64,
            });
        }
        receive_exact(&mut self.stream, expected, stall, progress, |_| ()).await
    }

    /// Tells the sender that the vector is not wanted.
    pub fn refuse(mut self, code: StopCode) {
        stop(&mut self.stream, code);
    }
}

/// Why a transfer did not complete.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The connection is no more.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The header is no header.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The receiver wants no more.
    #[error("the receiver stopped the transfer: {0}")]
    Stopped(StopCode),
    /// The sender gave up.
    #[error("the sender gave up: {0}")]
    Cancelled(StopCode),
    /// Too little came for too long.
    #[error("the transfer stalled after {done} of {total} bytes")]
    Stalled {
        /// Bytes that came.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The stream ended before all bytes came.
    #[error("the transfer ended after {done} of {total} bytes")]
    Ended {
        /// Bytes that came.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// More bytes came than were announced.
    #[error("the transfer went on after its {total} bytes")]
    TrailingBytes {
        /// Bytes in all.
        total: u64,
    },
    /// The announced length is above the cap. Nothing was allocated for it.
    #[error("a file of {len} bytes was announced, at most {cap} are allowed")]
    TooLarge {
        /// The announced length.
        len: u64,
        /// The cap.
        cap: u64,
    },
    /// The announced length is not the session's. Nothing was allocated for it.
    #[error("a masked vector of {len} bytes was announced, the session's has {expected}")]
    WrongLength {
        /// The announced length.
        len: u64,
        /// The session's.
        expected: u64,
    },
    /// The file announced is not the one that was asked for.
    #[error(
        "another file came than was asked for: expected {} ({} bytes), announced {} ({} bytes)",
        .expected.sha256, .expected.len, .found.sha256, .found.len
    )]
    Unexpected {
        /// What was asked for.
        expected: FileDigest,
        /// What was announced.
        found: FileDigest,
    },
    /// The file's bytes are not what they should be.
    #[error("the file's SHA-256 is {found}, expected {expected}")]
    WrongDigest {
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// There is no memory for it.
    #[error("no memory for a transfer of {len} bytes")]
    NoMemory {
        /// Bytes in all.
        len: u64,
    },
    /// The stream was used after its end.
    #[error("the stream is gone")]
    Gone,
}

impl TransferError {
    fn stopped(code: quinn::VarInt) -> Self {
        Self::Stopped(StopCode::from_number(code.into_inner()))
    }
}

impl From<quinn::WriteError> for TransferError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::Stopped(code) => Self::stopped(code),
            quinn::WriteError::ConnectionLost(error) => Self::Lost(error.into()),
            quinn::WriteError::ClosedStream | quinn::WriteError::ZeroRttRejected => Self::Gone,
        }
    }
}

impl From<quinn::ReadError> for TransferError {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::Reset(code) => {
                Self::Cancelled(StopCode::from_number(code.into_inner()))
            }
            quinn::ReadError::ConnectionLost(error) => Self::Lost(error.into()),
            quinn::ReadError::ClosedStream
            | quinn::ReadError::IllegalOrderedRead
            | quinn::ReadError::ZeroRttRejected => Self::Gone,
        }
    }
}

/// Bytes handed to the transport at a time, between two reports of progress.
const CHUNK: usize = 32 << 10;

/// What must come within the stall timeout: a byte now and then would hold a slot for ever.
const MIN_PROGRESS: usize = 4 << 10;

async fn receive_exact(
    stream: &mut RecvStream,
    len: usize,
    stall: Duration,
    mut progress: impl FnMut(Progress),
    mut each: impl FnMut(&[u8]),
) -> Result<Vec<u8>, TransferError> {
    let total = len as u64;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(len)
        .map_err(|_| TransferError::NoMemory { len: total })?;
    let mut pace = Pace::new(stall);
    while bytes.len() < len {
        let done = bytes.len() as u64;
        let piece =
            match timeout_at(pace.deadline, stream.read_chunk(len - bytes.len(), true)).await {
                Ok(Ok(Some(piece))) => piece.bytes,
                Ok(Ok(None)) => return Err(TransferError::Ended { done, total }),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    stop(stream, StopCode::Stalled);
                    return Err(TransferError::Stalled { done, total });
                }
            };
        each(&piece);
        bytes.extend_from_slice(&piece);
        pace.came(piece.len());
        progress(Progress {
            done: bytes.len() as u64,
            total,
        });
    }
    match timeout_at(pace.deadline, stream.read_chunk(1, true)).await {
        Ok(Ok(None)) => Ok(bytes),
        Ok(Ok(Some(_))) => {
            stop(stream, StopCode::Malformed);
            Err(TransferError::TrailingBytes { total })
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            stop(stream, StopCode::Stalled);
            Err(TransferError::Stalled { done: total, total })
        }
    }
}

/// When a transfer counts as stalled: the deadline moves on with every [`MIN_PROGRESS`] bytes.
struct Pace {
    stall: Duration,
    deadline: Instant,
    came: usize,
}

impl Pace {
    fn new(stall: Duration) -> Self {
        Self {
            stall,
            deadline: Instant::now() + stall,
            came: 0,
        }
    }

    fn came(&mut self, bytes: usize) {
        self.came += bytes;
        if self.came >= MIN_PROGRESS {
            self.came = 0;
            self.deadline = in_future(self.stall);
        }
    }
}

/// A moment `delay` from now; a delay beyond what the clock can count is a year.
fn in_future(delay: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(delay)
        .unwrap_or_else(|| now + Duration::from_secs(365 * 24 * 3600))
}

fn stop(stream: &mut RecvStream, code: StopCode) {
    // It can only be stopped already, which is what is wanted.
    let _ = stream.stop(code.to_varint());
}

/// What a failed read of the header means.
fn failed(error: &std::io::Error) -> TransferError {
    match error
        .get_ref()
        .and_then(|error| error.downcast_ref::<quinn::ReadError>())
    {
        Some(error) => error.clone().into(),
        None => TransferError::Gone,
    }
}
