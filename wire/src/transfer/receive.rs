//! The receiving side of a transfer.

use std::{mem, time::Duration};

use bytes::Bytes;
use quinn::{Connection, RecvStream};
use tokio::time::{Instant, timeout_at};

use super::{Progress, StreamHeader, TransferError};
use crate::{
    close::{Lost, StopCode},
    digest::{FileDigest, Hasher},
    frame::{FrameReader, ReceiveError, SecaggLimit},
};

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
        let taken = |piece: &[u8]| hasher.update(piece);
        let bytes = receive_exactly(&mut self.stream, len, stall, taken, progress).await?;
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
        receive_exactly(&mut self.stream, expected, stall, |_| (), progress).await
    }

    /// Tells the sender that the vector is not wanted.
    pub fn refuse(mut self, code: StopCode) {
        stop(&mut self.stream, code);
    }
}

/// Pieces of a stream, a packet's each, taken at a time: the connection is locked once for all of them.
const PIECES: usize = 32;

/// What must come within the stall timeout: a byte now and then would hold a slot for ever.
const MIN_PROGRESS: usize = 4 << 10;

async fn receive_exactly(
    stream: &mut RecvStream,
    len: usize,
    stall: Duration,
    mut taken: impl FnMut(&[u8]),
    mut progress: impl FnMut(Progress),
) -> Result<Vec<u8>, TransferError> {
    let total = len as u64;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(len)
        .map_err(|_| TransferError::NoMemory { len: total })?;
    let mut pace = Pace::new(stall);
    let mut pieces = [const { Bytes::new() }; PIECES];
    while bytes.len() < len {
        let done = bytes.len() as u64;
        let came = match timeout_at(pace.deadline, stream.read_chunks(&mut pieces)).await {
            Ok(Ok(Some(came))) => came,
            Ok(Ok(None)) => return Err(TransferError::Ended { done, total }),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => {
                stop(stream, StopCode::Stalled);
                return Err(TransferError::Stalled { done, total });
            }
        };
        for piece in pieces.iter_mut().take(came) {
            let piece = mem::take(piece);
            if piece.len() > len - bytes.len() {
                stop(stream, StopCode::Malformed);
                return Err(TransferError::TrailingBytes { total });
            }
            taken(&piece);
            bytes.extend_from_slice(&piece);
            pace.came(piece.len());
        }
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
