#![no_main]
//! The decoder of `ConsistencyCheck`.

use libfuzzer_sys::fuzz_target;
use secagg::ConsistencyCheck;

fuzz_target!(|body: &[u8]| {
    secagg_fuzz::canonical(8, body, ConsistencyCheck::decode, |m, s| m.encode(s));
});
