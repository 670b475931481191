#![no_main]
//! The codec of updates.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| secagg_fuzz::update::run(bytes));
