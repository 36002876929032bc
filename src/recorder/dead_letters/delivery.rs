//! Delivers records that cannot be used to the dead-letter topic, byte for byte, with headers that say where they came
//! from and what was wrong, as Spring Kafka writes them.

use futures_util::future::join_all;

use crate::{
    log::kafka::{
        producer::{ProduceError, Producer},
        record::{self, KafkaTimestamp, OwnedHeaders},
    },
    recorder::batch::RefusedRecord,
    store::{DeadLetter, HeldRecord},
};

/// Delivers to one dead-letter topic.
pub(crate) struct DeadLetters {
    pub(crate) producer: Producer,
    /// The dead-letter topic.
    pub(crate) topic: String,
    /// The topic the records come from.
    pub(crate) source: String,
    /// The recorder's consumer group.
    pub(crate) group_id: String,
}

impl DeadLetters {
    /// Delivers all, and returns the rows to be stored. An error: at least one was not delivered; those that were are
    /// delivered again next time.
    pub(crate) async fn deliver(&self, refused: &[RefusedRecord]) -> Result<Vec<DeadLetter>, ProduceError> {
        let deliveries = join_all(refused.iter().map(|refused| self.send(refused))).await;
        let mut dead_letters = Vec::with_capacity(refused.len());
        for (refused, delivery) in refused.iter().zip(deliveries) {
            // A small record fails with a large one when both travelled in one request.
            let delivery = match delivery {
                Err(ProduceError::TooLarge) => self.send(refused).await,
                other => other,
            };
            let held = match delivery {
                Ok(()) => None,
                Err(ProduceError::TooLarge) => Some(held_record(refused)),
                Err(failed) => return Err(failed),
            };
            dead_letters.push(dead_letter(refused, held));
        }
        Ok(dead_letters)
    }

    async fn send(&self, refused: &RefusedRecord) -> Result<(), ProduceError> {
        let record = &refused.record;
        let headers = self.headers(refused);
        self.producer.send(&self.topic, record.key.as_deref(), record.value.as_deref(), Some(headers)).await.map(drop)
    }

    fn headers(&self, RefusedRecord { record, refusal }: &RefusedRecord) -> OwnedHeaders {
        let (timestamp, timestamp_type) = match record.timestamp {
            KafkaTimestamp::NotAvailable => (-1, "NoTimestampType"),
            KafkaTimestamp::CreateTime(millis) => (millis, "CreateTime"),
            KafkaTimestamp::LogAppendTime(millis) => (millis, "LogAppendTime"),
        };
        let added: [(&str, &[u8]); 9] = [
            ("kafka_dlt-original-topic", self.source.as_bytes()),
            ("kafka_dlt-original-partition", &record.partition.to_be_bytes()),
            ("kafka_dlt-original-offset", &record.offset.to_be_bytes()),
            ("kafka_dlt-original-timestamp", &timestamp.to_be_bytes()),
            ("kafka_dlt-original-timestamp-type", timestamp_type.as_bytes()),
            ("kafka_dlt-original-consumer-group", self.group_id.as_bytes()),
            ("kafka_dlt-exception-fqcn", b"ordercast.event.decode.Refusal"),
            ("kafka_dlt-exception-message", refusal.message.as_bytes()),
            ("x-error-code", refusal.code.as_str().as_bytes()),
        ];
        let original = record.headers.clone().unwrap_or_default();
        added.into_iter().fold(original, |headers, (name, value)| record::with(headers, name.as_bytes(), Some(value)))
    }
}

fn dead_letter(RefusedRecord { record, refusal }: &RefusedRecord, held_record: Option<HeldRecord>) -> DeadLetter {
    DeadLetter {
        offset: record.offset,
        code: refusal.code.as_str(),
        message: refusal.message.clone(),
        timestamp_millis: record.timestamp.to_millis(),
        key: record.key.clone(),
        held_record,
    }
}

fn held_record(RefusedRecord { record, .. }: &RefusedRecord) -> HeldRecord {
    let headers = record.headers.as_ref().map(record::of_owned).unwrap_or_default();
    HeldRecord { value: record.value.clone(), headers: record::owned(headers) }
}
