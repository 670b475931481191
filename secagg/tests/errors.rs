//! Errors say what was wrong, with which value, and what is allowed.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod common;

use std::fmt::Display;

use common::id;
use secagg::{
    AdvertError, ChooserError, CredentialError, DecodeError, InputError, ParametersError,
    ThreatModel,
    client::ClientError,
    server::{Abort, Phase, Rejection, RejectionReason},
};

/// The sentence begins with this and has the others in it.
fn says(error: &dyn Display, start: &str, others: &[&str]) {
    let text = error.to_string();
    assert!(text.starts_with(start), "{text}");
    for other in others {
        assert!(text.contains(other), "{text}: {other}");
    }
}

#[test]
fn decoders_name_the_field_and_its_range() {
    let what = "threshold";
    let of_range = DecodeError::OutOfRange {
        what,
        value: 7,
        min: 2,
        max: 5,
    };
    says(&of_range, "threshold is 7", &["2 to 5"]);
    let truncated = DecodeError::Truncated {
        what,
        needed: 4,
        have: 1,
    };
    says(&truncated, "threshold needs 4 bytes", &["1 are left"]);
    says(&DecodeError::Trailing { extra: 3 }, "3 bytes", &[]);
    says(
        &DecodeError::UnsupportedVersion { found: 9 },
        "encoding version 9",
        &[],
    );
    let kind = DecodeError::WrongKind {
        expected: 4,
        found: 2,
    };
    says(&kind, "message kind 2", &["kind 4"]);
    says(
        &DecodeError::OtherSession,
        "the message belongs to another session",
        &[],
    );
    says(
        &DecodeError::NotAscending { what: "roster" },
        "roster",
        &["ascending"],
    );
    says(
        &DecodeError::InvalidPoint { what: "mask key" },
        "mask key",
        &["ristretto255"],
    );
    says(&DecodeError::NonCanonical { what }, what, &["canonical"]);
    says(&DecodeError::NotText { what }, what, &["UTF-8"]);
    let bits = ParametersError::SegmentBits {
        name: "words".into(),
        bits: 65,
    };
    says(
        &DecodeError::Parameters(bits),
        "invalid parameters: ",
        &["words", "65"],
    );
}

#[test]
fn parameters_name_the_segment_and_its_bounds() {
    let name = || "words".to_owned();
    let cohort = ParametersError::Cohort {
        min: 9,
        max: 8,
        largest: 65_536,
    };
    says(&cohort, "a cohort of 9 to 8 clients", &["3 to 65536"]);
    let bits = ParametersError::Bits {
        what: "η",
        bits: 9,
        min: 10,
        max: 60,
    };
    says(&bits, "η, is 9", &["10 to 60"]);
    says(
        &ParametersError::SegmentName { len: 65 },
        "a segment's name has 65",
        &["64"],
    );
    says(
        &ParametersError::SegmentEmpty { name: name() },
        "segment \"words\"",
        &[],
    );
    says(
        &ParametersError::SegmentCount { count: 0 },
        "a layout of 0",
        &["256"],
    );
    says(
        &ParametersError::DuplicateSegment { name: name() },
        "two segments",
        &["words"],
    );
    let narrow = ParametersError::SegmentTooNarrow {
        name: name(),
        bits: 8,
        cohort: 300,
    };
    says(
        &narrow,
        "segment \"words\" has 8 bits",
        &["300 clients", "more bits"],
    );
    says(
        &InputError::UnknownSegment { name: name() },
        "the layout has no",
        &["words"],
    );
    says(
        &InputError::SegmentTwice { name: name() },
        "segment \"words\"",
        &["twice"],
    );
    says(
        &InputError::SegmentMissing { name: name() },
        "segment \"words\"",
        &["not set"],
    );
    for (found, given) in [(Some(6), "6 were given"), (None, "more were given")] {
        let length = InputError::Length {
            name: name(),
            expected: 7,
            found,
        };
        says(&length, "segment \"words\" has 7", &[given]);
    }
    says(
        &InputError::OtherLayout,
        "the vector has another layout",
        &[],
    );
    let chosen = ChooserError::Cohort { cohort: 2, max: 9 };
    says(&chosen, "a cohort of 2 clients", &["3 to 9"]);
    let clients = ChooserError::Clients {
        what: "corrupt",
        clients: 8,
        cohort: 5,
    };
    says(&clients, "a bound of 8 corrupt clients", &["5"]);
    let fraction = ChooserError::Fraction {
        what: "lost",
        fraction: 1.5,
    };
    says(&fraction, "a fraction of 1.5 lost clients", &["0 to 1"]);
}

