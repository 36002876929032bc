//! One record as rdkafka hands it over, made readable for decode, digest and dead letters.

pub(crate) use ordercast_headers::{of_owned, with};
pub(crate) use rdkafka::{Timestamp as KafkaTimestamp, message::OwnedHeaders};

use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Message};
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

/// A copy of headers whose names may be any bytes.
pub(crate) fn owned(headers: Vec<ordercast_headers::Header<'_>>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    headers.into_iter().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect()
}

/// One record, as long as its client lives.
pub(crate) struct Record<'a>(BorrowedMessage<'a>);

impl<'a> Record<'a> {
    pub(super) fn of(message: BorrowedMessage<'a>) -> Self {
        Self(message)
    }

    pub(crate) fn partition(&self) -> i32 {
        self.0.partition()
    }

    pub(crate) fn offset(&self) -> i64 {
        self.0.offset()
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.0.payload()
    }

    /// Bytes of key and value.
    pub(crate) fn len(&self) -> usize {
        self.0.key_len() + self.0.payload_len()
    }

    /// When it was sent or appended, if that is known.
    pub(crate) fn timestamp(&self) -> Option<Timestamp> {
        self.0.timestamp().to_millis().and_then(Timestamp::from_millis)
    }

    /// Its headers; those whose names are not UTF-8 mean nothing here and are left out.
    pub(crate) fn headers(&self) -> HeaderList<'_> {
        let text = |(name, value)| Some((std::str::from_utf8(name).ok()?, value));
        ordercast_headers::of_message(&self.0).into_iter().filter_map(text).collect()
    }

    /// All of its headers, byte for byte.
    pub(crate) fn raw_headers(&self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        owned(ordercast_headers::of_message(&self.0))
    }

    /// As decode takes it.
    pub(crate) fn raw<'r>(&'r self, headers: &'r HeaderList<'r>, received_at: Timestamp) -> RawRecord<'r> {
        RawRecord {
            partition: self.partition(),
            offset: self.offset(),
            timestamp_millis: self.0.timestamp().to_millis(),
            received_at,
            key: self.key(),
            value: self.value(),
            headers,
        }
    }

    /// Remembers it by key, value and timestamp: two logs of one name differ in it.
    pub(crate) fn digest(&self) -> u64 {
        let mut digest = Sha256::new();
        for part in [self.key(), self.value()] {
            // The length goes first, or "ab" + "c" would pass for "a" + "bc"; null is no empty value.
            let length = part.map_or(-1, |part| part.len() as i64);
            digest.update(length.to_be_bytes());
            digest.update(part.unwrap_or_default());
        }
        digest.update(self.0.timestamp().to_millis().unwrap_or(-1).to_be_bytes());
        let digest = digest.finalize();
        let (head, _) = digest.as_slice().split_at(8);
        head.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// A copy.
    pub(crate) fn to_owned(&self) -> OwnedRecord {
        let message = &self.0;
        OwnedRecord {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: message.headers().map(BorrowedHeaders::detach),
        }
    }
}
