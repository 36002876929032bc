//! One record as rdkafka hands it over, made readable for decode, digest and dead letters.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::{
    Timestamp as KafkaTimestamp,
    message::{BorrowedHeaders, BorrowedMessage, Headers, Message, OwnedHeaders},
};
use sha2::{Digest, Sha256};

use crate::domain::{Timestamp, decode::RawRecord};

/// A record's headers as decode takes them.
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
    message.headers().map_or_else(Vec::new, readable)
}

/// The headers of a record with names that are UTF-8.
pub(crate) fn readable<H: Headers>(headers: &H) -> HeaderList<'_> {
    // rdkafka panics on the name of a header that is not UTF-8, which any producer may write. Nothing is half done then.
    let header = |index| catch_unwind(AssertUnwindSafe(|| headers.get(index))).ok();
    (0..headers.count()).filter_map(header).map(|header| (header.key, header.value)).collect()
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

#[cfg(test)]
mod tests {
    use rdkafka::message::Header;

    use super::*;

    /// Headers as rdkafka reads them: it panics on a name that is not UTF-8.
    struct AsRead(Vec<Result<&'static str, ()>>);

    impl Headers for AsRead {
        fn count(&self) -> usize {
            self.0.len()
        }

        fn try_get(&self, index: usize) -> Option<Header<'_, &[u8]>> {
            self.0.get(index).map(|name| Header { key: name.unwrap(), value: None })
        }
    }

    #[test]
    fn a_header_whose_name_is_not_utf8_is_left_out_and_ends_nothing() {
        assert_eq!(readable(&AsRead(vec![Ok("a"), Err(()), Ok("b")])), [("a", None), ("b", None)]);
    }
}
