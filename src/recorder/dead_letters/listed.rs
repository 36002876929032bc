//! One dead letter: what the recorder added to a record is told apart from the record itself. Pure.

use crate::{
    domain::{Timestamp, decode::VERSION_HEADER},
    store::{RecordId, StoredDeadLetter},
};

/// Names, on a replayed record, the dead letter: `partition:offset:timestamp`. Where that one becomes a dead
/// letter as well, it tells that it has been tried before.
pub const REPLAY_HEADER: &str = "ordercast-replay-of";

const TOPIC: &str = "kafka_dlt-original-topic";
const PARTITION: &str = "kafka_dlt-original-partition";
const OFFSET: &str = "kafka_dlt-original-offset";
const TIMESTAMP: &str = "kafka_dlt-original-timestamp";
const MESSAGE: &str = "kafka_dlt-exception-message";
const CODE: &str = "x-error-code";
/// What the recorder adds, after all headers of the record itself.
const ADDED: [&str; 9] = [
    TOPIC,
    PARTITION,
    OFFSET,
    TIMESTAMP,
    "kafka_dlt-original-timestamp-type",
    "kafka_dlt-original-consumer-group",
    "kafka_dlt-exception-fqcn",
    MESSAGE,
    CODE,
];

/// Names and values, in order; a name may be any bytes.
pub(super) type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A dead letter, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDeadLetter {
    /// Which record it is.
    pub record: RecordId,
    /// Why: the stable code.
    pub code: String,
    /// Why, for a person.
    pub message: String,
    /// When it became a dead letter.
    pub put_aside_at: Timestamp,
    /// Only the database holds it: it was too large for the dead-letter topic.
    pub held: bool,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The record's own headers, in order; a name may be any bytes.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl ListedDeadLetter {
    /// Reads a record of the dead-letter topic. `None`: it is not a dead_letter of this source topic.
    pub(super) fn from_topic(
        source: &str,
        put_aside_at: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        mut headers: Headers,
    ) -> Option<Self> {
        // A record may have had headers of these names itself: those stand before.
        let [topic, partition, offset, timestamp, _, _, _, message, code] = ADDED.map(|name| {
            headers.iter().rposition(|header| header.0 == name.as_bytes()).and_then(|at| headers.remove(at).1)
        });
        if topic? != source.as_bytes() {
            return None;
        }
        let text = |bytes: Option<Vec<u8>>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        Some(Self {
            record: RecordId {
                partition: i32::from_be_bytes(partition?.try_into().ok()?),
                offset: i64::from_be_bytes(offset?.try_into().ok()?),
                timestamp_millis: timestamp.and_then(|bytes| bytes.try_into().ok()).map_or(-1, i64::from_be_bytes),
            },
            code: text(code),
            message: text(message),
            put_aside_at,
            held: false,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers,
        })
    }

    /// Takes a row that alone holds its record.
    pub(super) fn from_row(row: StoredDeadLetter) -> Self {
        Self {
            record: row.record,
            code: row.code,
            message: row.message,
            put_aside_at: row.put_aside_at,
            held: true,
            key: row.key,
            value: row.held_record.value,
            headers: row.held_record.headers,
        }
    }

    /// The first dead letter: this one, unless it is itself a replay that was refused again.
    pub fn first(&self) -> RecordId {
        let header = self.headers.iter().rev().find(|header| header.0 == REPLAY_HEADER.as_bytes());
        header.and_then(|header| read_id(header.1.as_deref()?)).unwrap_or(self.record)
    }

    /// The headers of the replayed record: its own, the version it had when it was first in the log, and its name.
    pub(super) fn replay_headers(&self, same_log: bool) -> Headers {
        let mut headers = self.headers.clone();
        let mut add_once = |name: &str, value: String| {
            if !headers.iter().any(|header| header.0 == name.as_bytes()) {
                headers.push((name.as_bytes().to_vec(), Some(value.into_bytes())));
            }
        };
        // A place in another life of the log is no version in this one.
        if same_log {
            add_once(VERSION_HEADER, self.record.offset.saturating_add(1).to_string());
        }
        let RecordId { partition, offset, timestamp_millis } = self.record;
        add_once(REPLAY_HEADER, format!("{partition}:{offset}:{timestamp_millis}"));
        headers
    }
}

fn read_id(bytes: &[u8]) -> Option<RecordId> {
    let mut parts = std::str::from_utf8(bytes).ok()?.splitn(3, ':');
    Some(RecordId {
        partition: parts.next()?.parse().ok()?,
        offset: parts.next()?.parse().ok()?,
        timestamp_millis: parts.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> (Vec<u8>, Option<Vec<u8>>) {
        (name.as_ref().to_vec(), Some(value.as_ref().to_vec()))
    }

    fn dead_letter(own: Headers) -> Option<ListedDeadLetter> {
        let added = [
            header(TOPIC, "orders"),
            header(PARTITION, 2i32.to_be_bytes()),
            header(OFFSET, 41i64.to_be_bytes()),
            header(TIMESTAMP, 1_700_000_000_000i64.to_be_bytes()),
            header("kafka_dlt-original-timestamp-type", "CreateTime"),
            header("kafka_dlt-original-consumer-group", "ordercast"),
            header("kafka_dlt-exception-fqcn", "x"),
            header(MESSAGE, "status is missing"),
            header(CODE, "missing_field"),
        ];
        let headers = own.into_iter().chain(added).collect();
        ListedDeadLetter::from_topic("orders", Timestamp::from_millis(5).unwrap(), Some(b"A-1"), Some(b"\xff"), headers)
    }

    #[test]
    fn what_the_recorder_added_is_told_apart_from_what_the_record_had() {
        let own = vec![
            header("trace", "1"),
            header(CODE, "mine"),
            header(b"\xff\xfe", b"\xfd"),
            header("trace", "2"),
            (b"null".to_vec(), None),
        ];
        let dead_letter = dead_letter(own.clone()).unwrap();
        assert_eq!(dead_letter.record, RecordId { partition: 2, offset: 41, timestamp_millis: 1_700_000_000_000 });
        assert_eq!((dead_letter.code.as_str(), dead_letter.message.as_str()), ("missing_field", "status is missing"));
        assert_eq!(dead_letter.headers, own);
    }

    #[test]
    fn a_record_of_another_topic_or_without_the_headers_is_no_letter() {
        let at = Timestamp::from_millis(5).unwrap();
        assert_eq!(ListedDeadLetter::from_topic("orders", at, None, None, vec![header(TOPIC, "payments")]), None);
        assert_eq!(ListedDeadLetter::from_topic("orders", at, None, None, vec![header(TOPIC, "orders")]), None);
        assert_eq!(ListedDeadLetter::from_topic("orders", at, None, None, Vec::new()), None);
    }

    #[test]
    fn a_replayed_record_carries_its_first_version_however_often_it_is_refused() {
        let first = dead_letter(vec![header("trace", "1")]).unwrap();
        let added = [header(VERSION_HEADER, "42"), header(REPLAY_HEADER, "2:41:1700000000000")];
        let sent = first.replay_headers(true);
        assert_eq!(sent, [&[header("trace", "1")][..], &added].concat());
        let mut again = dead_letter(sent.clone()).unwrap();
        again.record.offset = 99;
        assert_eq!((again.first(), again.replay_headers(true)), (first.record, sent));
    }

    #[test]
    fn a_place_in_a_log_that_was_replaced_is_no_version() {
        let sent = dead_letter(Vec::new()).unwrap().replay_headers(false);
        assert!(sent.iter().all(|header| header.0 != VERSION_HEADER.as_bytes()), "{sent:?}");
    }
}
