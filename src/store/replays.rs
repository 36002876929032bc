//! What the operator's tools ask of dead letters: those that only the database holds, and which were sent again. The
//! recorder, which writes the dead letters, does not use this.

use async_trait::async_trait;
use sqlx::{Error, FromRow};

use super::{HeldRecord, Store, StoreError, dead_letters::headers_from_json, rows::unreadable};
use crate::domain::{Epoch, Timestamp};

/// Held records in one reading at most: each may be as large as a record can be.
pub(super) const MAX_HELD_READ: i64 = 20;

/// Dead letters, as `ordercast dead-letters` uses them.
#[async_trait]
pub trait DeadLetterStore: Store {
    /// Dead letters after this number whose record only the database holds: the oldest few, so who gets any asks again.
    async fn held_dead_letters(&self, topic: &str, after: i64) -> Result<Vec<StoredDeadLetter>, StoreError>;

    /// The life of the log the record stood in, where a row tells.
    async fn epoch_of(&self, topic: &str, record: RecordId) -> Result<Option<Epoch>, StoreError>;

    /// All records that were sent again.
    async fn replays(&self, topic: &str) -> Result<Vec<Replay>, StoreError>;

    /// Notes that the record is about to be sent. False: somebody has noted that before; `again` does not mind.
    async fn begin_replay(&self, topic: &str, record: RecordId, again: bool) -> Result<bool, StoreError>;

    /// Notes where it went; `None`: it certainly was not sent, so the note goes.
    async fn end_replay(&self, topic: &str, record: RecordId, sent_to: Option<(i32, i64)>) -> Result<(), StoreError>;
}

/// Names a dead letter. The timestamp tells apart what stood at one place in two lives of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its own timestamp in milliseconds; -1 if it had none.
    pub timestamp_millis: i64,
}

/// A dead letter whose record only the database holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// The row's number, to read on from.
    pub id: i64,
    /// The record.
    pub record: RecordId,
    /// Why it is one: the stable code.
    pub code: String,
    /// The same for a person.
    pub message: String,
    /// When it became a dead letter.
    pub put_aside_at: Timestamp,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The rest of the record.
    pub held_record: HeldRecord,
}

/// A record was sent again, or that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// The record.
    pub record: RecordId,
    /// When.
    pub begun_at: Timestamp,
    /// Partition and offset of the new record; `None`: nobody knows whether it arrived.
    pub sent_to: Option<(i32, i64)>,
}

/// A held row of `dead_letters`.
#[derive(Debug, FromRow)]
pub(super) struct HeldRow {
    id: i64,
    partition: i32,
    log_offset: i64,
    code: String,
    message: String,
    recorded_at: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Option<String>,
    created_at_millis: i64,
}

/// A row of `replays`.
#[derive(Debug, FromRow)]
pub(super) struct ReplayRow {
    partition: i32,
    log_offset: i64,
    recorded_at: i64,
    begun_at_millis: i64,
    sent_partition: Option<i32>,
    sent_offset: Option<i64>,
}

impl HeldRow {
    pub(super) fn into_dead_letter(self) -> Result<StoredDeadLetter, Error> {
        let timestamp_millis = self.recorded_at.unwrap_or(-1);
        let headers = self.headers.as_deref().map(headers_from_json).transpose().map_err(unreadable)?;
        Ok(StoredDeadLetter {
            id: self.id,
            record: RecordId { partition: self.partition, offset: self.log_offset, timestamp_millis },
            code: self.code,
            message: self.message,
            put_aside_at: moment(self.created_at_millis)?,
            key: self.key,
            held_record: HeldRecord { value: self.value, headers: headers.unwrap_or_default() },
        })
    }
}

impl ReplayRow {
    pub(super) fn into_replay(self) -> Result<Replay, Error> {
        let (partition, offset, timestamp_millis) = (self.partition, self.log_offset, self.recorded_at);
        Ok(Replay {
            record: RecordId { partition, offset, timestamp_millis },
            begun_at: moment(self.begun_at_millis)?,
            sent_to: self.sent_partition.zip(self.sent_offset),
        })
    }
}

fn moment(millis: i64) -> Result<Timestamp, Error> {
    Timestamp::from_millis(millis).ok_or_else(|| unreadable("a moment is out of range"))
}
