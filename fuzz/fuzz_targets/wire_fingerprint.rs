#![no_main]
//! Fingerprints of certificates as a person types them.

use libfuzzer_sys::fuzz_target;
use secagg_wire::identity::Fingerprint;

fuzz_target!(|text: &str| {
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        let shown = fingerprint.to_string();
        assert!(
            shown.eq_ignore_ascii_case(text),
            "one fingerprint, one text"
        );
    }
});
