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
mod cli;
mod control;
mod documents;
mod faults;
mod house;
mod ingest;
mod keys;
mod live;
mod page;
mod parts;
mod parts_smoke;
mod settings;
mod store;
mod transport;
mod world;
