//! Any message of each type.

use proptest::prelude::*;
use secagg_wire::{
    digest::{Digest, FileDigest},
    enrol::{EnrolRefusal, EnrolReply},
    message::{
        CoordinatorMessage, DeclineReason, Following, NodeMessage, RoundResult, RoundSummary,
        ValidationFigures,
    },
    phase::Phase,
    text::{Name, Opaque, Reason},
    transfer::StreamHeader,
};

use crate::SECAGG;

fn reason() -> impl Strategy<Value = Reason> {
    any::<String>().prop_map(|text| Reason::fitted(&text))
}

fn name() -> impl Strategy<Value = Name> {
    any::<String>().prop_map(|text| Name::fitted(&text))
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn file() -> impl Strategy<Value = FileDigest> {
    (digest(), any::<u64>()).prop_map(|(sha256, len)| FileDigest { sha256, len })
}

fn phase() -> impl Strategy<Value = Phase> {
    proptest::sample::select(Phase::ALL.as_slice())
}

fn bytes(max: usize) -> impl Strategy<Value = Opaque> {
    proptest::collection::vec(any::<u8>(), 0..=max).prop_map(Opaque)
}

fn decline() -> impl Strategy<Value = DeclineReason> {
    prop_oneof![
        Just(DeclineReason::NoText),
        Just(DeclineReason::UploadsUsedUp),
        reason().prop_map(DeclineReason::Policy),
        Just(DeclineReason::Busy),
        reason().prop_map(DeclineReason::Other),
    ]
}

fn result() -> impl Strategy<Value = RoundResult> {
    prop_oneof![
        Just(RoundResult::Included),
        Just(RoundResult::NotIncluded),
        reason().prop_map(|reason| RoundResult::Abandoned { reason }),
    ]
}

fn summary() -> impl Strategy<Value = RoundSummary> {
    let figures =
        (-9.0..9.0, 0.0..=1.0, 0.0..=1.0, any::<u64>()).prop_map(|(loss, top1, top3, tokens)| {
            ValidationFigures {
                loss,
                top1,
                top3,
                tokens,
            }
        });
    (any::<u32>(), any::<u32>(), proptest::option::of(figures)).prop_map(
        |(contributors, lost, validation)| RoundSummary {
            contributors,
            lost,
            validation,
        },
    )
}

fn following() -> impl Strategy<Value = Following> {
    let file = || proptest::option::of(file());
    (file(), file()).prop_map(|(optimizer, newest)| Following { optimizer, newest })
}

pub(crate) fn node_message() -> impl Strategy<Value = NodeMessage> {
    let which = || (any::<u64>(), any::<u32>());
    prop_oneof![
        (any::<u16>(), name())
            .prop_map(|(protocol, software)| NodeMessage::Hello { protocol, software }),
        which().prop_map(|(round, attempt)| NodeMessage::Accept { round, attempt }),
        (which(), decline()).prop_map(|((round, attempt), reason)| NodeMessage::Decline {
            round,
            attempt,
            reason
        }),
        (which(), phase(), bytes(SECAGG)).prop_map(|((round, attempt), phase, body)| {
            NodeMessage::Secagg {
                round,
                attempt,
                phase,
                body,
            }
        }),
        reason().prop_map(|reason| NodeMessage::Leave { reason }),
        digest().prop_map(|digest| NodeMessage::GetFile { digest }),
    ]
}

pub(crate) fn coordinator_message() -> impl Strategy<Value = CoordinatorMessage> {
    let which = || (any::<u64>(), any::<u32>());
    prop_oneof![
        (name(), file(), file(), file()).prop_map(
            |(federation, description, vocabulary, initial)| {
                CoordinatorMessage::Welcome {
                    federation,
                    description,
                    vocabulary,
                    initial,
                }
            }
        ),
        (
            which(),
            bytes(200),
            any::<[u8; 32]>(),
            bytes(200),
            file(),
            proptest::option::of(following())
        )
            .prop_map(
                |((round, attempt), parameters, nonce, plan, weights, following)| {
                    CoordinatorMessage::Announce {
                        round,
                        attempt,
                        parameters,
                        nonce,
                        plan,
                        weights,
                        following,
                    }
                }
            ),
        which().prop_map(|(round, attempt)| CoordinatorMessage::Selected { round, attempt }),
        which().prop_map(|(round, attempt)| CoordinatorMessage::NotSelected { round, attempt }),
        (which(), phase(), bytes(SECAGG)).prop_map(|((round, attempt), phase, body)| {
            CoordinatorMessage::Secagg {
                round,
                attempt,
                phase,
                body,
            }
        }),
        (which(), phase(), reason()).prop_map(|((round, attempt), phase, reason)| {
            CoordinatorMessage::Rejected {
                round,
                attempt,
                phase,
                reason,
            }
        }),
        (which(), result(), summary()).prop_map(|((round, attempt), result, summary)| {
            CoordinatorMessage::RoundEnd {
                round,
                attempt,
                result,
                summary,
            }
        }),
        reason().prop_map(|reason| CoordinatorMessage::Finished { reason }),
    ]
}

pub(crate) fn enrol_reply() -> impl Strategy<Value = EnrolReply> {
    prop_oneof![
        (any::<[u8; 16]>(), name()).prop_map(|(client_id, federation)| EnrolReply::Enrolled {
            client_id,
            federation
        }),
        Just(EnrolReply::Refused {
            reason: EnrolRefusal::UnknownToken
        }),
        Just(EnrolReply::Refused {
            reason: EnrolRefusal::ExpiredToken
        }),
        Just(EnrolReply::Refused {
            reason: EnrolRefusal::AlreadyEnrolled
        }),
        Just(EnrolReply::Refused {
            reason: EnrolRefusal::BadSignature
        }),
        reason().prop_map(|reason| EnrolReply::Refused {
            reason: EnrolRefusal::Other(reason)
        }),
    ]
}

pub(crate) fn stream_header() -> impl Strategy<Value = StreamHeader> {
    prop_oneof![
        file().prop_map(|file| StreamHeader::File { file }),
        (any::<u64>(), any::<u32>(), any::<u64>()).prop_map(|(round, attempt, len)| {
            StreamHeader::Masked {
                round,
                attempt,
                len,
            }
        }),
    ]
}
