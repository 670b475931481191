#![no_main]
//! Addresses of coordinators as a person types them.

use libfuzzer_sys::fuzz_target;
use secagg_wire::endpoint::Address;

fuzz_target!(|text: &str| {
    if let Ok(address) = text.parse::<Address>() {
        let shown = address.to_string();
        assert_eq!(shown.parse(), Ok(address), "an address's own text parses");
    }
});
