//! Polls a consumer by a clock that only moves forward.
//!
//! librdkafka waits for moments of the wall clock. Set that back by an hour, and a poll of 50 ms returns an hour later,
//! unless something comes; its own thread, which sends the group's heartbeats, sleeps as long. So nothing here waits
//! inside of it, and where the clock [was set back](WallClock) far, its threads are left to sleep and others take their
//! place. `faults::clocks` in the integration tests sets clocks back.

use std::{
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaResult,
    message::BorrowedMessage,
};

use crate::domain::Timestamp;

/// The longest sleep: whoever polls is asked for other things, too.
const NAP: Duration = Duration::from_millis(250);
/// Polls before a sleep. Each takes one event of the client, and only the first to come wakes the thread; those that are no
/// record hide what lies behind them.
const POLLS: usize = 4;

/// How far the wall clock may be set back before clients are made anew. What sleeps so long too long does no harm.
const HARMLESS: Duration = Duration::from_secs(5);

/// The wall clock, looked at now and then beside the one that only moves forward.
pub(crate) struct WallClock {
    shown: Timestamp,
    at: Instant,
}

impl WallClock {
    pub(crate) fn new() -> Self {
        Self { shown: Timestamp::now(), at: Instant::now() }
    }

    /// Whether it was set back far since the last look, so that whatever waits by it waits for too long.
    pub(crate) fn was_set_back(&mut self) -> bool {
        let before = std::mem::replace(self, Self::new());
        let passed = self.at.saturating_duration_since(before.at).as_millis();
        let shown = i128::from(self.shown.as_millis()) - i128::from(before.shown.as_millis());
        passed.cast_signed() - shown > HARMLESS.as_millis().cast_signed()
    }
}

/// Lets this thread, which polls the consumer from now on, be woken by what comes.
pub(crate) fn wake_me<C: ConsumerContext + 'static>(consumer: &mut BaseConsumer<C>) {
    let me = thread::current();
    consumer.set_nonempty_callback(move || me.unpark());
}

/// The next record or error; `None` if none came in time, or if the thread was woken for something else.
pub(crate) fn poll<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    timeout: Duration,
) -> Option<KafkaResult<BorrowedMessage<'_>>> {
    let polled = consumer.poll(Duration::ZERO);
    // Most polls end here.
    if polled.is_some() || timeout.is_zero() {
        return polled;
    }
    if let Some(polled) = poll_on(consumer) {
        return Some(polled);
    }
    thread::park_timeout(timeout.min(NAP));
    poll_on(consumer)
}

/// Polls, a few times over.
fn poll_on<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<KafkaResult<BorrowedMessage<'_>>> {
    (0..POLLS).find_map(|_| consumer.poll(Duration::ZERO))
}

/// Wakes the client's own thread, which then sees what is due. To be called some times a second.
pub(crate) fn keep_awake<C: ConsumerContext>(consumer: &BaseConsumer<C>) {
    // It has to be asked; the answer is of no use.
    let _ = consumer.assignment();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_far_is_noticed_once() {
        let shown = |ahead| Timestamp::from_millis(Timestamp::now().as_millis() + ahead).expect("is in range");
        for (ahead, noticed) in [(3_600_000, true), (2_000, false), (0, false), (-3_600_000, false)] {
            let mut clock = WallClock { shown: shown(ahead), at: Instant::now() };
            assert_eq!(clock.was_set_back(), noticed, "{ahead} ms");
            assert!(!clock.was_set_back());
        }
    }
}
