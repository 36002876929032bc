//! The end of a link whose orders are all terminal.

use std::time::{Duration, Instant};

/// Since when all orders of a link have been terminal.
#[derive(Debug, Default)]
pub(super) struct Completion {
    since: Option<Instant>,
}

impl Completion {
    /// Notes whether all orders are terminal now.
    pub(super) fn set(&mut self, complete: bool, now: Instant) {
        self.since = if complete { self.since.or(Some(now)) } else { None };
    }

    /// When the session ends for it, if nothing changes.
    pub(super) fn deadline(&self, after: Duration) -> Option<Instant> {
        self.since.map(|since| since + after)
    }
}
