//! Every decoder: encode and decode are inverse, every truncation is named, what is too long is
//! refused, and no bytes make a decoder panic.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap fails the test"
)]

mod common;

use common::{Receive, id, session};
use proptest::prelude::*;
use secagg::{
    Advert, DecodeError, Delivery, MaskedInput, Parameters, Policy, Roster, Session, ShareKeys,
    Survivors, UnmaskShares, server::CollectAdverts,
};

type Reencode = fn(&[u8], &Session) -> Result<Vec<u8>, DecodeError>;
type MaxLen = fn(&Session) -> usize;

/// Decode and encode again, and the cap, of every message.
const DECODERS: [(&str, Reencode, MaxLen); 7] = [
    (
        "Advert",
        |b, s| Ok(Advert::decode(b, s)?.encode(s)),
        Advert::max_encoded_len,
    ),
    (
        "Roster",
        |b, s| Ok(Roster::decode(b, s)?.encode(s)),
        Roster::max_encoded_len,
    ),
    (
        "ShareKeys",
        |b, s| Ok(ShareKeys::decode(b, s)?.encode(s)),
        ShareKeys::max_encoded_len,
    ),
    (
        "Delivery",
        |b, s| Ok(Delivery::decode(b, s)?.encode(s)),
        Delivery::max_encoded_len,
    ),
    (
        "MaskedInput",
        |b, s| Ok(MaskedInput::from_vec(b.to_vec(), s)?.into_vec()),
        MaskedInput::encoded_len,
    ),
    (
        "Survivors",
        |b, s| Ok(Survivors::decode(b, s)?.encode(s)),
        Survivors::max_encoded_len,
    ),
    (
        "UnmaskShares",
        |b, s| Ok(UnmaskShares::decode(b, s)?.encode(s)),
        UnmaskShares::max_encoded_len,
    ),
];

/// One message of each kind, from a round with a dropout, in the order of `DECODERS`.
fn samples(session: &Session) -> [Vec<u8>; 7] {
    let policy = Policy::default();
    let mut server = CollectAdverts::new(session.clone());
    let mut states = Vec::new();
    let mut first_advert = Vec::new();
    for client in 0..5 {
        let (state, advert) = common::start(session, client, policy);
        server.take(session, client, &advert).unwrap();
        states.push(state);
        first_advert = advert;
    }
    let mut server = server.close(2).unwrap();
    let roster = server.roster_for(id(0)).unwrap().encode(session);
    let mut shares = Vec::new();
    let mut waiting = Vec::new();
    for (client, state) in states.into_iter().enumerate() {
        let (state, bytes) = common::share(session, client, state, &roster).unwrap();
        server.take(session, client, &bytes).unwrap();
        waiting.push(state);
        shares = bytes;
    }
    let mut server = server.close().unwrap();
    let (mut delivery, mut masked, mut uploaded) = (Vec::new(), Vec::new(), Vec::new());
    for (client, state) in waiting.into_iter().enumerate().take(4) {
        delivery = server.delivery_for(id(client)).unwrap().encode(session);
        let (state, bytes) = common::upload(session, client, state, &delivery).unwrap();
        server.take(session, client, &bytes).unwrap();
        uploaded.push(state);
        masked = bytes;
    }
    let server = server.close().unwrap();
    let survivors = server.survivors().encode(session);
    let unmask = common::reveal(session, uploaded.remove(0), &survivors).unwrap();
    [
        first_advert,
        roster,
        shares,
        delivery,
        masked,
        survivors,
        unmask,
    ]
}

#[test]
fn decoding_and_encoding_are_inverse_and_caps_hold() {
    let session = session(6, 1);
    for ((name, reencode, max), sample) in DECODERS.into_iter().zip(samples(&session)) {
        assert_eq!(
            reencode(&sample, &session).as_deref(),
            Ok(&*sample),
            "{name}"
        );
        assert!(sample.len() <= max(&session), "{name}");
    }
}

#[test]
fn every_truncation_and_every_addition_is_refused() {
    let session = session(6, 1);
    for ((name, reencode, _), sample) in DECODERS.into_iter().zip(samples(&session)) {
        for len in 0..sample.len() {
            let error = reencode(&sample[..len], &session).unwrap_err();
            assert!(
                matches!(error, DecodeError::Truncated { .. }),
                "{name} at {len}: {error}"
            );
        }
        let mut longer = sample.clone();
        longer.push(0);
        let error = reencode(&longer, &session).unwrap_err();
        assert_eq!(error, DecodeError::Trailing { extra: 1 }, "{name}");
    }
}

