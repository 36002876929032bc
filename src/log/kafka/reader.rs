//! A client that reads, and the one way to use it: polled, told where to read on, looked after and made anew. Fanout, recorder,
//! control, the inquirers and whoever lists dead letters own one each, on a thread of their own, because it blocks.

use std::{
    fmt,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

use super::{
    events::ClientEvents,
    lifetime::retire,
    metadata,
    polling::{self, WallClock},
    record::Record,
};

/// Reads one topic.
pub(crate) struct Reader<C: ConsumerContext + 'static = ClientEvents> {
    consumer: BaseConsumer<C>,
    /// How the log calls it.
    name: &'static str,
    topic: String,
    clock: WallClock,
}

/// What a poll brought.
pub(crate) enum Polled<'a> {
    /// A record.
    Record(Record<'a>),
    /// Nothing lies behind what was read of this partition, for now.
    End(i32),
    /// The broker has no record at an offset it was asked for. It does not say in which partition.
    OutOfRange(KafkaError),
    /// It must not be read, or is not there.
    Refused(KafkaError),
    /// An error of the client, which its context has told. What matters of it shows in positions and watermarks.
    Error,
}

/// Where to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// At the oldest record there is.
    Beginning,
    /// At this offset.
    Offset(i64),
}

/// What keeps the brokers from telling about a topic.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopicError {
    /// They do not know it.
    #[error("there is no such topic")]
    Missing,
    /// They do not let us.
    #[error("{0}")]
    Forbidden(KafkaError),
    /// They do not answer, or say something else.
    #[error("{0}")]
    Other(KafkaError),
}

