#![no_main]
//! Shamir's shares with errors.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| secagg_fuzz::shamir::run(bytes));
