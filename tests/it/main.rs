//! The integration suite: one binary, real parts.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod parts;
mod parts_smoke;
mod settings;
mod store;
mod transport;
