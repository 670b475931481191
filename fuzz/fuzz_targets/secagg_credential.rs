#![no_main]
//! The decoder of `Credential`.

use libfuzzer_sys::fuzz_target;
use secagg::Credential;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(credential) = Credential::decode(bytes) {
        assert_eq!(credential.encode(), bytes, "one credential, one encoding");
    }
});
