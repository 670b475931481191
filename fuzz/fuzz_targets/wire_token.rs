#![no_main]
//! Enrolment tokens as a person types them.

use libfuzzer_sys::fuzz_target;
use secagg_wire::token::Token;

fuzz_target!(|text: &str| {
    if let Ok(token) = text.parse::<Token>() {
        let again: Token = token.reveal().parse().expect("a token's own text parses");
        assert_eq!(*again.reveal(), *token.reveal());
    }
});
