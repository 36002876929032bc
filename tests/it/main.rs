//! The integration tests: one binary, against real parts (see docs/testing.md).

#![allow(unreachable_pub, reason = "a test binary has no other crate to be reached from")]

mod parts;
mod parts_smoke;
