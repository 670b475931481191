#![no_main]
//! The decoder of session parameters.

use libfuzzer_sys::fuzz_target;
use secagg::Parameters;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(parameters) = Parameters::decode(bytes) {
        assert_eq!(parameters.encode(), bytes, "one value, one encoding");
    }
});
