//! The integration suite: one binary, real parts.
#![allow(missing_docs, clippy::unwrap_used)]

mod settings;
mod store;
mod transport;
