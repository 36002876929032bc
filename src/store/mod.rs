//! What Ordercast asks of SQL, behind one small interface with two dialects.
//!
//! The tables: `orders` (one row per order, its timeline inside), `order_viewers` (who may see it, for the list of a
//! user), `erased_orders` (markers), `progress`, `topics`, `dead_letters`, `lost_ranges`, `tickets`. Decisions are made in Rust: a
//! batch reads the rows it touches, [folds](crate::domain::History::fold) and writes them back in one transaction.

mod away;
mod connect;
mod culprits;
mod dead_letters;
mod error;
pub mod gateway;
mod gather;
mod lists;
pub(crate) mod plan;
pub mod postgres;
mod reading;
mod replays;
mod rows;
mod schema;
mod sqlite;
mod tickets;
mod upkeep;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;

pub use self::{
    away::Away,
    connect::{InvalidUrl, PoolLimits, connect, connect_to_dead_letters},
    error::{RejectedEvent, StoreError},
    replays::{DeadLetterStore, RecordId, Replay, StoredDeadLetter},
    tickets::{MayCommit, TicketUse, UsedTicket},
    upkeep::{ErasedStretch, ListRow, Restated, restate_all},
};
use crate::domain::{
    Epoch, Halt, LastRecord, Lifecycle, OrderEvent, OrderId, Position, Progress, Snapshot, SnapshotQuery, Timestamp,
};

/// The store, as recorder, fanout and snapshots use it. Every call may be dropped at an await without harm: what was
/// not committed is rolled back.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Brings the schema up to this binary's version. Idempotent; safe to run from several instances at once.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Compares the schema with this binary's.
    async fn check_schema(&self) -> Result<(), StoreError>;

    /// Makes the rows of a topic and its partitions where they are missing and reads them all, those of other
    /// partitions included.
    async fn open_topic(&self, opening: &TopicOpening) -> Result<Vec<Progress>, StoreError>;

    /// Reads, in one statement, the progress of a topic, what it lost, and the dead letters after `after_dead_letter`: the oldest
    /// [`MAX_DEAD_LETTERS_READ`] of them, so who gets that many asks again at once. Who begins to listen asks after
    /// `i64::MAX` and goes on from [`ProgressReading::last_dead_letter`].
    async fn progress(&self, topic: &str, after_dead_letter: i64) -> Result<ProgressReading, StoreError>;

    /// Applies a batch: rows and progress in one transaction. Nothing is changed on an error. An event that cannot be
    /// applied ([`StoreError::Rejected`], [`StoreError::Unordered`]) has to become a dead letter before progress may pass it.
    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError>;

    /// Moves a partition to another place or life of its log, if it still stands at `from`; with a lost range, records
    /// that as well. Rows stay.
    async fn relocate(&self, relocation: &Relocation) -> Result<(), StoreError>;

    /// Says to all instances why a partition is halted, or that it is not any more, if it still stands where that was found.
    async fn set_halt(&self, finding: &HaltFinding) -> Result<(), StoreError>;

    /// Reads rows and progress in ONE statement.
    async fn snapshot(&self, topic: &str, query: &SnapshotQuery) -> Result<Snapshot, StoreError>;

    /// Makes a stretch of the viewers' lists what `lifecycle` says of the stored statuses, from behind `after` on: which
    /// orders are terminal, and where in its viewers' lists each stands. What is right is only read. Safe beside
    /// recorders, and to be cut off; [`restate_all`] goes through all.
    async fn restate(&self, lifecycle: &Lifecycle, after: Option<&ListRow>) -> Result<Restated, StoreError>;

    /// Erases orders that ended longer ago than `age` and have not changed since, where `lifecycle` calls them terminal, too:
    /// of a stretch behind `after`. As after a tombstone a marker of the version stays. By the store's own clock.
    async fn erase_ended(
        &self,
        age: Duration,
        lifecycle: &Lifecycle,
        after: Option<&OrderId>,
    ) -> Result<ErasedStretch, StoreError>;

    /// Removes markers of orders erased longer ago than `life`, by the store's own clock: an instance whose clock is
    /// wrong must not remove those of all. Returns how many.
    async fn forget_erased(&self, life: Duration) -> Result<u64, StoreError>;

    /// Keeps a one-time ticket, for so long. Returns until when it is good.
    async fn issue_ticket(&self, digest: &[u8], claims: &str, lifetime: Duration) -> Result<Timestamp, StoreError>;

    /// The claims of a ticket that is good. It stays good.
    async fn find_ticket(&self, digest: &[u8]) -> Result<Option<String>, StoreError>;

    /// Removes a ticket that is good, if `may_commit` agrees in the end. Of several callers, on whatever instance, one has
    /// used it. After an error it is as good as before.
    async fn use_ticket(&self, digest: &[u8], may_commit: MayCommit<'_>) -> Result<TicketUse, StoreError>;

    /// Puts a ticket back that was used up, unless it is there.
    async fn restore_ticket(&self, ticket: &UsedTicket) -> Result<(), StoreError>;

    /// Removes tickets that are over. Returns how many.
    async fn forget_tickets(&self) -> Result<u64, StoreError>;

    /// The newest [`MAX_KEPT_DEAD_LETTERS`] dead letters under these keys, newest first.
    async fn dead_letters_of(&self, topic: &str, keys: &[Vec<u8>]) -> Result<Vec<KeptDeadLetter>, StoreError>;
}

