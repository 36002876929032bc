//! A record: decode does not panic, and what it accepts keeps the rules.

use std::sync::LazyLock;

use ordercast::domain::{
    self,
    decode::{DecoderOptions, FieldPointers},
};

#[path = "../../src/domain/decode/tests/accepted.rs"]
mod accepted;

/// The defaults, and settings that make use of all there is.
static DECODERS: LazyLock<[domain::Decoder; 2]> = LazyLock::new(|| {
    let deeper = FieldPointers {
        order_id: ["/order_id", "/after/id", "/before/id"].map(String::from).into(),
        status: ["/status", "/after/status"].map(String::from).into(),
        details: ["/details", "/after"].map(String::from).into(),
        deleted: ["/__deleted", "/op"].map(String::from).into(),
        ..FieldPointers::default()
    };
    let options = DecoderOptions { fields: deeper, trim: true, ..DecoderOptions::default() };
    [DecoderOptions::default(), options].map(|options| domain::Decoder::new(&options).expect("the settings are valid"))
});

/// The input is a value, a key and headers.
pub fn check(input: &[u8]) {
    DECODERS.iter().for_each(|decoder| accepted::check(decoder, input));
}
