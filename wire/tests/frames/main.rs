//! Frames and messages: round trips, caps, truncation, and bytes that are no message.
#![expect(
    clippy::unwrap_used,
    reason = "a test's helper fails the test by panicking"
)]

mod any;

use any::{coordinator_message, enrol_reply, node_message, stream_header};
use proptest::prelude::*;
use secagg_wire::{
    channel::ChannelError,
    close::CloseCode,
    digest::{Digest, FileDigest},
    enrol::{EnrolRefusal, EnrolReply, EnrolRequest},
    frame::{
        self, FrameError, FrameReader, FrameWriter, HEADER_LEN, MAX_SECAGG_LEN, Message,
        ReceiveError, SecaggLimit,
    },
    identity::{Fingerprint, IdentityKey},
    message::{
        CoordinatorMessage, DeclineReason, Following, MAX_PARAMETERS_LEN, MAX_PLAN_LEN,
        NodeMessage, RoundResult, RoundSummary, ValidationFigures,
    },
    phase::Phase,
    text::{Name, Opaque, Reason},
    token::Token,
    transfer::StreamHeader,
};
use tokio::io::AsyncWriteExt as _;

const SECAGG: usize = 4096;

/// What must hold for every message: it comes back, cut off it is `Truncated`, and what follows it
/// is left alone.
fn round_trip<M: Message + PartialEq + std::fmt::Debug>(message: &M) {
    let mut frame = frame::encode(message).unwrap();
    for cut in [0, HEADER_LEN - 1, HEADER_LEN, frame.len() - 1] {
        if cut < frame.len() {
            let need = if cut < HEADER_LEN {
                HEADER_LEN
            } else {
                frame.len()
            };
            assert_eq!(
                frame::decode::<M>(&frame[..cut], SECAGG).unwrap_err(),
                FrameError::Truncated { have: cut, need }
            );
        }
    }
    frame.push(0xaa);
    let (decoded, rest) = frame::decode::<M>(&frame, SECAGG).unwrap();
    assert_eq!(&decoded, message);
    assert_eq!(rest, [0xaa]);
    trailing_byte(message);
}

/// A body with a byte too many is refused.
fn trailing_byte<M: Message + std::fmt::Debug>(message: &M) {
    let mut body = message.encode_body().unwrap();
    body.push(0);
    let kind = message.kind();
    assert_eq!(
        M::decode_body(kind, &body).unwrap_err(),
        FrameError::TrailingBytes { kind, extra: 1 }
    );
}

/// Arbitrary bytes are a message in its one form, or an error.
fn never_panics<M: Message>(bytes: &[u8]) {
    if let Ok((message, rest)) = frame::decode::<M>(bytes, SECAGG) {
        let again = frame::encode(&message).unwrap();
        assert_eq!(again, bytes[..bytes.len() - rest.len()]);
    }
}

/// Arbitrary bodies under each kind get past the header.
fn never_panics_framed<M: Message>(body: &[u8]) {
    for kind in 0..=255 {
        if M::cap(kind, SECAGG).is_some() {
            let mut frame = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
            frame.push(kind);
            frame.extend_from_slice(body);
            never_panics::<M>(&frame);
        }
    }
}

proptest! {
    #[test]
    fn node_messages_come_back(message in node_message()) {
        round_trip(&message);
    }

    #[test]
    fn coordinator_messages_come_back(message in coordinator_message()) {
        round_trip(&message);
    }

    #[test]
    fn enrolment_replies_come_back(message in enrol_reply()) {
        round_trip(&message);
    }

    #[test]
    fn stream_headers_come_back(message in stream_header()) {
        round_trip(&message);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        never_panics::<NodeMessage>(&bytes);
        never_panics::<CoordinatorMessage>(&bytes);
        never_panics::<EnrolRequest>(&bytes);
        never_panics::<EnrolReply>(&bytes);
        never_panics::<StreamHeader>(&bytes);
    }

    #[test]
    fn arbitrary_bodies_never_panic(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        never_panics_framed::<NodeMessage>(&body);
        never_panics_framed::<CoordinatorMessage>(&body);
        never_panics_framed::<EnrolRequest>(&body);
        never_panics_framed::<EnrolReply>(&body);
        never_panics_framed::<StreamHeader>(&body);
    }

    #[test]
    fn a_changed_byte_is_another_message_or_none(
        message in node_message(), place in any::<prop::sample::Index>(), bit in 0..8,
    ) {
        let mut frame = frame::encode(&message).unwrap();
        let place = place.index(frame.len());
        frame[place] ^= 1u8 << bit;
        if let Ok((decoded, _)) = frame::decode::<NodeMessage>(&frame, SECAGG) {
            prop_assert_ne!(decoded, message);
        }
    }
}

