//! How much a client may say, and how much of it may be wrong.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Messages a second, over time; Pings and Pongs are messages, too.
const MESSAGES_PER_SECOND: u32 = 20;
/// Messages at once.
const MESSAGE_BURST: u32 = 60;
/// Bytes of messages a second, over time: one message of the largest size.
const BYTES_PER_SECOND: u32 = 64 * 1024;
/// Bytes at once: a reconnecting page says all it shows, perhaps twice.
const BYTE_BURST: u32 = 4 * BYTES_PER_SECOND;
/// Messages answered by `error` within [`ERROR_WINDOW`] that end the session.
const MAX_ERRORS: usize = 10;
const ERROR_WINDOW: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Limits {
    messages: Bucket,
    bytes: Bucket,
    errors: VecDeque<Instant>,
}

impl Limits {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            messages: Bucket::new(MESSAGES_PER_SECOND, MESSAGE_BURST, now),
            bytes: Bucket::new(BYTES_PER_SECOND, BYTE_BURST, now),
            errors: VecDeque::new(),
        }
    }

    /// Takes a message of so many bytes; `false` if it is one too many.
    pub(super) fn admits_message(&mut self, bytes: usize, now: Instant) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.messages.takes(1, now) && self.bytes.takes(bytes, now)
    }

    /// Counts a message answered by `error`; `false` if it was one too many.
    pub(super) fn tolerates_error(&mut self, now: Instant) -> bool {
        self.errors.retain(|error| now.duration_since(*error) < ERROR_WINDOW);
        self.errors.push_back(now);
        self.errors.len() < MAX_ERRORS
    }
}

/// A token bucket, kept as the time at which it is full again.
#[derive(Debug)]
struct Bucket {
    cost: Duration,
    capacity: Duration,
    full_at: Instant,
}

impl Bucket {
    fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let second = Duration::from_secs(1);
        Self { cost: second / per_second, capacity: second * burst / per_second, full_at: now }
    }

    fn takes(&mut self, many: u32, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + self.cost * many;
        let takes = full_at - now <= self.capacity;
        if takes {
            self.full_at = full_at;
        }
        takes
    }
}
