//! The end of a link whose orders are all terminal.

use std::time::{Duration, Instant};

/// Since when all orders of a link have been terminal.
#[derive(Debug, Default)]
pub(super) struct Completion {
    since: Option<Instant>,
    /// The time has come, and the output has only to go out.
    near: bool,
}

impl Completion {
    /// Notes whether all orders are terminal now.
    pub(super) fn set(&mut self, complete: bool, now: Instant) {
        self.since = if complete { self.since.or(Some(now)) } else { None };
        self.near &= complete;
    }

    /// When the session ends for it, if nothing changes.
    pub(super) fn deadline(&self, after: Duration) -> Option<Instant> {
        self.since.map(|since| since + after)
    }

    /// Lets nothing more in front of the end.
    pub(super) fn draw_near(&mut self) {
        self.near = true;
    }

    /// Whether nothing more is let in front of the end.
    pub(super) fn is_near(&self) -> bool {
        self.near
    }
}
