//! Any bytes as the text of a client's message.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ordercast_fuzz::message::check(input));
