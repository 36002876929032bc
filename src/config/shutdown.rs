//! `shutdown`: how an instance leaves.

use std::time::Duration;

use super::{reader::Section, rule::duration};

/// Leaving takes `spread` and then `grace` at most.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// Time over which the sessions are closed, so that they do not all come back at once. 0 s to 10 min, default 10 s.
    pub spread: Duration,
    /// Time for the last sessions and the recorder to finish. 100 ms to 10 min, default 5 s.
    pub grace: Duration,
}

impl Shutdown {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        Self {
            spread: section.value("spread", "10s", duration("0s", "10m")),
            grace: section.value("grace", "5s", duration("100ms", "10m")),
        }
    }
}
