#![no_main]
//! A round's plan.

use libfuzzer_sys::fuzz_target;
use secagg_wire::plan::{decode_plan, encode_plan};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(plan) = decode_plan(bytes) {
        let again = encode_plan(&plan).expect("a decoded plan encodes");
        assert_eq!(again, bytes, "one plan, one encoding");
    }
});
