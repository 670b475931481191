#![no_main]
//! The decoder of `MaskedInput`.

use libfuzzer_sys::fuzz_target;
use secagg::MaskedInput;

fuzz_target!(|body: &[u8]| {
    canonical(body);
    // Of the one length that there is: the fuzzer's bytes are the end of it.
    let [session, _] = secagg_fuzz::sessions();
    let len = session.layout().packed_len();
    let mut whole = vec![0; len.saturating_sub(body.len())];
    whole.extend(body.iter().take(len));
    canonical(&whole);
});

fn canonical(body: &[u8]) {
    secagg_fuzz::canonical(
        5,
        body,
        |b, s| MaskedInput::from_vec(b.to_vec(), s),
        |m, _| m.into_vec(),
    );
}
