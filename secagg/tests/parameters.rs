//! What cannot be a parameter, a layout, a threshold or an input is refused by name.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod common;

use std::ops::RangeInclusive;

use common::{Receive, session};
use secagg::{
    CORRECTNESS_BITS, GraphKind, InputError, Layout, MaskedInput, Parameters, ParametersError,
    Segment, ShareKeys, SigningIdentity, ThreatModel, Vector, client::AwaitRoster,
    server::CollectAdverts,
};

fn parameters(cohort: RangeInclusive<u32>, bits: u8) -> Result<Parameters, ParametersError> {
    let layout = Layout::new(vec![Segment::new("words", 4, bits)?])?;
    let graph = GraphKind::Complete;
    Parameters::new(ThreatModel::HonestButCurious, graph, cohort, layout)
}

fn cohort(min: u32, max: u32) -> ParametersError {
    let largest = 65_536;
    ParametersError::Cohort { min, max, largest }
}

#[test]
fn cohorts_are_in_order_and_within_bounds() {
    for (min, max) in [(2, 10), (3, 65_537), (9, 8)] {
        let refused = parameters(min..=max, 32);
        assert_eq!(refused, Err(cohort(min, max)));
    }
    assert!(parameters(3..=3, 32).is_ok());
    assert!(parameters(65_536..=65_536, 32).is_ok());
}

/// Even a one from everybody would wrap around.
#[test]
fn segments_too_narrow_for_the_cohort_are_refused() {
    assert!(parameters(3..=255, 8).is_ok());
    let refused = parameters(3..=256, 8);
    let (name, cohort) = ("words".into(), 256);
    let expected = ParametersError::SegmentTooNarrow {
        name,
        bits: 8,
        cohort,
    };
    assert_eq!(refused, Err(expected));
}

#[test]
fn segments_and_layouts_are_checked() {
    for len in [0, 65] {
        let refused = Segment::new(&"n".repeat(len), 1, 8);
        assert_eq!(refused, Err(ParametersError::SegmentName { len }));
    }
    for bits in [0, 65] {
        let name = "words".into();
        let refused = Segment::new("words", 1, bits);
        assert_eq!(refused, Err(ParametersError::SegmentBits { name, bits }));
    }
    let name = "words".into();
    assert!(!Segment::new("words", 1, 8).unwrap().is_empty());
    let refused = Segment::new("words", 0, 8);
    assert_eq!(refused, Err(ParametersError::SegmentEmpty { name }));

    let segments = |count: usize| -> Vec<Segment> {
        let segment = |i| Segment::new(&format!("s{i}"), 1, 8).unwrap();
        (0..count).map(segment).collect()
    };
    for count in [0, 257] {
        let refused = Layout::new(segments(count));
        assert_eq!(refused, Err(ParametersError::SegmentCount { count }));
    }
    assert!(Layout::new(segments(256)).is_ok());
    let mut twice = segments(3);
    twice.extend(segments(1));
    let name = "s0".into();
    assert_eq!(
        Layout::new(twice),
        Err(ParametersError::DuplicateSegment { name })
    );
}

/// The largest segment there can be is 2^32 − 1 times 64 bits, far beyond 32 bits of bytes.
#[test]
fn the_packed_length_of_the_largest_segment_is_exact() {
    let largest = Segment::new("words", u32::MAX, 64).unwrap();
    let expected = usize::try_from(u64::from(u32::MAX) * 8).unwrap_or(usize::MAX);
    assert_eq!(largest.packed_len(), expected);
}

/// The sum over the largest cohort must not wrap around; and the private element that would is
/// not in the error, which may be logged.
#[test]
fn inputs_that_could_wrap_the_sum_are_refused_and_not_repeated() {
    let session = session(6, 0);
    let max = (1 << 20) / 6;
    let segment = |elements: [u64; 600]| Vector::builder(&session).segment("update", elements);
    assert!(segment([max; 600]).is_ok());
    let mut elements = [0; 600];
    elements[17] = max + 4_001;
    let error = segment(elements).unwrap_err();
    let (name, index) = ("update".into(), 17);
    assert_eq!(error, InputError::OutOfRange { name, index, max });
    let printed = format!("{error} {error:?}");
    assert!(!printed.contains(&elements[17].to_string()), "{printed}");

    // The first of several is named; and no word is too narrow to see what is cut off.
    elements[16] = 1 << 32;
    let (name, index) = ("update".into(), 16);
    let error = InputError::OutOfRange { name, index, max };
    assert_eq!(segment(elements).unwrap_err(), error);
    let (name, index, max) = ("counters".into(), 4, (1 << 48) / 6);
    let wide = Vector::builder(&session).segment("counters", [0, max, 1, 2, max + 1]);
    let error = InputError::OutOfRange { name, index, max };
    assert_eq!(wide.unwrap_err(), error);
}

