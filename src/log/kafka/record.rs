//! One record as rdkafka hands it over, made readable for decode, digest and dead letters.

use rdkafka::{
    Timestamp as KafkaTimestamp,
    message::{BorrowedHeaders, BorrowedMessage, Message, OwnedHeaders},
};
use sha2::{Digest, Sha256};

use crate::domain::{Timestamp, decode::RawRecord};

/// A record's headers as decode takes them: names are text.
pub(crate) type HeaderList<'a> = Vec<(&'a str, Option<&'a [u8]>)>;

/// A record kept byte for byte.
#[derive(Debug)]
pub(crate) struct OwnedRecord {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: KafkaTimestamp,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Option<OwnedHeaders>,
}

/// The headers of a record; those whose names are not UTF-8 mean nothing here and are left out.
pub(crate) fn headers<'a>(message: &'a BorrowedMessage<'_>) -> HeaderList<'a> {
    let text = |(name, value)| Some((std::str::from_utf8(name).ok()?, value));
    ordercast_headers::of_message(message).into_iter().filter_map(text).collect()
}

/// A copy of headers whose names may be any bytes.
pub(crate) fn owned(headers: Vec<ordercast_headers::Header<'_>>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    headers.into_iter().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect()
}

/// The record as decode takes it.
pub(crate) fn raw<'a>(
    message: &'a BorrowedMessage<'_>,
    headers: &'a HeaderList<'a>,
    received_at: Timestamp,
) -> RawRecord<'a> {
    RawRecord {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_millis: message.timestamp().to_millis(),
        received_at,
        key: message.key(),
        value: message.payload(),
        headers,
    }
}

/// Remembers a record by key, value and timestamp: two logs of one name differ in it.
pub(crate) fn digest(message: &BorrowedMessage<'_>) -> u64 {
    let mut digest = Sha256::new();
    for part in [message.key(), message.payload()] {
        // The length goes first, or "ab" + "c" would pass for "a" + "bc"; null is no empty value.
        let length = part.map_or(-1, |part| part.len() as i64);
        digest.update(length.to_be_bytes());
        digest.update(part.unwrap_or_default());
    }
    digest.update(message.timestamp().to_millis().unwrap_or(-1).to_be_bytes());
    let digest = digest.finalize();
    let (head, _) = digest.as_slice().split_at(8);
    head.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl OwnedRecord {
    /// Copies a record.
    pub(crate) fn of(message: &BorrowedMessage<'_>) -> Self {
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: message.headers().map(BorrowedHeaders::detach),
        }
    }
}