/// Dead letters in one [`ProgressReading`] at most.
pub const MAX_DEAD_LETTERS_READ: i64 = 1_000;

/// Dead letters told of one order at most.
pub const MAX_KEPT_DEAD_LETTERS: i64 = 100;

/// A dead letter as an operator hears of it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct KeptDeadLetter {
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    #[sqlx(rename = "log_offset")]
    pub offset: i64,
    /// The stable code.
    pub code: String,
    /// What was wrong, for a person.
    pub message: String,
    /// The record's own timestamp in milliseconds, if it has one.
    pub recorded_at: Option<i64>,
    /// Whether SQL alone holds the record.
    pub held: bool,
}

/// What the recorder tells the store when it begins with some partitions.
#[derive(Debug, Clone)]
pub struct TopicOpening {
    /// The topic.
    pub topic: String,
    /// Names the log: cluster id, topic and `kafka.epoch`.
    pub log_id: String,
    /// How many partitions the topic has now. Stored once: versions taken from the log hold only as long as it stays.
    pub partition_count: i32,
    /// Partition and low watermark of those to make rows for.
    pub low_watermarks: Vec<(i32, i64)>,
}

impl PartitionBatch {
    /// The life of the log the records were read from.
    pub fn epoch(&self) -> Epoch {
        Epoch::of(&self.log_id, self.generation)
    }
}

/// What every instance reads once a second.
#[derive(Debug, Clone, Default)]
pub struct ProgressReading {
    /// All partitions of the topic that have a row, in order.
    pub progress: Vec<Progress>,
    /// The partition count under which events without a version were first accepted; `None` before that.
    pub partition_count: Option<i32>,
    /// What the store itself refused since the last reading, by growing number: `rejected_by_store`, and `unordered`, of
    /// which decode may have refused some. All other dead letters every instance knows by itself.
    pub dead_letters: Vec<RefusedRecord>,
    /// Number of the newest dead letter there is; 0 if there is none.
    pub last_dead_letter: i64,
    /// Where each partition that ever lost records went on behind the last of them.
    pub lost: Vec<Position>,
    /// The partitions that are not recorded until somebody decides.
    pub halts: BTreeMap<i32, Halt>,
}

/// What the recorder has found out about a partition that stands here.
#[derive(Debug, Clone)]
pub struct HaltFinding {
    /// The topic.
    pub topic: String,
    /// Where the partition stands.
    pub at: Progress,
    /// Why it is halted; `None`: it is recorded.
    pub halt: Option<Halt>,
}

/// A record the recorder refused, as other instances hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedRecord {
    /// The row's own number, to read on from. Grows in the order of commits, so no lower one appears later.
    pub id: i64,
    /// The life of the log in which the offset counts.
    pub epoch: Epoch,
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
}

/// Records of one or more partitions, to be applied in one transaction.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The topic.
    pub topic: String,
    /// One part per partition, in partition order.
    pub partitions: Vec<PartitionBatch>,
    /// A version that grows by more is counted as a jump.
    pub version_jump: u64,
}

/// One partition's part of a batch.
#[derive(Debug, Clone)]
pub struct PartitionBatch {
    /// The partition.
    pub partition: i32,
    /// The log's name and generation the records were read under.
    pub log_id: String,
    /// See [`Progress::generation`].
    pub generation: i32,
    /// The position the records were read from: what the compare-and-set compares with.
    pub read_from: i64,
    /// The position after them.
    pub next_offset: i64,
    /// The last record among them, if there is one (a stretch of transaction markers has none).
    pub last_record: Option<LastRecord>,
    /// The events, in log order.
    pub events: Vec<OrderEvent>,
    /// The records that could not be used.
    pub dead_letters: Vec<DeadLetter>,
}

/// A record that could not be used, with the reason.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The record's offset.
    pub offset: i64,
    /// The stable code: `not_json`, `missing_field`, …
    pub code: &'static str,
    /// What was wrong, for a person.
    pub message: String,
    /// The record's timestamp in milliseconds, if it has one.
    pub timestamp_millis: Option<i64>,
    /// The key, if it has one.
    pub key: Option<Vec<u8>>,
    /// The record itself, where the dead-letter topic would not take it; otherwise the topic holds it.
    pub held_record: Option<HeldRecord>,
}

/// A record kept byte for byte in SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRecord {
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names, which may be any bytes, and values, in order; a value may be null.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// What became of a batch's events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Became their order's state.
    pub applied: u64,
    /// Had a lower version than the known one.
    pub late: u64,
    /// Had the known version and status.
    pub duplicate: u64,
    /// Had the known version with another status.
    pub conflict: u64,
    /// Erased an order that is not known, or not any more.
    pub nothing_to_erase: u64,
    /// Applied because versions of another kind came; counted in `applied`, too.
    pub kind_changed: u64,
    /// Applied with a version that jumped; counted in `applied`, too.
    pub jumped: u64,
}

/// A partition's progress moves for another reason than records applied.
#[derive(Debug, Clone)]
pub struct Relocation {
    /// The topic.
    pub topic: String,
    /// Where it stands now; nothing happens if it does not.
    pub from: Progress,
    /// Where it goes.
    pub to: Progress,
    /// Records nobody will deliver any more: from, to (exclusive).
    pub lost_range: Option<(i64, i64)>,
    /// The partition count of the topic where the whole log was replaced, to be stored anew.
    pub partition_count: Option<i32>,
}