#[test]
fn inputs_of_another_shape_are_refused() {
    let session = session(6, 0);
    let builder = || Vector::builder(&session);
    let name = || "words".to_owned();
    let length = |found| InputError::Length {
        name: name(),
        expected: 7,
        found,
    };
    let error = builder().segment("words", [0; 6]).unwrap_err();
    assert_eq!(error, length(Some(6)));
    let error = builder().segment("words", [0; 8]).unwrap_err();
    assert_eq!(error, length(None));
    let error = builder().segment("colours", [0; 7]).unwrap_err();
    let unknown = "colours".into();
    assert_eq!(error, InputError::UnknownSegment { name: unknown });
    let filled = builder().segment("words", [0; 7]).unwrap();
    let error = filled.segment("words", [0; 7]).unwrap_err();
    assert_eq!(error, InputError::SegmentTwice { name: name() });
    let filled = builder().segment("words", [0; 7]).unwrap();
    let name = "update".into();
    assert_eq!(
        filled.build().unwrap_err(),
        InputError::SegmentMissing { name }
    );
}

#[test]
fn vectors_of_one_layout_are_added_modulo_their_rings() {
    let session = session(6, 0);
    let of = |value: u64| {
        let builder = Vector::builder(&session)
            .segment("update", [value; 600])
            .unwrap();
        let builder = builder.segment("words", [value; 7]).unwrap();
        builder
            .segment("counters", [value; 5])
            .unwrap()
            .build()
            .unwrap()
    };
    let most = (1 << 20) / 6;
    let mut sum = of(most);
    for _ in 0..6 {
        sum.add(&of(most)).unwrap();
    }
    // 20 bits wrap around; 31 and 48 do not.
    let all = |name, value| sum.segment(name).unwrap().all(|element| element == value);
    assert!(all("update", 7 * most - (1 << 20)));
    assert!(all("words", 7 * most) && all("counters", 7 * most));
    let len = |name| sum.segment(name).unwrap().len();
    assert_eq!(["update", "words", "counters"].map(len), [600, 7, 5]);

    let other = Layout::new(vec![Segment::new("update", 600, 20).unwrap()]).unwrap();
    let error = sum.add(&Vector::zero(&other)).unwrap_err();
    assert_eq!(error, InputError::OtherLayout);
    assert!(sum.segment("colours").is_none());
}

/// Nothing that holds a secret prints it.
#[test]
fn states_and_vectors_print_no_contents() {
    let session = session(6, 0);
    let mut rng = common::coins(0, 0);
    let member = common::member(0);
    let (state, _) =
        AwaitRoster::start(session.clone(), member, common::LENIENT, &mut rng).unwrap();
    assert_eq!(format!("{state:?}"), "AwaitRoster { .. }");
    let printed = format!("{:?}", common::input(&session, 0));
    assert!(printed.starts_with("Vector { layout: "), "{printed}");
    assert!(printed.ends_with(", .. }"), "{printed}");
    let server = CollectAdverts::new(session, None);
    let printed = format!("{server:?}");
    assert!(printed.starts_with("CollectAdverts { "), "{printed}");
    // A key by its public half, a client by its id.
    let key = SigningIdentity::from_seed(&[7; 32]);
    let public = key.public();
    assert_eq!(format!("{key:?}"), format!("SigningIdentity({public})"));
    let member = common::member(0);
    let id = member.id();
    let expected = format!("Member {{ id: {id:?}, signed: {} }}", member.is_signed());
    assert_eq!(format!("{member:?}"), expected);
}

/// Boxes and masked vectors are many bytes, and say nothing to a reader.
#[test]
fn large_messages_print_their_size() {
    let session = session(6, 0);
    let masked = vec![0; MaskedInput::encoded_len(&session)];
    assert!(MaskedInput::from_vec(masked, &session).is_err());
    let mut round = common::open(&session);
    let states: Vec<_> = (0..3)
        .map(|client| {
            let (state, advert) = common::start(&session, client, common::LENIENT);
            round.take(&session, client, &advert).unwrap();
            state
        })
        .collect();
    let mut round = round.close(2, 2).unwrap();
    let mut waiting = Vec::new();
    for (client, state) in states.into_iter().enumerate() {
        let roster = round
            .roster_for(common::id(client))
            .unwrap()
            .encode(&session);
        let (state, shares) = common::share(&session, client, state, &roster).unwrap();
        let printed = format!("{:?}", ShareKeys::decode(&shares, &session).unwrap());
        assert_eq!(printed, "ShareKeys { boxes: 2 }");
        round.take(&session, client, &shares).unwrap();
        waiting.push(state);
    }
    let round = round.close().unwrap();
    let delivery = round.delivery_for(common::id(0)).unwrap();
    let printed = format!("{delivery:?}");
    assert!(printed.starts_with("Delivery { "), "{printed}");
    assert!(printed.len() < 100, "{printed}");
    let delivery = delivery.encode(&session);
    let (_, masked) = common::upload(&session, 0, waiting.remove(0), &delivery).unwrap();
    let len = masked.len();
    let masked = MaskedInput::from_vec(masked, &session).unwrap();
    assert_eq!(
        format!("{masked:?}"),
        format!("MaskedInput {{ bytes: {len} }}")
    );
}

#[test]
fn parameters_say_what_they_were_made_of() {
    let parameters = parameters(3..=9, 32).unwrap();
    assert_eq!(parameters.security_bits(), 40);
    assert_eq!(parameters.correctness_bits(), CORRECTNESS_BITS);
    let parameters = parameters.with_bits(81, 21).unwrap();
    assert_eq!(parameters.security_bits(), 81);
    assert_eq!(parameters.correctness_bits(), 21);
    assert_eq!(GraphKind::Complete.to_string(), "complete");
    assert_eq!(GraphKind::Sparse.to_string(), "sparse");
}
