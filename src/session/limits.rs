//! How much a client may say, how much of it may be wrong, and how many snapshots it may ask for.

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
/// What one request for a snapshot is charged before its answer is known. Less than a second, so that a client that asks once
/// a second is never refused, even if its clock is fast.
const SNAPSHOT_COST: Duration = Duration::from_millis(800);
/// Such requests at once.
const SNAPSHOT_BURST: u32 = 5;
/// What a second of that pays for. A smaller answer costs less than it was charged.
const SNAPSHOT_BYTES_PER_SECOND: usize = 256 * 1024;
/// What an order costs that a request names: it is read, even if the answer has nothing to say of it.
const NAMED_ORDER_BYTES: usize = 512;

#[derive(Debug)]
pub(super) struct ClientLimits {
    messages: Bucket,
    bytes: Bucket,
    errors: VecDeque<Instant>,
    snapshots: SnapshotBudget,
}

impl ClientLimits {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            messages: Bucket::new(Duration::from_secs(1) / MESSAGES_PER_SECOND, MESSAGE_BURST, now),
            bytes: Bucket::new(Duration::from_secs(1) / BYTES_PER_SECOND, BYTE_BURST, now),
            errors: VecDeque::new(),
            snapshots: SnapshotBudget::new(now),
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

    /// Takes a request that is answered by a snapshot and names so many orders; `false` if it is one too many.
    pub(super) fn admits_snapshot(&mut self, named: usize, now: Instant) -> bool {
        self.snapshots.admits(named, now)
    }

    /// A snapshot of so many bytes goes out: it answers what was asked before.
    pub(super) fn snapshot_answered(&mut self, bytes: usize) {
        self.snapshots.answered(bytes);
    }
}

/// What snapshots a client may ask for. A request of a few bytes can cost as much as all the viewer's orders, so each is charged
/// as a large one; when the answer is there, it is seen what it has cost.
#[derive(Debug)]
struct SnapshotBudget {
    bucket: Bucket,
    /// Charged for requests whose answer has not come, and what these have named.
    unanswered: Duration,
    named: usize,
}

impl SnapshotBudget {
    fn new(now: Instant) -> Self {
        Self { bucket: Bucket::new(SNAPSHOT_COST, SNAPSHOT_BURST, now), unanswered: Duration::ZERO, named: 0 }
    }

    fn admits(&mut self, named: usize, now: Instant) -> bool {
        let admits = self.bucket.takes(1, now);
        if admits {
            self.unanswered += SNAPSHOT_COST;
            self.named += named;
        }
        admits
    }

    fn answered(&mut self, bytes: usize) {
        let (charged, named) = (std::mem::take(&mut self.unanswered), std::mem::take(&mut self.named));
        let bytes = bytes + named * NAMED_ORDER_BYTES;
        let cost = Duration::from_secs_f64(bytes as f64 / SNAPSHOT_BYTES_PER_SECOND as f64);
        self.bucket.gives_back(charged.saturating_sub(cost));
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
    fn new(cost: Duration, burst: u32, now: Instant) -> Self {
        Self { cost, capacity: cost * burst, full_at: now }
    }

    fn takes(&mut self, many: u32, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + self.cost * many;
        let takes = full_at - now <= self.capacity;
        if takes {
            self.full_at = full_at;
        }
        takes
    }

    fn gives_back(&mut self, time: Duration) {
        self.full_at = self.full_at.checked_sub(time).unwrap_or(self.full_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LARGE: usize = 20 * 1024 * 1024;

    #[test]
    fn who_asks_for_large_snapshots_once_a_second_is_never_refused() {
        let start = Instant::now();
        let mut limits = ClientLimits::new(start);
        // By a clock that is a fifth too fast.
        for asked in 0..10_000 {
            assert!(limits.admits_snapshot(0, start + SECOND * asked * 5 / 6), "{asked}");
            limits.snapshot_answered(LARGE);
        }
    }

    #[test]
    fn of_large_snapshots_there_are_five_at_once_and_one_every_800_ms_after_that() {
        let start = Instant::now();
        let mut limits = ClientLimits::new(start);
        let mut answered = 0;
        for asked in 0..1_000 {
            if limits.admits_snapshot(0, start + SECOND * asked / 20) {
                limits.snapshot_answered(LARGE);
                answered += 1;
            }
        }
        assert_eq!(answered, 5 + 50_000 / 800);
    }

    #[test]
    fn who_was_quiet_for_long_has_saved_nothing_up() {
        let start = Instant::now();
        for quiet in [0, 1, 3_600] {
            let now = start + SECOND * quiet;
            let mut limits = ClientLimits::new(start);
            assert_eq!((0..1_000).filter(|_| limits.admits_message(1, now)).count(), 60, "{quiet}");
            let mut limits = ClientLimits::new(start);
            assert_eq!((0..50).filter(|_| limits.admits_message(32 * 1024, now)).count(), 8, "{quiet}");
            let mut limits = ClientLimits::new(start);
            assert!(limits.admits_snapshot(0, start));
            limits.snapshot_answered(0);
            limits.snapshot_answered(0);
            assert_eq!((0..50).filter(|_| limits.admits_snapshot(0, now)).count(), 5, "{quiet}");
        }
    }

    #[test]
    fn small_snapshots_may_be_asked_for_as_often_as_messages_may_come() {
        let start = Instant::now();
        let mut limits = ClientLimits::new(start);
        for asked in 0..1_000 {
            assert!(limits.admits_snapshot(10, start + SECOND * asked / 20), "{asked}");
            limits.snapshot_answered(5_000);
        }
    }

    #[test]
    fn what_is_asked_and_never_answered_is_charged_and_what_is_named_counts() {
        let start = Instant::now();
        let mut limits = ClientLimits::new(start);
        let admitted = (0..20).filter(|_| limits.admits_snapshot(0, start)).count();
        assert_eq!(admitted, 5, "each takes the place of the one before, which has been read for nothing");
        limits.snapshot_answered(5_000);
        assert!(limits.admits_snapshot(0, start), "they were small");
        let mut limits = ClientLimits::new(start);
        for _ in 0..5 {
            assert!(limits.admits_snapshot(2_000, start));
            limits.snapshot_answered(0);
        }
        assert!(!limits.admits_snapshot(2_000, start), "two thousand orders have been read each time");
    }

    #[test]
    fn messages_and_bytes_come_back_with_time_and_no_faster() {
        let start = Instant::now();
        let mut limits = ClientLimits::new(start);
        assert!((0..60).all(|_| limits.admits_message(0, start)));
        for second in 1..=100 {
            let now = start + SECOND * second;
            assert_eq!((0..50).filter(|_| limits.admits_message(0, now)).count(), 20, "{second}");
        }
        let mut limits = ClientLimits::new(start);
        assert!((0..16).all(|_| limits.admits_message(16 * 1024, start)));
        for second in 1..=100 {
            let now = start + SECOND * second;
            assert_eq!((0..50).filter(|_| limits.admits_message(16 * 1024, now)).count(), 4, "{second}");
        }
    }
}
