#![no_main]
//! The decoder of `Survivors`.

use libfuzzer_sys::fuzz_target;
use secagg::Survivors;

fuzz_target!(|body: &[u8]| {
    secagg_fuzz::canonical(6, body, Survivors::decode, |m, s| m.encode(s));
});
