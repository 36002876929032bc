//! Any bytes as a whole conversation of a client with its session.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ordercast_fuzz::sync::check(input));
