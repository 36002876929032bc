//! Produces records: what `ordercast publish` and the demo send, and dead letters.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer as _},
};

use super::{
    KafkaClients,
    events::ClientEvents,
    lifetime::{create, retire},
    rights::{MissingRight, Right},
};

/// A client that nobody has used for this long is given back: one that waits wakes ten times a second, and spins.
const IDLE_LIFE: Duration = Duration::from_secs(60);

/// A producer. A record it has delivered is in the log on as many brokers as the topic asks for. Has a client only while it is
/// in use.
pub struct Producer {
    lent: Arc<Mutex<Lent>>,
    config: ClientConfig,
    clients: KafkaClients,
}

/// The client in use.
#[derive(Default)]
struct Lent {
    client: Option<Arc<Client>>,
    used_at: Option<Instant>,
}

/// librdkafka's producer, which is closed on a thread of its own, whoever is the last to have it.
struct Client(Option<FutureProducer<ClientEvents>>);

impl Client {
    fn new(config: &ClientConfig, clients: &KafkaClients) -> KafkaResult<Arc<Self>> {
        Ok(Arc::new(Self(Some(create(config, clients.events("producer"))?))))
    }

    fn get(&self) -> &FutureProducer<ClientEvents> {
        self.0.as_ref().expect("it is taken out only when this is dropped")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(producer) = self.0.take() {
            retire(producer);
        }
    }
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
    /// Who produces may not.
    #[error("the record was not delivered: {0}")]
    Forbidden(MissingRight),
    /// No broker answers.
    #[error("the record was not delivered: {0}")]
    NoAnswer(String),
    /// Anything else.
    #[error("the record was not delivered: {0}")]
    Failed(KafkaError),
}

impl Producer {
    /// Makes a producer that gives up on a record after `delivery_timeout`. Connects when the first one is sent.
    pub fn new(clients: &KafkaClients, delivery_timeout: Duration) -> Self {
        let mut config = clients.producer();
        config.set("message.timeout.ms", delivery_timeout.as_millis().to_string());
        Self { lent: Arc::default(), config, clients: clients.clone() }
    }

    /// Produces a record and waits until it is delivered.
    pub async fn produce(&self, topic: &str, record: &Outgoing<'_>) -> Result<Delivered, ProduceError> {
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
            headers.insert(Header { key: name, value: Some(*value) })
        });
        self.send_to(topic, record.partition, None, record.key, record.value, Some(headers)).await
    }

    /// The same with headers in rdkafka's own form, which keeps every byte.
    pub(crate) async fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Option<OwnedHeaders>,
    ) -> Result<Delivered, ProduceError> {
        self.send_to(topic, None, None, key, value, headers).await
    }

    /// The same to a partition, with a timestamp; `None` leaves it to the key and to the clock.
    pub(crate) async fn send_to(
        &self,
        topic: &str,
        partition: Option<i32>,
        timestamp: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Option<OwnedHeaders>,
    ) -> Result<Delivered, ProduceError> {
        let record = FutureRecord { topic, partition, payload: value, key, timestamp, headers };
        let client = self.client().map_err(ProduceError::Failed)?;
        match client.get().send(record, Duration::ZERO).await {
            Ok(delivery) => Ok(Delivered { partition: delivery.partition, offset: delivery.offset }),
            Err((error, _)) => {
                let fatal = client.get().client().fatal_error().map(|(code, _)| KafkaError::MessageProduction(code));
                if fatal.is_some() {
                    self.give_up(&client);
                }
                let is_consequence = error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal);
                Err(self.refusal(topic, fatal.filter(|_| is_consequence).unwrap_or(error)))
            }
        }
    }

    /// The client; a new one, where there is none.
    fn client(&self) -> KafkaResult<Arc<Client>> {
        let mut lent = lock(&self.lent);
        lent.used_at = Some(Instant::now());
        if let Some(client) = &lent.client {
            return Ok(client.clone());
        }
        let client = Client::new(&self.config, &self.clients)?;
        lent.client = Some(client.clone());
        tokio::spawn(give_back(Arc::downgrade(&self.lent), IDLE_LIFE));
        Ok(client)
    }

    /// A client that has met a fatal error (no right to write anywhere is one) sends nothing any more, whatever is granted:
    /// another takes its place when it is needed.
    fn give_up(&self, broken: &Arc<Client>) {
        let mut lent = lock(&self.lent);
        lent.client.take_if(|client| Arc::ptr_eq(client, broken));
    }

    fn refusal(&self, topic: &str, error: KafkaError) -> ProduceError {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge) => {
                ProduceError::TooLarge
            }
            Some(Code::TopicAuthorizationFailed) => {
                ProduceError::Forbidden(self.clients.rights().on_topic(Right::Write, topic))
            }
            Some(Code::ClusterAuthorizationFailed) => {
                let missing = self.clients.rights().of_error("producer", Code::ClusterAuthorizationFailed);
                missing.map_or(ProduceError::Failed(error), ProduceError::Forbidden)
            }
            // While brokers answer, it is about the topic or its leader.
            Some(Code::MessageTimedOut) if self.clients.reach().is_silent() => {
                ProduceError::NoAnswer(self.clients.why_silent())
            }
            _ => ProduceError::Failed(error),
        }
    }
}

