#![no_main]
//! A client against an arbitrary server.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| secagg_fuzz::client::run(bytes));
