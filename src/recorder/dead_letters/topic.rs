//! Reads a dead-letter topic from its beginning to where it ends at that moment, on a thread of its own.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use super::{ListedDeadLetter, ReadError};
use crate::{
    domain::Timestamp,
    log::kafka::{
        KafkaClients,
        reach::is_silence,
        reader::{From, Polled, Reader, TopicError},
    },
    runtime::Component,
};

const CLIENT: &str = "dead-letters";
/// How long the brokers may take for an answer, and how long nothing may come while there is something to come.
const TIMEOUT: Duration = Duration::from_secs(10);
const POLL_TIMEOUT: Duration = Duration::from_millis(200);
/// Dead letters on their way to whoever reads: each may be as large as a record can be.
const QUEUED_LETTERS: usize = 16;

/// The reading thread; ends with this value.
pub(super) struct TopicReader {
    _thread: Component,
}

impl TopicReader {
    /// Starts to read. The channel ends behind the last dead letter or the first error.
    pub(super) fn start(
        clients: &KafkaClients,
        topic: &str,
        source: &str,
    ) -> Result<(Self, Receiver<Result<ListedDeadLetter, ReadError>>), ReadError> {
        let mut reader = Reader::new(CLIENT, topic, clients.reading_client(CLIENT)?);
        let (dead_letters, receiver) = channel(QUEUED_LETTERS);
        let (clients, topic, source) = (clients.clone(), topic.to_owned(), source.to_owned());
        let thread = Component::thread("dead-letters", move |stop| {
            reader.begin();
            if let Err(error) = read(&reader, &topic, &source, &dead_letters, &stop) {
                // Why brokers do not answer.
                reader.serve();
                // Who has left does not need to know.
                let _ = dead_letters.blocking_send(Err(explained(error, &clients)));
            }
        })?;
        Ok((Self { _thread: thread }, receiver))
    }
}

fn read(
    reader: &Reader,
    topic: &str,
    source: &str,
    dead_letters: &Sender<Result<ListedDeadLetter, ReadError>>,
    stop: &CancellationToken,
) -> Result<(), ReadError> {
    let mut ends = ends(reader, topic)?;
    reader.assign(ends.keys().map(|partition| (*partition, From::Beginning)))?;
    let mut heard_at = Instant::now();
    while !ends.is_empty() && !stop.is_cancelled() {
        match reader.poll(POLL_TIMEOUT) {
            Some(Polled::Record(record)) => {
                let (partition, offset) = (record.partition(), record.offset());
                if ends.get(&partition).is_none_or(|end| offset >= *end) {
                    continue;
                }
                let at = record.timestamp().unwrap_or_else(Timestamp::now);
                let dead_letter =
                    ListedDeadLetter::from_topic(source, at, record.key(), record.value(), record.raw_headers());
                if dead_letter.is_some_and(|dead_letter| dead_letters.blocking_send(Ok(dead_letter)).is_err()) {
                    return Ok(());
                }
                // Whoever reads may take its time.
                heard_at = Instant::now();
                if ends.get(&partition).is_some_and(|end| offset + 1 >= *end) {
                    ends.remove(&partition);
                }
            }
            // What lies below the end and does not come was never committed.
            Some(Polled::End(partition)) => {
                ends.remove(&partition);
                heard_at = Instant::now();
            }
            Some(Polled::Refused(error)) => return Err(error.into()),
            // The silence tells, if it lasts.
            Some(Polled::OutOfRange(_) | Polled::Error) | None => {}
        }
        if heard_at.elapsed() >= TIMEOUT {
            return Err(ReadError::Silence);
        }
    }
    Ok(())
}

/// The error in words that say what to do, where it is one of the brokers.
fn explained(error: ReadError, clients: &KafkaClients) -> ReadError {
    let ReadError::Kafka(kafka) = &error else { return error };
    let missing = kafka.rdkafka_error_code().and_then(|code| clients.rights().of_error(CLIENT, code));
    match missing {
        Some(missing) => ReadError::Forbidden(missing),
        None if is_silence(kafka) => ReadError::NoAnswer(clients.why_silent()),
        None => error,
    }
}

/// The end of every partition that has records.
fn ends(reader: &Reader, topic: &str) -> Result<BTreeMap<i32, i64>, ReadError> {
    let partitions = reader.partitions(TIMEOUT).map_err(|error| match error {
        TopicError::Missing => ReadError::NoTopic(topic.to_owned()),
        TopicError::Forbidden(error) | TopicError::Other(error) => ReadError::Kafka(error),
    })?;
    let mut ends = BTreeMap::new();
    for partition in partitions {
        let (low, high) = reader.watermarks(partition, TIMEOUT)?;
        if low < high {
            ends.insert(partition, high);
        }
    }
    Ok(ends)
}
