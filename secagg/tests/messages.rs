//! Every decoder: encode and decode are inverse, every truncation is named, what is too long is
//! refused, and no bytes make a decoder panic.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap fails the test"
)]

mod common;

use std::sync::{Arc, LazyLock};

use common::{Receive, id, session, session_of};
use proptest::prelude::*;
use secagg::{
    Advert, ConsistencyCheck, DecodeError, Delivery, GraphKind, MaskedInput, Parameters, Roster,
    Session, ShareKeys, Signatures, Survivors, ThreatModel, UnmaskShares, server::AfterMasked,
};

type Reencode = fn(&[u8], &Session) -> Result<Vec<u8>, DecodeError>;
type MaxLen = fn(&Session) -> usize;

/// Decode and encode again, and the cap, of every message.
const DECODERS: [(&str, Reencode, MaxLen); 9] = [
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
    (
        "ConsistencyCheck",
        |b, s| Ok(ConsistencyCheck::decode(b, s)?.encode(s)),
        ConsistencyCheck::max_encoded_len,
    ),
    (
        "Signatures",
        |b, s| Ok(Signatures::decode(b, s)?.encode(s)),
        Signatures::max_encoded_len,
    ),
];

/// Both threat models and both graphs.
fn sessions() -> [Session; 3] {
    [
        session(6, 1),
        session_of(ThreatModel::Malicious, GraphKind::Complete, 6, 1),
        session_of(ThreatModel::Malicious, GraphKind::Sparse, 6, 1),
    ]
}

/// One message of each kind that the session has, from a round with a dropout, each with its
/// place in `DECODERS`.
fn samples(session: &Session) -> Vec<(usize, Vec<u8>)> {
    let mut server = common::open(session);
    let mut states = Vec::new();
    let mut first_advert = Vec::new();
    for client in 0..6 {
        let (state, advert) = common::start(session, client, common::LENIENT);
        server.take(session, client, &advert).unwrap();
        states.push(state);
        first_advert = advert;
    }
    let degree = match session.parameters().graph() {
        GraphKind::Complete => 5,
        _ => 4,
    };
    let mut server = server.close(degree, 4).unwrap();
    let (mut roster, mut shares) = (Vec::new(), Vec::new());
    let mut waiting = Vec::new();
    for (client, state) in states.into_iter().enumerate() {
        roster = server.roster_for(id(client)).unwrap().encode(session);
        let (all, own) = server.roster_bytes_for(id(client)).unwrap();
        assert_eq!([&all[..], &own[..]].concat(), roster);
        let (again, _) = server.roster_bytes_for(id(0)).unwrap();
        assert!(Arc::ptr_eq(&all, &again));
        let (state, bytes) = common::share(session, client, state, &roster).unwrap();
        server.take(session, client, &bytes).unwrap();
        waiting.push(state);
        shares = bytes;
    }
    let mut server = server.close().unwrap();
    let (mut delivery, mut masked, mut uploaded) = (Vec::new(), Vec::new(), Vec::new());
    for (client, state) in waiting.into_iter().enumerate() {
        delivery = server.delivery_for(id(client)).unwrap().encode(session);
        let (state, bytes) = common::upload(session, client, state, &delivery).unwrap();
        server.take(session, client, &bytes).unwrap();
        uploaded.push(state);
        masked = bytes;
    }
    let mut samples = vec![first_advert, roster, shares, delivery, masked];
    match server.close().unwrap() {
        AfterMasked::Unmask(server) => {
            let survivors = server.survivors().encode(session);
            let unmask = common::reveal(session, uploaded.remove(0), &survivors).unwrap();
            samples.extend([survivors, unmask]);
        }
        AfterMasked::Check(mut server) => {
            let survivors = server.survivors().encode(session);
            let (mut states, mut checks) = (Vec::new(), Vec::new());
            for (client, state) in uploaded.into_iter().enumerate() {
                let (state, check) = common::sign(session, state, &survivors).unwrap();
                server.take(session, client, &check).unwrap();
                states.push(state);
                checks.push(check);
            }
            let server = server.close().unwrap();
            let signatures = server.signatures_for(id(0)).unwrap().encode(session);
            let unmask = common::reveal_signed(session, states.remove(0), &signatures).unwrap();
            samples.extend([survivors, unmask, checks.remove(0), signatures]);
        }
    }
    samples.into_iter().enumerate().collect()
}