#[test]
fn versions_and_kinds_are_checked() {
    let session = session(6, 1);
    for ((name, reencode, _), sample) in DECODERS.into_iter().zip(samples(&session)) {
        let mut version = sample.clone();
        version[0] = 2;
        let error = reencode(&version, &session).unwrap_err();
        assert_eq!(
            error,
            DecodeError::UnsupportedVersion { found: 2 },
            "{name}"
        );
        let mut kind = sample.clone();
        kind[1] = 99;
        let expected = sample[1];
        let error = reencode(&kind, &session).unwrap_err();
        assert_eq!(
            error,
            DecodeError::WrongKind {
                expected,
                found: 99
            },
            "{name}"
        );
    }
}

/// Bits past the end of a segment would be a second encoding of the same vector.
#[test]
fn padding_of_a_masked_segment_must_be_zero() {
    let session = session(6, 1);
    let masked = samples(&session)[4].clone();
    // `update` fills its bytes; `words` has 7 · 31 = 217 bits in 28 bytes.
    let last = 18 + 1_500 + 27;
    for bit in 0..8 {
        let mut changed = masked.clone();
        changed[last] ^= 1 << bit;
        let decoded = MaskedInput::from_vec(changed, &session).map(|_| ());
        let refused = Err(DecodeError::NonCanonical {
            what: "masked segment",
        });
        assert_eq!(
            decoded,
            if bit == 0 { Ok(()) } else { refused },
            "bit {bit}"
        );
    }
}

/// A count that the rest of the message would have to be allocated for is checked first.
#[test]
fn huge_counts_are_refused_before_anything_is_allocated() {
    let session = session(6, 1);
    let samples = samples(&session);
    // Where the count stands in each message that has one.
    for (message, at, what, min, max) in [
        (1, 22, "cohort", 3, 6),
        (2, 18, "number of boxes", 0, 5),
        (3, 18, "number of neighbours", 0, 5),
        (5, 18, "cohort", 3, 6),
        (6, 18, "number of shares", 0, 5),
    ] {
        let mut sample = samples[message].clone();
        sample[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let (name, reencode, _) = DECODERS[message];
        let error = reencode(&sample, &session).unwrap_err();
        let value = u32::MAX.into();
        assert_eq!(
            error,
            DecodeError::OutOfRange {
                what,
                value,
                min,
                max
            },
            "{name}"
        );
    }
}

#[test]
fn parameters_round_trip_and_unknown_choices_are_named() {
    let session = session(6, 1);
    let bytes = session.parameters().encode();
    assert_eq!(&Parameters::decode(&bytes).unwrap(), session.parameters());
    for (at, what, max) in [
        (0, "suite", 1),
        (1, "threat model", 1),
        (2, "graph kind", 1),
    ] {
        let mut bytes = bytes.clone();
        bytes[at] = 9;
        let error = Parameters::decode(&bytes).unwrap_err();
        assert_eq!(
            error,
            DecodeError::OutOfRange {
                what,
                value: 9,
                min: 1,
                max
            }
        );
    }
    for len in 0..bytes.len() {
        assert!(matches!(
            Parameters::decode(&bytes[..len]).unwrap_err(),
            DecodeError::Truncated { .. }
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever decodes encodes to the same bytes: there is one encoding of each message.
    #[test]
    fn changed_bytes_are_refused_or_canonical(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let session = session(6, 1);
        for ((name, reencode, _), mut sample) in DECODERS.into_iter().zip(samples(&session)) {
            for (at, byte) in &changes {
                let at = at.index(sample.len());
                sample[at] = *byte;
            }
            if let Ok(again) = reencode(&sample, &session) {
                prop_assert_eq!(again, sample, "{}", name);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, kind in 1_u8..8) {
        let session = session(6, 1);
        let mut framed = vec![1, kind];
        framed.extend_from_slice(&session.id().as_bytes()[..16]);
        framed.extend_from_slice(&bytes);
        for (name, reencode, _) in DECODERS {
            for bytes in [&bytes, &framed] {
                if let Ok(again) = reencode(bytes, &session) {
                    prop_assert_eq!(&again, bytes, "{}", name);
                }
            }
        }
        if let Ok(parameters) = Parameters::decode(&bytes) {
            prop_assert_eq!(parameters.encode(), bytes);
        }
    }
}
