#![no_main]
//! The decoder of `Roster`.

use libfuzzer_sys::fuzz_target;
use secagg::Roster;

fuzz_target!(|body: &[u8]| {
    secagg_fuzz::canonical(2, body, Roster::decode, |m, s| m.encode(s));
});