/// Every kind number stands here once more: changing one breaks older peers.
#[test]
fn kinds_stay_as_they_are() {
    let known = |cap: fn(u8, usize) -> Option<usize>| -> Vec<u8> {
        (0..=255).filter(|kind| cap(*kind, 0).is_some()).collect()
    };
    assert_eq!(known(NodeMessage::cap), [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        known(CoordinatorMessage::cap),
        [0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88]
    );
    assert_eq!(known(EnrolRequest::cap), [0x41]);
    assert_eq!(known(EnrolReply::cap), [0xc1, 0xc2]);
    assert_eq!(known(StreamHeader::cap), [0x21, 0x22]);
}

/// The layout on the wire, byte by byte.
#[test]
fn a_frame_is_laid_out_as_documented() {
    let message = NodeMessage::Accept {
        round: 300,
        attempt: 2,
    };
    assert_eq!(
        frame::encode(&message).unwrap(),
        [3, 0, 0, 0, 0x02, 0xac, 0x02, 2]
    );
    let message = NodeMessage::hello("node");
    assert_eq!(
        frame::encode(&message).unwrap(),
        [6, 0, 0, 0, 0x01, 1, 4, b'n', b'o', b'd', b'e']
    );
}

#[test]
fn the_longest_message_of_each_kind_fits_its_cap() {
    let reason = Reason::new("x".repeat(256)).unwrap();
    let name = Name::new("x".repeat(64)).unwrap();
    let file = FileDigest {
        sha256: Digest::of(b""),
        len: u64::MAX,
    };
    let (round, attempt) = (u64::MAX, u32::MAX);
    let phase = Phase::Unmask;
    let summary = RoundSummary {
        contributors: u32::MAX,
        lost: u32::MAX,
        validation: Some(ValidationFigures {
            loss: 1.0,
            top1: 1.0,
            top3: 1.0,
            tokens: u64::MAX,
        }),
    };
    for message in [
        NodeMessage::Hello {
            protocol: u16::MAX,
            software: name.clone(),
        },
        NodeMessage::Decline {
            round,
            attempt,
            reason: DeclineReason::Other(reason.clone()),
        },
        NodeMessage::Secagg {
            round,
            attempt,
            phase,
            body: Opaque(vec![7; MAX_SECAGG_LEN]),
        },
        NodeMessage::Leave {
            reason: reason.clone(),
        },
    ] {
        let frame = frame::encode(&message).unwrap();
        assert_eq!(
            frame::decode::<NodeMessage>(&frame, MAX_SECAGG_LEN)
                .unwrap()
                .0,
            message
        );
    }
    for message in [
        CoordinatorMessage::Welcome {
            federation: name,
            description: file,
            vocabulary: file,
            initial: file,
        },
        CoordinatorMessage::Announce {
            round,
            attempt,
            parameters: Opaque(vec![7; MAX_PARAMETERS_LEN]),
            nonce: [7; 32],
            plan: Opaque(vec![7; MAX_PLAN_LEN]),
            weights: file,
            following: Some(Following {
                optimizer: Some(file),
                newest: Some(file),
            }),
        },
        CoordinatorMessage::Rejected {
            round,
            attempt,
            phase,
            reason: reason.clone(),
        },
        CoordinatorMessage::RoundEnd {
            round,
            attempt,
            result: RoundResult::Abandoned {
                reason: reason.clone(),
            },
            summary,
        },
        CoordinatorMessage::Finished { reason },
    ] {
        let frame = frame::encode(&message).unwrap();
        assert_eq!(
            frame::decode::<CoordinatorMessage>(&frame, 0).unwrap().0,
            message
        );
    }
}

#[test]
fn a_message_that_its_receiver_would_refuse_is_not_sent() {
    let message = NodeMessage::Secagg {
        round: 0,
        attempt: 0,
        phase: Phase::ShareKeys,
        body: Opaque(vec![0; MAX_SECAGG_LEN + 600]),
    };
    assert!(matches!(
        frame::encode(&message),
        Err(FrameError::Oversized { kind: 4, len, cap }) if len > cap
    ));
}

#[test]
fn another_way_to_write_a_number_is_refused() {
    // The round 1 as a varint of two bytes.
    assert_eq!(
        frame::decode::<NodeMessage>(&[3, 0, 0, 0, 2, 0x81, 0x00, 0], 0).unwrap_err(),
        FrameError::NotCanonical { kind: 2 }
    );
}

#[test]
fn a_text_with_control_characters_is_refused() {
    assert!(matches!(
        frame::decode::<NodeMessage>(&[3, 0, 0, 0, 5, 2, 0x1b, b'c'], 0).unwrap_err(),
        FrameError::Malformed { kind: 5, .. }
    ));
}

/// A body that claims a string or bytes longer than itself allocates nothing for them.
#[test]
fn a_length_within_a_body_is_bounded_by_the_body() {
    let frame = [10, 0, 0, 0, 4, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2];
    assert!(matches!(
        frame::decode::<NodeMessage>(&frame, SECAGG).unwrap_err(),
        FrameError::Malformed {
            kind: 4,
            error: postcard::Error::DeserializeUnexpectedEnd
        }
    ));
}

#[test]
fn an_enrolment_is_bound_to_both_certificates_and_the_token() {
    let [node, coordinator, other] = [b"n", b"c", b"o"].map(|der| Fingerprint::of_certificate(der));
    let token = Token::generate(coordinator).unwrap();
    let key = IdentityKey::generate().unwrap();
    let request = EnrolRequest::new(&token, &key, &node, Name::new("anna").unwrap());
    let frame = frame::encode(&request).unwrap();
    let (request, rest) = frame::decode::<EnrolRequest>(&frame, 0).unwrap();
    assert!(rest.is_empty());
    assert_eq!(request.token_secret.hash(), token.hash());
    assert_eq!(request.name.as_str(), "anna");
    assert_eq!(request.verify(&node, &coordinator), Ok(()));
    assert_eq!(
        request.verify(&other, &coordinator),
        Err(EnrolRefusal::BadSignature)
    );
    assert_eq!(
        request.verify(&node, &other),
        Err(EnrolRefusal::BadSignature)
    );

    // Somebody else's identity key with one's own signature.
    let mut stolen = frame.clone();
    let victim = IdentityKey::generate().unwrap().public();
    stolen[HEADER_LEN + 16..HEADER_LEN + 48].copy_from_slice(&victim);
    let (request, _) = frame::decode::<EnrolRequest>(&stolen, 0).unwrap();
    assert_eq!(
        request.verify(&node, &coordinator),
        Err(EnrolRefusal::BadSignature)
    );
    assert!(!format!("{request:?}").contains("token_secret: ["));
}

#[tokio::test]
async fn an_oversized_header_is_refused_before_its_body_is_read() {
    let (mut far, near) = tokio::io::duplex(64);
    let limit = SecaggLimit::new();
    limit.allow(100);
    let mut reader = FrameReader::new(near, limit.clone());
    // Only the header is ever sent: the reader does not wait for a body, let alone allocate it.
    far.write_all(&[0xff, 0xff, 0xff, 0xff, 0x04])
        .await
        .unwrap();
    match reader.read::<NodeMessage>().await {
        Err(ReceiveError::Frame(error)) => {
            assert_eq!(
                error,
                FrameError::Oversized {
                    kind: 4,
                    len: u32::MAX as usize,
                    cap: 612
                }
            );
            assert_eq!(CloseCode::for_frame(&error), CloseCode::Oversized);
            assert_eq!(ChannelError::from(error).close_code(), CloseCode::Oversized);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_limit_grows_and_never_shrinks() {
    let message = NodeMessage::Secagg {
        round: 1,
        attempt: 1,
        phase: Phase::AdvertiseKeys,
        body: Opaque(vec![1; 2000]),
    };
    let (far, near) = tokio::io::duplex(1 << 16);
    let limit = SecaggLimit::new();
    assert!(limit.is_empty());
    limit.allow(2000);
    limit.allow(10);
    assert_eq!(limit.len(), 2000);
    let mut reader = FrameReader::new(near, limit);
    let mut writer = FrameWriter::new(far);
    writer.write(&message).await.unwrap();
    assert_eq!(reader.read::<NodeMessage>().await.unwrap(), Some(message));
    let unlimited = SecaggLimit::new();
    unlimited.allow(usize::MAX);
    assert_eq!(unlimited.len(), MAX_SECAGG_LEN);
}

#[tokio::test]
async fn a_stream_that_ends_within_a_frame_is_truncated() {
    let frame = frame::encode(&NodeMessage::hello("x")).unwrap();
    for cut in 0..frame.len() {
        let mut reader = FrameReader::new(&frame[..cut], SecaggLimit::new());
        let need = if cut < HEADER_LEN {
            HEADER_LEN
        } else {
            frame.len()
        };
        match reader.read::<NodeMessage>().await {
            Ok(None) => assert_eq!(cut, 0),
            Err(ReceiveError::Frame(error)) => {
                assert_eq!(error, FrameError::Truncated { have: cut, need });
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_cancelled_read_loses_nothing() {
    let (mut far, near) = tokio::io::duplex(64);
    let mut reader = FrameReader::new(near, SecaggLimit::new());
    let message = NodeMessage::Accept {
        round: 9,
        attempt: 1,
    };
    for byte in frame::encode(&message).unwrap() {
        // Nothing more than what was sent so far is there: each of these reads is dropped midway.
        tokio::select! {
            biased;
            read = reader.read::<NodeMessage>() => panic!("{read:?}"),
            () = std::future::ready(()) => {}
        }
        far.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(reader.read::<NodeMessage>().await.unwrap(), Some(message));
    drop(far);
    assert_eq!(reader.read::<NodeMessage>().await.unwrap(), None);
}

#[tokio::test]
async fn a_reader_takes_no_byte_past_its_frame() {
    let mut bytes = frame::encode(&StreamHeader::Masked {
        round: 1,
        attempt: 0,
        len: 3,
    })
    .unwrap();
    bytes.extend_from_slice(b"raw");
    let mut reader = FrameReader::new(bytes.as_slice(), SecaggLimit::new());
    assert_eq!(
        reader.read::<StreamHeader>().await.unwrap(),
        Some(StreamHeader::Masked {
            round: 1,
            attempt: 0,
            len: 3
        })
    );
    assert_eq!(reader.into_inner(), b"raw");
}