impl<C: ConsumerContext + 'static> Reader<C> {
    /// Takes over a client that nobody has polled.
    pub(crate) fn new(name: &'static str, topic: &str, consumer: BaseConsumer<C>) -> Self {
        Self { consumer, name, topic: topic.to_owned(), clock: WallClock::new() }
    }

    /// What the client tells of itself.
    pub(crate) fn context(&self) -> &C {
        self.consumer.context()
    }

    /// For what only some ask.
    pub(super) fn consumer(&self) -> &BaseConsumer<C> {
        &self.consumer
    }

    /// This thread polls from now on.
    pub(crate) fn begin(&mut self) {
        polling::wake_me(&mut self.consumer);
    }

    /// The next thing that comes, within this time.
    pub(crate) fn poll(&self, timeout: Duration) -> Option<Polled<'_>> {
        use RDKafkaErrorCode as Code;
        Some(match polling::poll(&self.consumer, timeout)? {
            Ok(message) => Polled::Record(Record::of(message)),
            Err(KafkaError::PartitionEOF(partition)) => Polled::End(partition),
            Err(error) => match error.rdkafka_error_code() {
                Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset) => Polled::OutOfRange(error),
                Some(
                    Code::TopicAuthorizationFailed
                    | Code::GroupAuthorizationFailed
                    | Code::UnknownTopicOrPartition
                    | Code::UnknownTopic,
                ) => Polled::Refused(error),
                _ => Polled::Error,
            },
        })
    }

    /// Serves what the client has queued, where nothing is read: its log lines and errors.
    pub(crate) fn serve(&self) {
        while self.consumer.poll(Duration::ZERO).is_some() {}
    }

    /// Reads on here, and in no other partition.
    pub(crate) fn assign(&self, places: impl IntoIterator<Item = (i32, From)>) -> KafkaResult<()> {
        self.consumer.assign(&self.list(places)?)
    }

    /// The same, of partitions that may have been paused: they are so no more.
    pub(crate) fn assign_and_resume(&self, places: impl IntoIterator<Item = (i32, From)>) -> KafkaResult<()> {
        let places = self.list(places)?;
        self.consumer.assign(&places)?;
        self.consumer.resume(&places)
    }

    /// Fetches nothing of what is assigned, or goes on.
    pub(crate) fn set_paused(&self, paused: bool) -> KafkaResult<()> {
        let assigned = self.consumer.assignment()?;
        if paused { self.consumer.pause(&assigned) } else { self.consumer.resume(&assigned) }
    }

    /// Tells the group how far it has come. Best effort, for tools that show the lag.
    pub(crate) fn commit(&self, places: impl IntoIterator<Item = (i32, i64)>) {
        let places = places.into_iter().map(|(partition, offset)| (partition, From::Offset(offset)));
        let _ = self.list(places).and_then(|list| self.consumer.commit(&list, CommitMode::Async));
    }

    /// Where it reads on: transaction markers and holes move it without a record.
    pub(crate) fn positions(&self) -> Vec<(i32, i64)> {
        let Ok(positions) = self.consumer.position() else { return Vec::new() };
        let elements = positions.elements();
        let known = elements.iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), offset)),
            _ => None,
        });
        known.collect()
    }

    /// The topic's partitions.
    pub(crate) fn partitions(&self, timeout: Duration) -> Result<Vec<i32>, TopicError> {
        metadata::partitions(&self.consumer, &self.topic, timeout).map_err(|error| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => TopicError::Missing,
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => TopicError::Forbidden(error),
            _ => TopicError::Other(error),
        })
    }

    /// Where a partition begins, and where what may be read of it ends.
    pub(crate) fn watermarks(&self, partition: i32, timeout: Duration) -> KafkaResult<(i64, i64)> {
        self.consumer.fetch_watermarks(&self.topic, partition, timeout)
    }

    /// To be called some times a second, on the thread that polls. Says why the client has to be made anew: its threads sleep for
    /// as long as the wall clock was set back.
    pub(crate) fn look_after(&mut self) -> Option<&'static str> {
        polling::keep_awake(&self.consumer);
        self.clock.was_set_back().then_some("the clock was set back")
    }

    /// Another client takes the place of this one. Whether it does: one that cannot be made is told.
    pub(crate) fn replace(&mut self, why: impl fmt::Display, made: KafkaResult<BaseConsumer<C>>) -> bool {
        tracing::warn!(kafka.client = self.name, "{why}: making a new kafka client");
        match made {
            Ok(consumer) => {
                retire(std::mem::replace(&mut self.consumer, consumer));
                self.begin();
                true
            }
            Err(error) => {
                tracing::error!(kafka.client = self.name, %error, "the kafka client could not be made anew");
                false
            }
        }
    }

    fn list(&self, places: impl IntoIterator<Item = (i32, From)>) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (partition, place) in places {
            let offset = match place {
                From::Beginning => Offset::Beginning,
                From::Offset(offset) => Offset::Offset(offset),
            };
            list.add_partition_offset(&self.topic, partition, offset)?;
        }
        Ok(list)
    }
}

/// Records that are known of and do not come for too long mean a client that is broken.
#[derive(Debug)]
pub(crate) struct Watchdog {
    patience: Duration,
    behind_since: Option<Instant>,
}

impl Watchdog {
    /// Waits for so long.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, behind_since: None }
    }

    /// Something came, or was asked for anew.
    pub(crate) fn reset(&mut self) {
        self.behind_since = None;
    }

    /// Whether records have been known of for too long.
    pub(crate) fn barks(&mut self, behind: bool, now: Instant) -> bool {
        if !behind {
            self.behind_since = None;
        }
        behind && now.saturating_duration_since(*self.behind_since.get_or_insert(now)) >= self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_barks_when_records_have_been_known_of_for_too_long_and_not_before() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut watchdog = Watchdog::new(5 * second);
        assert!(!watchdog.barks(true, start) && !watchdog.barks(true, start + 4 * second));
        assert!(watchdog.barks(true, start + 5 * second));
        watchdog.reset();
        assert!(!watchdog.barks(true, start + 6 * second));
        assert!(!watchdog.barks(false, start + 10 * second), "they have come");
        assert!(!watchdog.barks(true, start + 12 * second) && watchdog.barks(true, start + 17 * second));
    }
}
