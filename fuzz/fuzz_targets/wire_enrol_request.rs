#![no_main]
//! The frames of `EnrolRequest`.

use libfuzzer_sys::fuzz_target;
use secagg_wire::{enrol::EnrolRequest, frame};

fuzz_target!(|bytes: &[u8]| {
    if let Ok((message, rest)) = frame::decode::<EnrolRequest>(bytes, 4096) {
        let frame = frame::encode(&message).expect("a decoded message encodes");
        assert_eq!(
            frame,
            bytes[..bytes.len() - rest.len()],
            "one message, one encoding"
        );
    }
});
