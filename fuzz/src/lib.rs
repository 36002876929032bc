//! What holds for every input of a stranger, whatever it is: one module a target, each with a `check` that panics where a rule
//! is broken. The fuzz targets call them with inputs of the fuzzer, `tests/it/corpora.rs` with those that are kept.

pub mod decode;
pub mod frames;
pub mod message;
pub mod sync;
pub mod token;
