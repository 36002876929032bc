//! The end of the token, which is the end of the session.

use std::time::{Duration, Instant};

use super::Now;
use crate::domain::Timestamp;

/// How long before the end the client is told.
const WARNING: Duration = Duration::from_secs(60);
/// The wall clock is looked at again at least this often, because it may jump.
const RECHECK: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Expiry {
    expires_at: Timestamp,
    warned: bool,
}

impl Expiry {
    pub(super) fn new(expires_at: Timestamp) -> Self {
        Self { expires_at, warned: false }
    }

    /// Goes on with another token, whose end the client is told of unless it is the one it was told of: who answers a warning
    /// with the token it has would be warned without end.
    pub(super) fn renew(&mut self, expires_at: Timestamp) {
        if expires_at != self.expires_at {
            *self = Self::new(expires_at);
        }
    }

    pub(super) fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    /// Whether the client is to be told now that its token ends soon; once.
    pub(super) fn warns(&mut self, now: Timestamp) -> bool {
        let due = !self.warned && self.remaining(now) <= WARNING;
        self.warned |= due;
        due
    }

    /// When to look again. Before the session has started it does not warn yet.
    pub(super) fn deadline(&self, now: Now, started: bool) -> Instant {
        let remaining = self.remaining(now.wall);
        let next = if started && !self.warned { remaining.saturating_sub(WARNING) } else { remaining };
        now.instant + next.min(RECHECK)
    }

    fn remaining(&self, now: Timestamp) -> Duration {
        let millis = self.expires_at.as_millis().saturating_sub(now.as_millis());
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}
