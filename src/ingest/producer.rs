//! Produces records: what `ordercast publish` and the demo send, and dead letters.

use std::time::Duration;

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};

use super::{
    client::{KafkaClients, create, retire},
    events::ClientEvents,
};

/// A producer. A record it has delivered is in the log on as many brokers as the topic asks for.
pub struct Producer {
    inner: Option<FutureProducer<ClientEvents>>,
}

/// A record to produce.
#[derive(Debug, Default)]
pub struct Outgoing<'a> {
    /// The key; decides the partition, unless that is named.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Names and values.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The partition; `None` leaves it to the key.
    pub partition: Option<i32>,
}

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The partition.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
}

/// A record was not produced, or nobody knows whether it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    /// The broker or the client does not take a record of this size.
    #[error("the record is larger than the topic takes")]
    TooLarge,
    /// Anything else, no answer in time included.
    #[error("the record was not delivered: {0}")]
    Failed(KafkaError),
}

impl Producer {
    /// Makes a producer that gives up on a record after `delivery_timeout`. Connects later.
    pub fn new(clients: &KafkaClients, delivery_timeout: Duration) -> Result<Self, KafkaError> {
        let mut config = clients.producer();
        config.set("message.timeout.ms", delivery_timeout.as_millis().to_string());
        Ok(Self { inner: Some(create(&config, clients.events("producer"))?) })
    }

    /// Produces a record and waits until it is delivered.
    pub async fn produce(&self, topic: &str, record: &Outgoing<'_>) -> Result<Delivered, ProduceError> {
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
            headers.insert(Header { key: name, value: Some(*value) })
        });
        self.send_to(topic, record.partition, None, record.key, record.value, Some(headers)).await
    }

    /// The same with headers in rdkafka's own form, which keeps every byte.
    pub(super) async fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Option<OwnedHeaders>,
    ) -> Result<Delivered, ProduceError> {
        self.send_to(topic, None, None, key, value, headers).await
    }

    /// The same to a partition, with a timestamp; `None` leaves it to the key and to the clock.
    pub(super) async fn send_to(
        &self,
        topic: &str,
        partition: Option<i32>,
        timestamp: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Option<OwnedHeaders>,
    ) -> Result<Delivered, ProduceError> {
        let record = FutureRecord { topic, partition, payload: value, key, timestamp, headers };
        let inner = self.inner.as_ref().expect("it is taken out only when this is dropped");
        match inner.send(record, Duration::ZERO).await {
            Ok(delivery) => Ok(Delivered { partition: delivery.partition, offset: delivery.offset }),
            Err((error, _)) => Err(error.into()),
        }
    }
}

impl ProduceError {
    /// Whether the record certainly is not in the log. Otherwise nobody knows.
    pub fn is_refusal(&self) -> bool {
        use RDKafkaErrorCode as Code;
        let Self::Failed(error) = self else { return true };
        matches!(
            error.rdkafka_error_code(),
            Some(
                Code::UnknownPartition
                    | Code::UnknownTopic
                    | Code::UnknownTopicOrPartition
                    | Code::TopicAuthorizationFailed
                    | Code::ClusterAuthorizationFailed
                    | Code::InvalidTimestamp
                    | Code::InvalidRecord
                    | Code::InvalidMessage
                    | Code::PolicyViolation
            )
        )
    }
}

impl From<KafkaError> for ProduceError {
    fn from(error: KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::MessageBatchTooLarge,
            ) => Self::TooLarge,
            _ => Self::Failed(error),
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if let Some(producer) = self.inner.take() {
            retire(producer);
        }
    }
}
