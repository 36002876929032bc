//! The raw floor: frames that somebody sends into a socket, and nobody answers.

/// What its reader has to say.
pub(super) const NOTHING: Vec<u8> = Vec::new();
