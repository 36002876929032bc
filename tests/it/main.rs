//! Integration tests, as one binary.

mod settings;
