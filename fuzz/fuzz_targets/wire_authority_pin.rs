#![no_main]
//! Pins of authorities as a person types them.

use libfuzzer_sys::fuzz_target;
use secagg_wire::authority::AuthorityPin;

fuzz_target!(|text: &str| {
    if let Ok(pin) = text.parse::<AuthorityPin>() {
        assert_eq!(pin.to_string().parse(), Ok(pin), "a pin's own text parses");
    }
});