fn lock(lent: &Mutex<Lent>) -> MutexGuard<'_, Lent> {
    lent.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the client back once it was not used for so long. Who is still using it keeps it for as long as that takes.
async fn give_back(lent: Weak<Mutex<Lent>>, idle_life: Duration) {
    loop {
        tokio::time::sleep(idle_life).await;
        let Some(lent) = lent.upgrade() else { return };
        let mut lent = lock(&lent);
        if lent.used_at.is_none_or(|used_at| used_at.elapsed() >= idle_life) {
            lent.client = None;
            return;
        }
    }
}

impl ProduceError {
    /// Whether the topic does not have the partition that was named.
    pub(crate) fn is_about_partition(&self) -> bool {
        matches!(self, Self::Failed(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition))
    }

    /// Whether the record certainly is not in the log. Otherwise nobody knows.
    pub fn is_refusal(&self) -> bool {
        use RDKafkaErrorCode as Code;
        let error = match self {
            Self::TooLarge | Self::Forbidden(_) => return true,
            Self::NoAnswer(_) => return false,
            Self::Failed(error) => error,
        };
        matches!(
            error.rdkafka_error_code(),
            Some(
                Code::UnknownPartition
                    | Code::UnknownTopic
                    | Code::UnknownTopicOrPartition
                    | Code::InvalidTimestamp
                    | Code::InvalidRecord
                    | Code::InvalidMessage
                    | Code::PolicyViolation
            )
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{self, Sources, variable},
        log::kafka::embedded::EmbeddedBroker,
    };

    fn clients_of(broker: &EmbeddedBroker) -> KafkaClients {
        let environment = [(variable("kafka.brokers"), broker.brokers().join(","))].into();
        let settings = config::load(&Sources { environment, ..Sources::default() }, &[]).unwrap();
        KafkaClients::new(&settings.kafka).unwrap()
    }

    #[tokio::test]
    async fn a_producer_has_a_client_only_while_it_is_in_use() {
        let broker = EmbeddedBroker::start("orders", "dead", "control").unwrap();
        let producer = Producer::new(&clients_of(&broker), Duration::from_secs(60));
        let lent = Arc::downgrade(&producer.lent);
        let is_lent = || lock(&producer.lent).client.is_some();
        assert!(!is_lent());
        for offset in 0..3 {
            let record = Outgoing { value: Some(b"x"), partition: Some(0), ..Outgoing::default() };
            assert_eq!(producer.produce("orders", &record).await, Ok(Delivered { partition: 0, offset }));
            assert!(is_lent());
            // Who uses it has it for as long as that takes.
            let in_use = producer.client().unwrap();
            give_back(lent.clone(), Duration::ZERO).await;
            assert!(!is_lent() && in_use.get().client().fatal_error().is_none());
        }
    }
}
