//! Produces many records without waiting for each: what `ordercast load` sends.

use std::time::Duration;

use rdkafka::{
    ClientContext, Statistics,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext},
};

use super::{
    KafkaClients,
    events::ClientEvents,
    lifetime::{create, retire},
};

/// What becomes of a record: its stamp, and why it is not in the log if it is not.
type OnOutcome = Box<dyn Fn(u64, Option<String>) + Send + Sync>;

/// A producer that is polled by whoever sends; it has no thread of its own beside librdkafka's.
pub struct BulkProducer(Option<BaseProducer<Outcomes>>);

/// The producer's own queue is full; after a poll it may take more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

struct Outcomes {
    events: ClientEvents,
    on_outcome: OnOutcome,
}

impl BulkProducer {
    /// Makes a producer. `on_outcome` is called for each record from within [`Self::poll`] and [`Self::flush`].
    pub fn new(
        clients: &KafkaClients,
        on_outcome: impl Fn(u64, Option<String>) + Send + Sync + 'static,
    ) -> Result<Self, KafkaError> {
        let context = Outcomes { events: clients.events("producer"), on_outcome: Box::new(on_outcome) };
        Ok(Self(Some(create(&clients.bulk_producer(), context)?)))
    }

    /// Queues a record; its `stamp` comes back with its outcome. What cannot be queued for another reason than a full queue
    /// has its outcome at once.
    pub fn send(&self, topic: &str, key: &[u8], value: Option<&[u8]>, stamp: u64) -> Result<(), QueueFull> {
        let opaque = usize::try_from(stamp).unwrap_or(usize::MAX);
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, opaque).key(key);
        record.payload = value;
        match self.get().send(record) {
            Ok(()) => Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Err(QueueFull),
            Err((error, _)) => {
                (self.get().context().on_outcome)(stamp, Some(error.to_string()));
                Ok(())
            }
        }
    }

    /// Takes outcomes for so long, in whole milliseconds; zero takes what there is.
    pub fn poll(&self, timeout: Duration) {
        self.get().poll(timeout);
    }

    /// Waits until every record has its outcome; says whether it has within `timeout`.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.get().flush(timeout).is_ok()
    }

    fn get(&self) -> &BaseProducer<Outcomes> {
        self.0.as_ref().expect("it is taken out only when this is dropped")
    }
}

impl Drop for BulkProducer {
    fn drop(&mut self) {
        if let Some(producer) = self.0.take() {
            retire(producer);
        }
    }
}

impl ProducerContext<NoCustomPartitioner> for Outcomes {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, stamp: usize) {
        (self.on_outcome)(stamp as u64, result.as_ref().err().map(|(error, _)| error.to_string()));
    }
}

impl ClientContext for Outcomes {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.events.log(level, facility, message);
    }

    fn stats(&self, _: Statistics) {}

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.events.error(error, reason);
    }
}
