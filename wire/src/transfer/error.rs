//! Why a transfer did not complete.

use crate::{
    close::{Lost, StopCode},
    digest::{Digest, FileDigest},
    frame::FrameError,
};

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
    pub(super) fn stopped(code: quinn::VarInt) -> Self {
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
