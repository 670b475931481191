#![no_main]
//! The server's state machine.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| secagg_fuzz::server::run(bytes));