#[test]
fn clients_say_what_they_insist_on() {
    let (client, other) = (id(1), id(2).to_string());
    let (what, floor) = ("cohort", 3);
    let below = ClientError::BelowFloor {
        what,
        value: 2,
        floor,
    };
    says(&below, "the cohort is 2", &["floor is 3"]);
    let above = ClientError::AboveCeiling {
        what,
        value: 10,
        ceiling: 9,
    };
    says(&above, "the cohort is 10", &["at most 9"]);
    let model = ClientError::ThreatModel {
        found: ThreatModel::HonestButCurious,
        floor: ThreatModel::Malicious,
    };
    says(
        &model,
        "the session's threat model is honest-but-curious",
        &["malicious"],
    );
    says(
        &ClientError::SparseGraph,
        "the session's graph is sparse",
        &[],
    );
    says(
        &ClientError::NoCredential,
        "the server is not trusted",
        &["no credential"],
    );
    let degree = ClientError::Degree {
        degree: 3,
        cohort: 6,
    };
    says(&degree, "a degree of 3 over 6 clients", &[]);
    let id1 = client.to_string();
    says(
        &ClientError::NeighbourMissing { client },
        "the advert",
        &[&id1],
    );
    let error = AdvertError::OtherClient { credential: id(2) };
    says(
        &ClientError::Neighbour { client, error },
        "the advert",
        &[&id1, &other],
    );
    says(
        &AdvertError::Unsigned,
        "the advert carries no credential",
        &[],
    );
    says(&AdvertError::Forged, "the advert is not signed", &[]);
    let error = AdvertError::Credential(CredentialError::Expired { expires: 5, now: 6 });
    says(&error, "the credential has expired at 5", &["now it is 6"]);
    says(
        &CredentialError::Forged,
        "the credential is not signed",
        &["authority"],
    );
    says(&ClientError::NotInRoster, "the roster does not hold", &[]);
    says(
        &ClientError::AdvertChanged,
        "the roster holds this client",
        &["another advert"],
    );
    let size = ClientError::WrongSize {
        what: "set",
        expected: 4,
        found: 5,
    };
    says(&size, "the set is over 5", &["not 4"]);
    says(&ClientError::NotASurvivor, "the survivor set leaves", &[]);
    says(
        &ClientError::SurvivorDidNotShare { client },
        "the survivor set",
        &[&id1],
    );
    says(
        &ClientError::Input(InputError::OtherLayout),
        "the vector",
        &[],
    );
}

#[test]
fn servers_name_the_client_and_the_phase() {
    let (client, other) = (id(1), id(2));
    let (id1, id2) = (client.to_string(), other.to_string());
    let reasons = [
        (RejectionReason::NotExpected, "no part in this phase"),
        (RejectionReason::Duplicate, "accepted before"),
        (
            RejectionReason::ForeignAdvert { claimed: other },
            id2.as_str(),
        ),
        (RejectionReason::Advert(AdvertError::Forged), "not signed"),
        (
            RejectionReason::WrongSignature,
            "survivor set of this round",
        ),
        (
            RejectionReason::CohortFull { max: 9 },
            "cohort of 9 is full",
        ),
        (
            RejectionReason::WrongCount {
                expected: 4,
                found: 3,
            },
            "3 entries where 4",
        ),
        (RejectionReason::WrongShare { owner: other }, id2.as_str()),
    ];
    for (reason, expected) in reasons {
        let rejection = Rejection { client, reason };
        says(
            &rejection,
            &format!("message of client {id1} rejected: "),
            &[expected],
        );
    }
    for (phase, name) in [
        (Phase::AdvertiseKeys, "advertise-keys"),
        (Phase::ShareKeys, "share-keys"),
        (Phase::MaskedInput, "masked-input"),
        (Phase::ConsistencyCheck, "consistency-check"),
        (Phase::Unmask, "unmask"),
    ] {
        let few = Abort::TooFewClients {
            phase,
            have: 3,
            needed: 4,
        };
        says(&few, "3 clients were left", &[name, "4 are needed"]);
    }
    let threshold = Abort::Threshold {
        threshold: 9,
        min: 2,
        max: 5,
    };
    says(&threshold, "threshold 9", &["2 to 5"]);
    let degree = Abort::Degree {
        degree: 3,
        cohort: 6,
    };
    says(&degree, "a degree of 3 over 6 clients", &[]);
    let shares = Abort::TooFewShares {
        owner: client,
        have: 2,
        needed: 3,
    };
    says(
        &shares,
        "2 shares of a seed of client",
        &[&id1, "3 are needed"],
    );
    let wrong = Abort::WrongShares {
        dealer: client,
        holders: vec![other],
    };
    says(
        &wrong,
        "the shares of a seed of client",
        &[&id1, "1 holders", "undecided"],
    );
}
