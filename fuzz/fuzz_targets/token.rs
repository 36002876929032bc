//! Any bytes as a token.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ordercast_fuzz::token::check(input));
