//! Any bytes, as value, key and headers of a record: decode must not panic, and what it accepts must keep the rules.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ordercast::event;

#[path = "../../src/event/decode/tests/accepted.rs"]
mod accepted;

static DECODER: LazyLock<event::Decoder> = LazyLock::new(|| {
    event::Decoder::new(&event::decode::DecoderOptions::default()).expect("the defaults are valid")
});

fuzz_target!(|input: &[u8]| accepted::check(&DECODER, input));
