//! What happens when a group gives partitions and takes them back. Called by the client within a poll, on the thread that polls.

use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::{
    ClientContext, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    types::RDKafkaRespErr,
    util::Timeout,
};

use super::events::ClientEvents;

/// Hears what the group decides.
pub(crate) trait Rebalance: Send + Sync + 'static {
    /// These are ours now. Nothing is fetched of them before they are assigned.
    fn on_given(&self, partitions: Vec<i32>);

    /// All are taken back. The group waits for as long as this takes.
    fn on_taken_back(&self, partitions: Vec<i32>);
}

/// The context of a client that is in a group.
pub(crate) struct GroupEvents<R> {
    events: ClientEvents,
    rebalance: R,
    /// Another client has taken the place of this one.
    retired: AtomicBool,
}

impl<R: Rebalance> GroupEvents<R> {
    pub(crate) fn new(events: ClientEvents, rebalance: R) -> Self {
        Self { events, rebalance, retired: AtomicBool::new(false) }
    }

    /// Whoever hears what the group decides.
    pub(crate) fn rebalance(&self) -> &R {
        &self.rebalance
    }

    /// Another client takes the place of this one: what its group says now is no news.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }
}

impl<R: Rebalance> ConsumerContext for GroupEvents<R> {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.retired.load(Ordering::Relaxed) {
            let _ = consumer.unassign();
            return;
        }
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let result = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.rebalance.on_given(partitions);
            // Nothing is fetched until it is known from where.
            consumer.assign(&TopicPartitionList::new())
        } else {
            self.rebalance.on_taken_back(partitions);
            consumer.unassign()
        };
        if let Err(error) = result {
            tracing::error!(%error, "the kafka client does not follow its group");
        }
    }

    fn main_queue_min_poll_interval(&self) -> Timeout {
        self.events.main_queue_min_poll_interval()
    }
}

impl<R: Rebalance> ClientContext for GroupEvents<R> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.events.log(level, facility, message);
    }

    fn stats(&self, _: Statistics) {}

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.events.error(error, reason);
    }
}
