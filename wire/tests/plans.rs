//! Plans as they travel.
#![expect(
    clippy::unwrap_used,
    reason = "a test's helper fails the test by panicking"
)]

use proptest::prelude::*;
use secagg_learning::{
    Budget, Compression, LocalOptimizer, Parts, Plan, RoundKind, ServerOptimizerConfig,
    TrainingPlan, UpdatePlan,
};
use secagg_wire::{
    digest::plan_digest,
    message::MAX_PLAN_LEN,
    plan::{PlanBytesError, decode_plan, encode_plan},
};

fn plan() -> Plan {
    Plan::new(
        RoundKind::Train,
        UpdatePlan {
            parameters: 657_800,
            clip_norm: 1.0,
            range: 0.1,
            value_bits: 14,
            weight_cap: 1000,
            max_cohort: 100,
            compression: Compression::NONE,
            parts: Parts::ALL,
        },
        TrainingPlan {
            budget: Budget::Epochs(1),
            batch: 16,
            optimizer: LocalOptimizer::Adam { rate: 0.002 },
            gradient_clip: 5.0,
            max_words: 20,
            ..TrainingPlan::DEFAULT
        },
        ServerOptimizerConfig::FedAvg { rate: 1.0 },
    )
    .unwrap()
}

#[test]
fn a_plan_comes_back_and_its_bytes_have_one_form() {
    let bytes = encode_plan(&plan()).unwrap();
    assert_eq!(decode_plan(&bytes), Ok(plan()));
    let other = plan().with_kind(RoundKind::EvaluateOnly).unwrap();
    assert_ne!(
        plan_digest(&bytes),
        plan_digest(&encode_plan(&other).unwrap())
    );

    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(
        decode_plan(&longer),
        Err(PlanBytesError::TrailingBytes { extra: 1 })
    );
    assert_eq!(
        decode_plan(&bytes[..bytes.len() - 1]),
        Err(PlanBytesError::Malformed(
            postcard::Error::DeserializeUnexpectedEnd
        ))
    );
    assert_eq!(
        decode_plan(&vec![0; MAX_PLAN_LEN + 1]),
        Err(PlanBytesError::TooLong {
            len: MAX_PLAN_LEN + 1,
            max: MAX_PLAN_LEN
        })
    );
}

#[test]
fn a_plan_that_is_not_valid_does_not_decode() {
    let mut bytes = encode_plan(&plan()).unwrap();
    // The round's kind is the first byte, the number of parameters follows: 0 is not allowed.
    let rest = bytes.split_off(4);
    assert_eq!(bytes, [0, 0x88, 0x93, 0x28]);
    let mut none = vec![0, 0];
    none.extend_from_slice(&rest);
    assert_eq!(
        decode_plan(&none),
        Err(PlanBytesError::Malformed(postcard::Error::SerdeDeCustom))
    );
    let mut padded = vec![0, 0x88, 0x93, 0xa8, 0x00];
    padded.extend_from_slice(&rest);
    assert_eq!(decode_plan(&padded), Err(PlanBytesError::NotCanonical));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(plan) = decode_plan(&bytes) {
            prop_assert_eq!(encode_plan(&plan).unwrap(), bytes);
        }
    }

    #[test]
    fn a_changed_byte_never_panics(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encode_plan(&plan()).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(plan) = decode_plan(&bytes) {
            prop_assert_eq!(encode_plan(&plan).unwrap(), bytes);
        }
    }
}
