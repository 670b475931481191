#![no_main]
//! The decoder of `UnmaskShares`.

use libfuzzer_sys::fuzz_target;
use secagg::UnmaskShares;

fuzz_target!(|body: &[u8]| {
    secagg_fuzz::canonical(7, body, UnmaskShares::decode, |m, s| m.encode(s));
});
