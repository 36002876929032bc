//! Polls a consumer by a clock that only moves forward.
//!
//! librdkafka waits for moments of the wall clock. Set that back by an hour, and a poll of 50 ms returns an hour later,
//! unless something comes; its own thread, which sends the group's heartbeats, sleeps as long. So nothing here waits
//! inside of it. `faults::clocks` in the integration tests sets clocks back.

use std::{
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaResult,
    message::BorrowedMessage,
};

/// The longest sleep: an event of the client that is no record may hide the next one's arrival.
const NAP: Duration = Duration::from_millis(10);

/// Lets this thread, which polls the consumer from now on, be woken by what comes.
pub(super) fn wake_me<C: ConsumerContext + 'static>(consumer: &mut BaseConsumer<C>) {
    let me = thread::current();
    consumer.set_nonempty_callback(move || me.unpark());
}

/// The next record or error; `None` if none came in time.
pub(super) fn poll<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    timeout: Duration,
) -> Option<KafkaResult<BorrowedMessage<'_>>> {
    let mut until = None;
    loop {
        let polled = consumer.poll(Duration::ZERO);
        // Most polls end here, without a look at the clock.
        if polled.is_some() || timeout.is_zero() {
            return polled;
        }
        let now = Instant::now();
        let left = until.get_or_insert(now + timeout).saturating_duration_since(now);
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left.min(NAP));
    }
}

/// Wakes the client's own thread, which then sees what is due. To be called some times a second.
pub(super) fn keep_awake<C: ConsumerContext>(consumer: &BaseConsumer<C>) {
    // It has to be asked; the answer is of no use.
    let _ = consumer.assignment();
}
