//! Frames: `len: u32 LE ‖ kind: u8 ‖ body`, where `len` counts the body's bytes.
//!
//! Each kind has a cap, and the header is checked against it before anything is allocated.
//! A body is read as it arrives: a length that was claimed but never sent costs no memory.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a frame before its body.
pub const HEADER_LEN: usize = 5;

/// The most that [`SecaggLimit`] can be set to: 16 MiB.
pub const MAX_SECAGG_LEN: usize = 16 << 20;

/// What travels in frames on one stream, in one direction: each value has a kind, each kind a cap.
pub trait Message: Sized {
    /// The kind of this value.
    fn kind(&self) -> u8;

    /// The longest body of that kind in bytes, or `None` for a kind that this stream does not know.
    /// `secagg` is the longest secagg message that is expected now.
    fn cap(kind: u8, secagg: usize) -> Option<usize>;

    /// The body of this value.
    ///
    /// # Errors
    /// When it cannot be serialised, which no message of this crate comes to.
    fn encode_body(&self) -> Result<Vec<u8>, postcard::Error>;

    /// The value with that kind and body; every byte of the body must be used.
    ///
    /// # Errors
    /// For bytes that are not such a message.
    fn decode_body(kind: u8, body: &[u8]) -> Result<Self, FrameError>;
}

/// The longest secagg message that a reader accepts. A handle: clones share one number.
///
/// It starts at 0. Whoever starts a round calls [`allow`](Self::allow) with the longest of the
/// messages that may come.
#[derive(Clone, Debug, Default)]
pub struct SecaggLimit(Arc<AtomicUsize>);

impl SecaggLimit {
    /// No secagg message is accepted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts messages of up to `len` bytes from now on. It never shrinks, so that a late message
    /// of an earlier round is read and answered instead of ending the connection, and never passes
    /// [`MAX_SECAGG_LEN`].
    pub fn allow(&self, len: usize) {
        self.0.fetch_max(len.min(MAX_SECAGG_LEN), Ordering::Relaxed);
    }

    /// The limit in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether no secagg message is accepted yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bytes that are not a frame, or not one that is allowed here. The peer's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No message of this kind is known on this stream.
    #[error("a frame of unknown kind {kind:#04x}: do both sides run the same version?")]
    UnknownKind {
        /// The kind as sent.
        kind: u8,
    },
    /// The body is longer than its kind allows. Nothing was allocated for it.
    #[error("a frame of kind {kind:#04x} with {len} bytes, at most {cap} are allowed")]
    Oversized {
        /// The kind.
        kind: u8,
        /// The length that the header claims.
        len: usize,
        /// The cap of that kind.
        cap: usize,
    },
    /// The stream or slice ended within a frame.
    #[error("a frame was cut off: {have} of {need} bytes came")]
    Truncated {
        /// Bytes that came, the header's included.
        have: usize,
        /// Bytes that were needed, the header's included.
        need: usize,
    },
    /// The body is no such message.
    #[error("a frame of kind {kind:#04x} does not decode: {error}")]
    Malformed {
        /// The kind.
        kind: u8,
        /// What the decoder said.
        error: postcard::Error,
    },
    /// The body holds a message and something after it.
    #[error("a frame of kind {kind:#04x} has {extra} bytes too many")]
    TrailingBytes {
        /// The kind.
        kind: u8,
        /// Bytes left over.
        extra: usize,
    },
    /// The body decodes, but is not how that message is written.
    #[error("a frame of kind {kind:#04x} is not in canonical form")]
    NotCanonical {
        /// The kind.
        kind: u8,
    },
}

/// Why no message came out of a stream.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream failed.
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
}

