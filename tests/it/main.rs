//! The integration suite: one binary.

mod store;
