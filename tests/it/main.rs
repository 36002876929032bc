//! The integration suite: one binary, real parts.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test binary has no other crate to be reached from, and may say what it does"
)]

mod asyncapi;
mod check;
mod cli;
mod control;
mod corpora;
mod dead_letters;
mod documents;
mod doors;
mod faults;
mod house;
mod keys;
mod live;
mod load;
mod outages;
mod page;
mod parts;
mod parts_smoke;
mod pipelines;
mod producers;
mod properties;
mod rights;
mod secrets;
mod service;
mod settings;
mod soak;
mod store;
mod transport;
mod world;
