//! What tells a stalled reader from a lost connection.

use std::time::{Duration, Instant};

use crate::protocol::CloseCause;

/// How far a client is with what it is sent.
#[derive(Debug)]
pub(super) struct SendProgress {
    send_timeout: Duration,
    /// Bytes were handed over. Since then the client has given no sign of having them.
    unanswered_since: Option<Instant>,
}

impl SendProgress {
    /// Nothing was handed over. `send_timeout` is the one after which the kernel ends a connection without progress.
    pub(super) fn new(send_timeout: Duration) -> Self {
        Self { send_timeout, unanswered_since: None }
    }

    /// Bytes are handed over.
    pub(super) fn on_handed_over(&mut self, now: Instant) {
        self.unanswered_since.get_or_insert(now);
    }

    /// The client has taken some of them, and not all.
    pub(super) fn on_part_taken(&mut self, now: Instant) {
        self.unanswered_since = Some(now);
    }

    /// The client has them.
    pub(super) fn on_taken(&mut self) {
        self.unanswered_since = None;
    }

    /// The connection broke off. Was it because the client took nothing? The kernel measures on a coarser clock of its own.
    pub(super) fn cause_of_loss(&self, now: Instant) -> CloseCause {
        let stalled =
            self.unanswered_since.is_some_and(|since| now.duration_since(since) >= self.send_timeout.mul_f32(0.75));
        if stalled { CloseCause::SlowConsumer } else { CloseCause::ConnectionLost }
    }
}