type Sample = (Session, Vec<u8>, (&'static str, Reencode, MaxLen));

/// Every message of every kind of session, with the session and its decoder.
fn all() -> Vec<Sample> {
    static ALL: LazyLock<Vec<Sample>> = LazyLock::new(|| {
        let of = |session: Session| {
            let samples = samples(&session).into_iter();
            samples.map(move |(place, sample)| (session.clone(), sample, DECODERS[place]))
        };
        sessions().into_iter().flat_map(of).collect()
    });
    ALL.clone()
}

#[test]
fn decoding_and_encoding_are_inverse_and_caps_hold() {
    for (session, sample, (name, reencode, max)) in all() {
        assert_eq!(
            reencode(&sample, &session).as_deref(),
            Ok(&*sample),
            "{name}"
        );
        assert!(sample.len() <= max(&session), "{name}");
    }
}

/// A cap that is too small refuses honest messages, one that is too large lets a peer send more.
#[test]
fn caps_are_the_lengths_of_the_largest_messages() {
    for (session, sample, (name, _, max)) in all() {
        let sparse = session.parameters().graph() == GraphKind::Sparse;
        let spare = match name {
            // Ids and digests, which follow from the adverts in a complete graph.
            "Roster" if !sparse => 6 * (16 + 32),
            // A ring of degree four: adverts of two more could follow the header, three numbers and
            // the ids and digests, and a box and a share for one more neighbour.
            "Roster" => 2 * (sample.len() - 18 - 12 - 6 * (16 + 32)) / 4,
            "ShareKeys" if sparse => 80,
            "Delivery" if sparse => 80,
            "UnmaskShares" if sparse => 33,
            // As many as the threshold.
            "Signatures" => 64,
            _ => 0,
        };
        assert_eq!(max(&session) - sample.len(), spare, "{name}, {sparse}");
    }
}

/// Nothing is written, found too small, and copied.
#[test]
fn messages_are_written_into_as_much_as_they_take() {
    for (session, sample, (name, reencode, _)) in all() {
        let written = reencode(&sample, &session).unwrap();
        assert_eq!(written.capacity(), written.len(), "{name}");
    }
}

#[test]
fn messages_say_what_they_hold() {
    for (session, sample, (name, ..)) in all() {
        let sparse = session.parameters().graph() == GraphKind::Sparse;
        match name {
            "Roster" => {
                let roster = Roster::decode(&sample, &session).unwrap();
                let degree = if sparse { 4 } else { 5 };
                assert_eq!((roster.degree(), roster.threshold()), (degree, 4));
                assert_eq!(roster.clients().len(), 6);
            }
            "MaskedInput" => {
                let masked = MaskedInput::from_vec(sample.clone(), &session).unwrap();
                assert_eq!(masked.as_bytes(), sample);
            }
            "Survivors" => {
                let survivors = Survivors::decode(&sample, &session).unwrap();
                assert_eq!(survivors.count(), 6);
            }
            _ => {}
        }
    }
}

#[test]
fn every_truncation_and_every_addition_is_refused() {
    for (session, sample, (name, reencode, _)) in all() {
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
    for (session, sample, (name, reencode, _)) in all() {
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
    let masked = samples(&session)[4].1.clone();
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
    let session = session_of(ThreatModel::Malicious, GraphKind::Sparse, 6, 1);
    let samples = samples(&session);
    // Where the count stands in each message that has one.
    for (message, at, what, min, max) in [
        (1, 18, "degree", 2, 5),
        (1, 22, "threshold", 2, 6),
        (1, 26, "cohort", 3, 6),
        (2, 18, "number of boxes", 0, 5),
        (3, 18, "number of neighbours", 0, 5),
        (5, 18, "cohort", 3, 6),
        (6, 18, "number of shares", 0, 5),
        (8, 18, "number of neighbours", 0, 5),
    ] {
        let mut sample = samples[message].1.clone();
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
        (1, "threat model", 2),
        (2, "graph kind", 2),
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
        for (session, mut sample, (name, reencode, _)) in all() {
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
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, kind in 1_u8..10) {
        for session in sessions() {
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
        }
        if let Ok(parameters) = Parameters::decode(&bytes) {
            prop_assert_eq!(parameters.encode(), bytes);
        }
    }
}
