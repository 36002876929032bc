//! Any bytes as a record's value, key and headers.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ordercast_fuzz::decode::check(input));
