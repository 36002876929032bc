//! The integration suite: one binary, real parts.

mod settings;
mod store;
