#![no_main]
//! The decoder of `Delivery`.

use libfuzzer_sys::fuzz_target;
use secagg::Delivery;

fuzz_target!(|body: &[u8]| {
    secagg_fuzz::canonical(4, body, Delivery::decode, |m, s| m.encode(s));
});
