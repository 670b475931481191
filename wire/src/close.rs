//! Why a connection or a stream was ended: codes for machines, a sentence for people.

use std::fmt;

use quinn::VarInt;

use crate::{frame::FrameError, text::Reason};

macro_rules! codes {
    ($(#[$meta:meta])* $Name:ident { $( $(#[$code_meta:meta])* $Code:ident = $number:literal, $text:literal; )* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $Name {
            $( $(#[$code_meta])* $Code, )*
            /// A code that this version does not know.
            Unknown(u64),
        }

        impl $Name {
            /// The number on the wire.
            #[must_use]
            pub fn number(self) -> u64 {
                match self {
                    $( Self::$Code => $number, )*
                    Self::Unknown(number) => number,
                }
            }

            /// The code with that number.
            #[must_use]
            pub fn from_number(number: u64) -> Self {
                match number {
                    $( $number => Self::$Code, )*
                    _ => Self::Unknown(number),
                }
            }

            pub(crate) fn to_varint(self) -> VarInt {
                VarInt::from_u64(self.number()).unwrap_or(VarInt::MAX)
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $( Self::$Code => f.write_str($text), )*
                    Self::Unknown(number) => write!(f, "unknown code {number}"),
                }
            }
        }
    };
}

codes! {
    /// Why one side closed the connection.
    CloseCode {
        /// Everything was said.
        Done = 0, "done";
        /// The certificate is not registered with this coordinator.
        UnknownIdentity = 1, "unknown identity";
        /// The other side speaks another version.
        ProtocolVersion = 2, "another protocol version";
        /// Bytes that are no message.
        MalformedFrame = 3, "malformed frame";
        /// A frame or transfer above its cap.
        Oversized = 4, "frame too large";
        /// The same identity connected again; the older connection is closed.
        DuplicateConnection = 5, "the same identity connected again";
        /// The process is shutting down.
        ShuttingDown = 6, "shutting down";
        /// A message that has no place in this state.
        UnexpectedMessage = 7, "unexpected message";
        /// The other side took too long.
        Timeout = 8, "took too long";
        /// Too many connections.
        Busy = 9, "too busy";
        /// The enrolment was refused.
        EnrolmentRefused = 10, "enrolment refused";
        /// The other side asked for something that it may not have.
        NotAllowed = 11, "not allowed";
        /// This side failed.
        Internal = 12, "internal error";
    }
}

codes! {
    /// Why one side ended a single transfer.
    StopCode {
        /// The transfer is no longer wanted.
        NotWanted = 0, "no longer wanted";
        /// Nothing came for too long.
        Stalled = 1, "stalled";
        /// The announced length is not the expected one.
        WrongLength = 2, "wrong length";
        /// It belongs to a round or phase that is over.
        Late = 3, "too late";
        /// The header was malformed, or bytes came after the end.
        Malformed = 4, "malformed";
        /// The sender gave up.
        Cancelled = 5, "cancelled by the sender";
    }
}

impl CloseCode {
    /// The code with which to answer bytes that are no frame.
    #[must_use]
    pub fn for_frame(error: &FrameError) -> Self {
        match error {
            FrameError::Oversized { .. } => Self::Oversized,
            FrameError::UnknownKind { .. }
            | FrameError::Truncated { .. }
            | FrameError::Malformed { .. }
            | FrameError::TrailingBytes { .. }
            | FrameError::NotCanonical { .. } => Self::MalformedFrame,
        }
    }
}

/// A connection that one side closed on purpose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} closed the connection: {code}{}{reason}", who(*.by_peer), separator(reason))]
pub struct Closed {
    /// Whether the other side did.
    pub by_peer: bool,
    /// The code.
    pub code: CloseCode,
    /// The sentence that came with it, made safe to print.
    pub reason: Reason,
}

/// Why a connection is no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// One side closed it on purpose.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// Nothing came from the other side for the idle timeout.
    #[error("the connection timed out: the other side is gone or the network is down")]
    TimedOut,
    /// The transport or TLS failed.
    #[error("the connection failed: {0}")]
    Transport(quinn::ConnectionError),
}

impl From<quinn::ConnectionError> for Lost {
    fn from(error: quinn::ConnectionError) -> Self {
        match error {
            quinn::ConnectionError::ApplicationClosed(close) => Self::Closed(Closed {
                by_peer: true,
                code: CloseCode::from_number(close.error_code.into_inner()),
                reason: Reason::fitted(&String::from_utf8_lossy(&close.reason)),
            }),
            quinn::ConnectionError::LocallyClosed => Self::Closed(Closed {
                by_peer: false,
                code: CloseCode::Done,
                reason: Reason::fitted(""),
            }),
            quinn::ConnectionError::TimedOut => Self::TimedOut,
            other => Self::Transport(other),
        }
    }
}

/// Closes a connection; the other side reads code and reason.
///
/// Data that the other side has not read yet may be lost: finish the streams first.
pub fn close(connection: &quinn::Connection, code: CloseCode, reason: &str) {
    connection.close(code.to_varint(), Reason::fitted(reason).as_str().as_bytes());
}

fn who(by_peer: bool) -> &'static str {
    if by_peer {
        "the other side"
    } else {
        "this side"
    }
}

fn separator(reason: &Reason) -> &'static str {
    if reason.as_str().is_empty() { "" } else { ": " }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_for_codes_both_ways() {
        for number in 0..20 {
            assert_eq!(CloseCode::from_number(number).number(), number);
            assert_eq!(StopCode::from_number(number).number(), number);
        }
        assert_eq!(CloseCode::from_number(1), CloseCode::UnknownIdentity);
        assert_eq!(CloseCode::from_number(99), CloseCode::Unknown(99));
    }

    #[test]
    fn a_close_reads_as_a_sentence() {
        let closed = Closed {
            by_peer: true,
            code: CloseCode::UnknownIdentity,
            reason: Reason::fitted("run `secagg-node join` first"),
        };
        assert_eq!(
            closed.to_string(),
            "the other side closed the connection: unknown identity: run `secagg-node join` first"
        );
    }
}
