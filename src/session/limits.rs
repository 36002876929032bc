//! How much a client may say, and how much of it may be wrong.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Messages a second, over time.
const MESSAGES_PER_SECOND: u32 = 20;
/// Messages at once.
const BURST: u32 = 60;
/// Refused messages within [`ERROR_WINDOW`] that end the session.
const MAX_ERRORS: usize = 10;
const ERROR_WINDOW: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Limits {
    /// The moment at which the bucket would be full.
    full_at: Instant,
    errors: VecDeque<Instant>,
}

impl Limits {
    pub(super) fn new(now: Instant) -> Self {
        Self { full_at: now, errors: VecDeque::new() }
    }

    /// Takes a message; `false` if it is one too many. A token bucket, kept as the time at which it is full again.
    pub(super) fn admits_message(&mut self, now: Instant) -> bool {
        let cost = Duration::from_secs(1) / MESSAGES_PER_SECOND;
        let full_at = self.full_at.max(now) + cost;
        let admitted = full_at - now <= cost * BURST;
        if admitted {
            self.full_at = full_at;
        }
        admitted
    }

    /// Counts an `error` answer; `false` if it was the last that is tolerated.
    pub(super) fn tolerates_error(&mut self, now: Instant) -> bool {
        self.errors.retain(|error| now.duration_since(*error) < ERROR_WINDOW);
        self.errors.push_back(now);
        self.errors.len() < MAX_ERRORS
    }
}
