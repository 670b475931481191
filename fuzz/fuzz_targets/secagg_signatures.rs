#![no_main]
//! The decoder of `Signatures`.

use libfuzzer_sys::fuzz_target;
use secagg::Signatures;

fuzz_target!(|body: &[u8]| {
    secagg_fuzz::canonical(9, body, Signatures::decode, |m, s| m.encode(s));
});
