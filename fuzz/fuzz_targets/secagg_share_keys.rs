#![no_main]
//! The decoder of `ShareKeys`.

use libfuzzer_sys::fuzz_target;
use secagg::ShareKeys;

fuzz_target!(|body: &[u8]| {
    secagg_fuzz::canonical(3, body, ShareKeys::decode, |m, s| m.encode(s));
});
