//! Any bytes as what a client sends after the handshake.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ordercast_fuzz::frames::check(input));
