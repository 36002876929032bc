//! A record: decode does not panic, and what it accepts keeps the rules.

use std::sync::LazyLock;

use ordercast::event;

#[path = "../../src/event/decode/tests/accepted.rs"]
mod accepted;

static DECODER: LazyLock<event::Decoder> =
    LazyLock::new(|| event::Decoder::new(&event::decode::DecoderOptions::default()).expect("the defaults are valid"));

/// The input is a value, a key and headers.
pub fn check(input: &[u8]) {
    accepted::check(&DECODER, input);
}