/// A message as one frame.
///
/// # Errors
/// [`FrameError::Oversized`] when the message is longer than its receiver would accept.
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, FrameError> {
    let kind = message.kind();
    let body = message
        .encode_body()
        .map_err(|error| FrameError::Malformed { kind, error })?;
    let cap = M::cap(kind, MAX_SECAGG_LEN).ok_or(FrameError::UnknownKind { kind })?;
    let len = match u32::try_from(body.len()) {
        Ok(len) if body.len() <= cap => len,
        _ => {
            return Err(FrameError::Oversized {
                kind,
                len: body.len(),
                cap,
            });
        }
    };
    let mut frame = Vec::with_capacity(HEADER_LEN + body.len());
    frame.extend_from_slice(&len.to_le_bytes());
    frame.push(kind);
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// The message at the start of `bytes`, and the bytes after it.
///
/// # Errors
/// See [`FrameError`]; a slice that ends too early is [`FrameError::Truncated`].
pub fn decode<M: Message>(bytes: &[u8], secagg: usize) -> Result<(M, &[u8]), FrameError> {
    let (header, rest) = bytes
        .split_first_chunk::<HEADER_LEN>()
        .ok_or(FrameError::Truncated {
            have: bytes.len(),
            need: HEADER_LEN,
        })?;
    let (kind, len) = check_header::<M>(*header, secagg)?;
    let (body, rest) = rest.split_at_checked(len).ok_or(FrameError::Truncated {
        have: bytes.len(),
        need: HEADER_LEN + len,
    })?;
    Ok((decode_body(kind, body)?, rest))
}

/// Reads frames. Never reads a byte past the frame it was asked for.
#[derive(Debug)]
pub struct FrameReader<R> {
    source: R,
    /// What has arrived of the current frame, kept here so that `read` can be cancelled.
    buffer: BytesMut,
    limit: SecaggLimit,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader that accepts secagg messages up to `limit`.
    pub fn new(source: R, limit: SecaggLimit) -> Self {
        Self {
            source,
            buffer: BytesMut::new(),
            limit,
        }
    }

    /// The next message, or `None` when the stream ended between two frames.
    ///
    /// Cancel-safe: a dropped call loses nothing.
    ///
    /// # Errors
    /// [`ReceiveError::Frame`] for bytes that are no such frame, [`ReceiveError::Io`] when the
    /// stream failed. After an error the stream cannot be used further.
    pub async fn read<M: Message>(&mut self) -> Result<Option<M>, ReceiveError> {
        if !self.fill(HEADER_LEN).await? {
            return match self.buffer.len() {
                0 => Ok(None),
                have => Err(FrameError::Truncated {
                    have,
                    need: HEADER_LEN,
                }
                .into()),
            };
        }
        let header = self.header();
        let (kind, len) = check_header::<M>(header, self.limit.len())?;
        let need = HEADER_LEN + len;
        if !self.fill(need).await? {
            return Err(FrameError::Truncated {
                have: self.buffer.len(),
                need,
            }
            .into());
        }
        let mut frame = self.buffer.split();
        frame.advance(HEADER_LEN);
        Ok(Some(decode_body(kind, &frame)?))
    }

    /// The stream, positioned after the last frame that was read.
    pub fn into_inner(self) -> R {
        self.source
    }

    /// The stream.
    pub fn source_mut(&mut self) -> &mut R {
        &mut self.source
    }

    fn header(&self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        for (to, from) in header.iter_mut().zip(&self.buffer) {
            *to = *from;
        }
        header
    }

    /// Reads until the buffer holds `need` bytes; `false` when the stream ends before.
    async fn fill(&mut self, need: usize) -> io::Result<bool> {
        while self.buffer.len() < need {
            let missing = need - self.buffer.len();
            // Memory follows what arrives, in steps, not what a header claims.
            self.buffer.reserve(missing.min(READ_STEP));
            let mut space = (&mut self.buffer).limit(missing);
            if self.source.read_buf(&mut space).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Writes frames.
#[derive(Debug)]
pub struct FrameWriter<W> {
    sink: W,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// A writer.
    pub fn new(sink: W) -> Self {
        Self { sink }
    }

    /// Writes one message and flushes it. Not cancel-safe: after a dropped call the stream is
    /// within a frame and cannot be used further.
    ///
    /// # Errors
    /// [`ReceiveError::Frame`] when the message is longer than its receiver would accept,
    /// [`ReceiveError::Io`] when the stream failed.
    pub async fn write<M: Message>(&mut self, message: &M) -> Result<(), ReceiveError> {
        let frame = encode(message)?;
        self.sink.write_all(&frame).await?;
        self.sink.flush().await?;
        Ok(())
    }

    /// The stream.
    pub fn into_inner(self) -> W {
        self.sink
    }

    /// The stream.
    pub fn sink_mut(&mut self) -> &mut W {
        &mut self.sink
    }
}

/// How much a reader's buffer grows at a time.
const READ_STEP: usize = 16 << 10;

/// Kind and length from a header, checked against the kind's cap.
///
/// A header that claims gigabytes would otherwise make the receiver allocate them.
fn check_header<M: Message>(
    [a, b, c, d, kind]: [u8; HEADER_LEN],
    secagg: usize,
) -> Result<(u8, usize), FrameError> {
    let cap = M::cap(kind, secagg.min(MAX_SECAGG_LEN)).ok_or(FrameError::UnknownKind { kind })?;
    let len = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if len > cap {
        return Err(FrameError::Oversized { kind, len, cap });
    }
    Ok((kind, len))
}

/// Decodes a body and holds it to the one way in which that message is written.
fn decode_body<M: Message>(kind: u8, body: &[u8]) -> Result<M, FrameError> {
    let message = M::decode_body(kind, body)?;
    let again = message
        .encode_body()
        .map_err(|error| FrameError::Malformed { kind, error })?;
    if message.kind() != kind || again != body {
        return Err(FrameError::NotCanonical { kind });
    }
    Ok(message)
}

/// The fields of a postcard body, all bytes used.
pub(crate) fn fields<'a, T: serde::Deserialize<'a>>(
    kind: u8,
    body: &'a [u8],
) -> Result<T, FrameError> {
    let (fields, rest) =
        postcard::take_from_bytes(body).map_err(|error| FrameError::Malformed { kind, error })?;
    if !rest.is_empty() {
        return Err(FrameError::TrailingBytes {
            kind,
            extra: rest.len(),
        });
    }
    Ok(fields)
}

/// Defines a message enum and its [`Message`] implementation from one table.
macro_rules! messages {
    (
        $(#[$enum_meta:meta])*
        pub enum $Enum:ident (secagg: $secagg:ident) {
            $(
                $(#[$meta:meta])*
                $Variant:ident = $kind:literal, cap $cap:expr, {
                    $( $(#[$field_meta:meta])* $field:ident : $ty:ty, )*
                }
            )*
        }
    ) => {
        $(#[$enum_meta])*
        pub enum $Enum {
            $( $(#[$meta])* $Variant { $( $(#[$field_meta])* $field: $ty, )* }, )*
        }

        impl $crate::frame::Message for $Enum {
            fn kind(&self) -> u8 {
                match self {
                    $( Self::$Variant { .. } => $kind, )*
                }
            }

            fn cap(kind: u8, $secagg: usize) -> Option<usize> {
                let _ = $secagg;
                match kind {
                    $( $kind => Some($cap), )*
                    _ => None,
                }
            }

            fn encode_body(&self) -> Result<Vec<u8>, postcard::Error> {
                match self {
                    $( Self::$Variant { $($field,)* } => postcard::to_allocvec(&($($field,)*)), )*
                }
            }

            fn decode_body(kind: u8, body: &[u8]) -> Result<Self, $crate::frame::FrameError> {
                match kind {
                    $(
                        $kind => {
                            let ($($field,)*): ($($ty,)*) = $crate::frame::fields(kind, body)?;
                            Ok(Self::$Variant { $($field,)* })
                        }
                    )*
                    _ => Err($crate::frame::FrameError::UnknownKind { kind }),
                }
            }
        }
    };
}
pub(crate) use messages;
