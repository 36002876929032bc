//! Dead letters as the operator's tools see them: read from their topic and from the rows that alone hold a record, and
//! sent to the source topic again. Called by `ordercast dead-letters`; the recorder, which writes them, does not use it.

pub(super) mod delivery;
mod listed;
mod topic;

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use tokio::sync::mpsc::Receiver;

pub use self::listed::{ListedDeadLetter, REPLAY_HEADER};
use self::topic::TopicReader;
use crate::{
    config,
    log::kafka::{
        KafkaClients, KafkaError,
        producer::{Delivered, ProduceError, Producer},
        record::{self, OwnedHeaders},
        rights::MissingRight,
    },
    store::{DeadLetterStore, RecordId, StoreError},
};

/// Dead letters cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such topic.
    #[error("there is no dead-letter topic {0}: `ordercast migrate` makes it")]
    NoTopic(String),
    /// Who reads may not.
    #[error("the dead-letter topic cannot be read: {0}")]
    Forbidden(MissingRight),
    /// No broker answers.
    #[error("the dead-letter topic cannot be read: {0}")]
    NoAnswer(String),
    /// The brokers do not answer, or refuse.
    #[error("the dead-letter topic cannot be read: {0}")]
    Kafka(#[from] KafkaError),
    /// The brokers went silent.
    #[error("the dead-letter topic cannot be read: nothing comes from the brokers any more")]
    Silence,
    /// The thread that reads could not be started.
    #[error("the dead-letter topic cannot be read: {0}")]
    Thread(#[from] std::io::Error),
    /// The database refuses or is away.
    #[error("the dead letters in the database cannot be read: {0}")]
    Store(#[from] StoreError),
}

/// All dead letters of one source topic there are when it is opened: those in the topic first, then those that the
/// database alone holds; each in the order in which they became dead letters, and each record once.
pub struct DeadLetters {
    source: String,
    in_topic: Receiver<Result<ListedDeadLetter, ReadError>>,
    store: Arc<dyn DeadLetterStore>,
    last_row: i64,
    rows: VecDeque<ListedDeadLetter>,
    seen: HashSet<RecordId>,
    _reader: TopicReader,
}

impl DeadLetters {
    /// Begins to read.
    pub fn open(
        clients: &KafkaClients,
        settings: &config::Kafka,
        store: Arc<dyn DeadLetterStore>,
    ) -> Result<Self, ReadError> {
        let (reader, in_topic) = TopicReader::start(clients, &settings.dead_letter_topic, &settings.topic)?;
        let (last_row, rows, seen) = (0, VecDeque::new(), HashSet::new());
        Ok(Self { source: settings.topic.clone(), in_topic, store, last_row, rows, seen, _reader: reader })
    }

    /// The next one; `None` when there are no more.
    pub async fn next(&mut self) -> Result<Option<ListedDeadLetter>, ReadError> {
        loop {
            let dead_letter = match self.in_topic.recv().await {
                Some(dead_letter) => dead_letter?,
                None => match self.next_row().await? {
                    Some(dead_letter) => dead_letter,
                    None => return Ok(None),
                },
            };
            // The topic has a dead letter twice where the recorder had to deliver a batch again.
            if self.seen.insert(dead_letter.record) {
                return Ok(Some(dead_letter));
            }
        }
    }

    async fn next_row(&mut self) -> Result<Option<ListedDeadLetter>, ReadError> {
        if self.rows.is_empty() {
            let rows = self.store.held_dead_letters(&self.source, self.last_row).await?;
            self.last_row = rows.last().map_or(self.last_row, |row| row.id);
            self.rows.extend(rows.into_iter().map(ListedDeadLetter::from_row));
        }
        Ok(self.rows.pop_front())
    }
}

/// Sends a dead letter's record to the source topic again, byte for byte: to the partition it stood in, and with its own
/// timestamp, which stands in for an `occurred_at` that the event lacks. `same_log`: the log is the one it stood in, so
/// that its place there says which version it had.
pub async fn replay(
    producer: &Producer,
    source: &str,
    dead_letter: &ListedDeadLetter,
    same_log: bool,
) -> Result<Delivered, ProduceError> {
    let headers = || {
        dead_letter
            .replay_headers(same_log)
            .iter()
            .fold(OwnedHeaders::new(), |headers, (name, value)| record::with(headers, name, value.as_deref()))
    };
    let (key, value) = (dead_letter.key.as_deref(), dead_letter.value.as_deref());
    let timestamp = Some(dead_letter.record.timestamp_millis).filter(|millis| *millis >= 0);
    let partition = Some(dead_letter.record.partition);
    match producer.send_to(source, partition, timestamp, key, value, Some(headers())).await {
        // The topic has been made anew with fewer of them.
        Err(error) if error.is_about_partition() => {
            producer.send_to(source, None, timestamp, key, value, Some(headers())).await
        }
        sent => sent,
    }
}
