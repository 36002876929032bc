//! Heartbeats out, signs of life in.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Keepalive {
    interval: Duration,
    next_heartbeat: Instant,
    last_sign: Instant,
}

impl Keepalive {
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, next_heartbeat: now + interval, last_sign: now }
    }

    /// Any frame of the client, a Pong too.
    pub(super) fn on_sign_of_life(&mut self, now: Instant) {
        self.last_sign = now;
    }

    /// Whether a heartbeat is to be sent now; the next one is due an interval later.
    pub(super) fn heartbeat_due(&mut self, now: Instant) -> bool {
        let due = now >= self.next_heartbeat;
        if due {
            self.next_heartbeat = now + self.interval;
        }
        due
    }

    /// Whether the client has been silent for two heartbeats.
    pub(super) fn is_dead(&self, now: Instant) -> bool {
        now >= self.dead_at()
    }

    pub(super) fn deadline(&self) -> Instant {
        self.next_heartbeat.min(self.dead_at())
    }

    fn dead_at(&self) -> Instant {
        // A little more than two, so that the answer to the second heartbeat has time to arrive.
        self.last_sign + self.interval * 2 + self.interval / 5
    }
}
