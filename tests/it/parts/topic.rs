//! A topic as a test sees it: made, grown, written to and read, on any broker.

use futures_util::future::join_all;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::PATIENCE;

/// A handle to a topic; the topic itself stays until it is deleted or the broker goes.
pub struct Topic {
    bootstrap: String,
    name: String,
}

/// A record to be written. What is not said is left to Kafka: the partition by the key's hash, the timestamp by the clock.
#[derive(Clone, Debug, Default)]
pub struct Record {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    partition: Option<i32>,
    timestamp: Option<i64>,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Topic {
    /// Makes a topic of a name that no other test uses.
    pub async fn create(bootstrap: &str, partitions: i32) -> Self {
        let name = format!("test-{}", ulid::Ulid::generate());
        Self::create_named(bootstrap, &name, partitions, &[]).await
    }

    /// Makes a topic with a name and settings of its own.
    pub async fn create_named(bootstrap: &str, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Self {
        Self::make(bootstrap, name, partitions, TopicReplication::Fixed(-1), settings).await
    }

    /// Makes a topic of which each partition is on one broker only.
    pub async fn create_unreplicated(bootstrap: &str, partitions: i32) -> Self {
        let name = format!("test-{}", ulid::Ulid::generate());
        Self::make(bootstrap, &name, partitions, TopicReplication::Fixed(1), &[]).await
    }

    /// Records stay however old they say they are: otherwise those dated back by a test would fall to the broker's seven
    /// days, for which it looks every five minutes.
    async fn make(
        bootstrap: &str,
        name: &str,
        partitions: i32,
        replication: TopicReplication<'_>,
        settings: &[(&str, &str)],
    ) -> Self {
        let topic = Self::existing(bootstrap, name);
        let wanted = NewTopic::new(name, partitions, replication).set("retention.ms", "-1");
        let wanted = settings.iter().fold(wanted, |topic, (key, value)| topic.set(key, value));
        let made = topic.admin().create_topics([&wanted], &patient()).await.expect("Kafka answers");
        made.into_iter().for_each(|made| drop(made.expect("the topic is made")));
        topic
    }

    /// A topic that somebody else made, such as the dead-letter topic.
    pub fn existing(bootstrap: &str, name: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned(), name: name.to_owned() }
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Raises the number of partitions to `total`.
    pub async fn grow_to(&self, total: usize) {
        let grown = self.admin().create_partitions([&NewPartitions::new(&self.name, total)], &patient()).await;
        grown.expect("Kafka answers").into_iter().for_each(|grown| drop(grown.expect("the topic grows")));
    }

    /// Deletes the records of `partition` below `offset`, as retention does.
    pub async fn expire_below(&self, partition: i32, offset: i64) {
        let mut below = TopicPartitionList::new();
        below.add_partition_offset(&self.name, partition, Offset::Offset(offset)).expect("a valid offset");
        self.admin().delete_records(&below, &patient()).await.expect("the records are deleted");
    }

    /// Deletes the topic.
    pub async fn delete(&self) {
        let deleted = self.admin().delete_topics(&[&self.name], &patient()).await.expect("Kafka answers");
        deleted.into_iter().for_each(|deleted| drop(deleted.expect("the topic is deleted")));
    }

    /// Whether the broker knows the topic.
    pub async fn exists(&self) -> bool {
        let (name, reader) = (self.name.clone(), self.client());
        blocking(move || {
            let reader: BaseConsumer = reader.create().expect("a consumer");
            let metadata = reader.fetch_metadata(None, PATIENCE).expect("Kafka answers");
            metadata.topics().iter().any(|topic| topic.name() == name)
        })
        .await
    }

    /// Writes one record; answers its partition and offset.
    pub async fn produce(&self, record: Record) -> (i32, i64) {
        self.produce_all(&[record]).await[0]
    }

    /// Writes the records in their order; answers each one's partition and offset.
    pub async fn produce_all(&self, records: &[Record]) -> Vec<(i32, i64)> {
        let producer: FutureProducer = self.client().set("enable.idempotence", "true").create().expect("a producer");
        self.send(&producer, records).await
    }

    /// Writes the records in one transaction and commits it.
    pub async fn commit(&self, records: &[Record]) {
        commit(self.begin(records).await).await;
    }

    /// Writes the records in one transaction and aborts it: they are in the log, and nobody may read them.
    pub async fn abort(&self, records: &[Record]) {
        abort(self.begin(records).await).await;
    }

    /// Writes the records in a transaction that stays open until it is ended ([`commit`], [`abort`]), or the producer is dropped and the
    /// broker loses patience, which is not before a test does.
    pub async fn begin(&self, records: &[Record]) -> FutureProducer {
        let mut producer = self.client();
        producer.set("transactional.id", ulid::Ulid::generate().to_string()).set("transaction.timeout.ms", "600000");
        let producer: FutureProducer = producer.create().expect("a producer");
        let producer = blocking(move || {
            producer.init_transactions(PATIENCE).expect("a transactional producer");
            producer.begin_transaction().expect("a transaction");
            producer
        })
        .await;
        self.send(&producer, records).await;
        producer
    }

    /// The partition's low and high watermark, whatever transactions are open.
    pub async fn watermarks(&self, partition: i32) -> (i64, i64) {
        let name = self.name.clone();
        let mut reader = self.client();
        reader.set("isolation.level", "read_uncommitted");
        blocking(move || {
            let reader: BaseConsumer = reader.create().expect("a consumer");
            reader.fetch_watermarks(&name, partition, PATIENCE).expect("Kafka answers")
        })
        .await
    }

    /// How many records of a partition can be read: compaction and aborted transactions leave fewer than offsets.
    pub async fn readable(&self, partition: i32) -> usize {
        let name = self.name.clone();
        let mut reader = self.client();
        reader.set("group.id", "test").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        blocking(move || {
            let reader: BaseConsumer = reader.create().expect("a consumer");
            let mut beginning = TopicPartitionList::new();
            beginning.add_partition_offset(&name, partition, Offset::Beginning).expect("a valid offset");
            reader.assign(&beginning).expect("an assignment");
            let next = || reader.poll(PATIENCE).expect("a record or the end within the deadline").is_ok();
            std::iter::repeat_with(next).take_while(|is_record| *is_record).count()
        })
        .await
    }

    /// How many partitions it has.
    pub async fn partitions(&self) -> i32 {
        let (name, reader) = (self.name.clone(), self.client());
        blocking(move || {
            let reader: BaseConsumer = reader.create().expect("a consumer");
            let metadata = reader.fetch_metadata(Some(&name), PATIENCE).expect("Kafka answers");
            metadata.topics()[0].partitions().len() as i32
        })
        .await
    }

    /// The id of the broker that leads a partition now, as the others see it.
    pub async fn leader(&self, partition: i32) -> i32 {
        let (name, reader) = (self.name.clone(), self.client());
        blocking(move || {
            let reader: BaseConsumer = reader.create().expect("a consumer");
            let metadata = reader.fetch_metadata(Some(&name), PATIENCE).expect("Kafka answers");
            let partitions = metadata.topics()[0].partitions();
            partitions.iter().find(|listed| listed.id() == partition).map_or(-1, |listed| listed.leader())
        })
        .await
    }

    /// Reads all partitions from their beginning until there are `count` records; panics when they do not come.
    pub async fn read(&self, count: usize) -> Vec<Written> {
        let name = self.name.clone();
        let mut reader = self.client();
        reader.set("group.id", "test").set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
        blocking(move || {
            let reader: BaseConsumer = reader.create().expect("a consumer");
            let metadata = reader.fetch_metadata(Some(&name), PATIENCE).expect("Kafka answers");
            let mut partitions = TopicPartitionList::new();
            for partition in metadata.topics()[0].partitions() {
                partitions.add_partition_offset(&name, partition.id(), Offset::Beginning).expect("a valid offset");
            }
            reader.assign(&partitions).expect("an assignment");
            (0..count).map(|_| Written::from_kafka(&next_record(&reader))).collect()
        })
        .await
    }

    async fn send(&self, producer: &FutureProducer, records: &[Record]) -> Vec<(i32, i64)> {
        let sent = records.iter().map(|record| producer.send(record.to_kafka(&self.name), PATIENCE));
        let sent = join_all(sent).await.into_iter();
        sent.map(|sent| sent.map(|at| (at.partition, at.offset)).expect("Kafka takes the record")).collect()
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an admin client")
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("partitioner", "murmur2_random");
        config
    }
}

impl Record {
    /// A record with key and value.
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::keyless(value).with_key(key)
    }

    /// A record without a key.
    pub fn keyless(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// A record with a null value.
    pub fn tombstone(key: impl Into<Vec<u8>>) -> Self {
        Self::default().with_key(key)
    }

    /// Sets the partition.
    pub fn partition(self, partition: i32) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// Sets the record's time, in milliseconds since 1970.
    pub fn timestamp(self, timestamp: i64) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }

    /// Adds a header; several of one name are kept. A name may be any bytes.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.into()));
        self
    }

