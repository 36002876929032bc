//! What happens when the group gives partitions and takes them back. Called by the client within a poll, on the
//! recorder's thread; waits for no SQL.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientContext, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    types::RDKafkaRespErr,
    util::Timeout,
};

use super::{assignment::Assignment, hand::Hand};
use crate::log::kafka::events::ClientEvents;

/// How long partitions are held on to while the writer finishes what is in its hand.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(1);

/// Context of the recorder's consumer.
pub(super) struct Rebalancing {
    events: ClientEvents,
    assignment: Mutex<Assignment>,
    hand: Arc<Hand>,
    /// Another consumer has taken the place of this one.
    retired: AtomicBool,
}

impl Rebalancing {
    pub(super) fn new(events: ClientEvents, assignment: Assignment, hand: Arc<Hand>) -> Self {
        Self { events, assignment: Mutex::new(assignment), hand, retired: AtomicBool::new(false) }
    }

    /// Gives everything up for a consumer that takes the place of this one. Returns the highest number that is void.
    pub(super) fn retire(&self) -> u64 {
        self.retired.store(true, Ordering::Relaxed);
        self.assignment().on_revoked()
    }

    /// The assigned partitions. Never held across a poll, which may rebalance.
    pub(super) fn assignment(&self) -> MutexGuard<'_, Assignment> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConsumerContext for Rebalancing {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.retired.load(Ordering::Relaxed) {
            // What it says now is no news, and its numbers are another's.
            let _ = consumer.unassign();
            return;
        }
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let result = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            tracing::info!(kafka.partitions = ?partitions, "recorder was given partitions");
            self.assignment().on_assigned(partitions);
            // Nothing is fetched until it is known from where: they are assigned once progress has been read.
            consumer.assign(&TopicPartitionList::new())
        } else {
            tracing::info!(kafka.partitions = ?partitions, "recorder gives partitions back");
            let void = self.assignment().on_revoked();
            self.hand.void(void);
            self.hand.wait_until_empty(HAND_OVER_TIMEOUT);
            consumer.unassign()
        };
        if let Err(error) = result {
            tracing::error!(%error, "the recorder's client does not follow the group");
        }
    }

    fn main_queue_min_poll_interval(&self) -> Timeout {
        self.events.main_queue_min_poll_interval()
    }
}

impl ClientContext for Rebalancing {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.events.log(level, facility, message);
    }

    fn stats(&self, _: Statistics) {}

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.events.error(error, reason);
    }
}
