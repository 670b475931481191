#![no_main]
//! The decoder of `MaskedInput`.

use libfuzzer_sys::fuzz_target;
use secagg::MaskedInput;

fuzz_target!(|body: &[u8]| {
    secagg_fuzz::canonical(
        5,
        body,
        |b, s| MaskedInput::from_vec(b.to_vec(), s),
        |m, _| m.into_vec(),
    );
});
