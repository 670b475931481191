#![no_main]
//! The decoder of `Advert`.

use libfuzzer_sys::fuzz_target;
use secagg::Advert;

fuzz_target!(|body: &[u8]| {
    secagg_fuzz::canonical(1, body, Advert::decode, |m, s| m.encode(s));
});