    fn with_key(self, key: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    fn to_kafka<'a>(&'a self, topic: &'a str) -> FutureRecord<'a, Vec<u8>, Vec<u8>> {
        let no_headers = OwnedHeaders::new_with_capacity(self.headers.len());
        let headers = self
            .headers
            .iter()
            .fold(no_headers, |headers, (name, value)| ordercast_headers::with(headers, name, Some(value)));
        FutureRecord {
            topic,
            partition: self.partition,
            payload: self.value.as_ref(),
            key: self.key.as_ref(),
            timestamp: self.timestamp,
            headers: Some(headers),
        }
    }
}

impl Written {
    fn from_kafka(message: &BorrowedMessage<'_>) -> Self {
        let headers = ordercast_headers::of_message(message).into_iter();
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect(),
        }
    }
}

/// The next record. A broker that is not there is no error while others are.
fn next_record(reader: &BaseConsumer) -> BorrowedMessage<'_> {
    loop {
        match reader.poll(PATIENCE).expect("a record within the deadline") {
            Err(KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure)) => {}
            record => return record.expect("no error"),
        }
    }
}

/// Commits the transaction that a producer has begun.
pub async fn commit(producer: FutureProducer) {
    blocking(move || producer.commit_transaction(PATIENCE)).await.expect("the transaction commits");
}

/// Aborts the transaction that a producer has begun.
pub async fn abort(producer: FutureProducer) {
    blocking(move || producer.abort_transaction(PATIENCE)).await.expect("the transaction aborts");
}

fn patient() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

/// Runs what blocks where it may: librdkafka's consumers and transactions do.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}
