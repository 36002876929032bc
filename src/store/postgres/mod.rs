//! The store on PostgreSQL: statements only. What to write is decided in `plan`, which both dialects share.
//!
//! Works behind a pooler in transaction mode: each call is one transaction, or one statement, no statement is prepared
//! under a name, and nothing is set for longer than the transaction.

mod apply;
mod connections;
mod progress;
mod replays;
mod schema;
mod snapshot;
mod tickets;
mod upkeep;
mod write;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;

use self::connections::Connections;
use super::{
    Applied, Batch, DeadLetterStore, ErasedStretch, HaltFinding, InvalidUrl, KeptDeadLetter, ListRow, MayCommit,
    PoolLimits, ProgressReading, RecordId, Relocation, Replay, Restated, Store, StoreError, StoredDeadLetter,
    TicketUse, TopicOpening, UsedTicket, rows::moment,
};
use crate::domain::{Epoch, Lifecycle, OrderId, Progress, Snapshot, SnapshotQuery, Timestamp};

/// A pool of connections to PostgreSQL.
pub(super) struct PostgresStore {
    connections: Connections,
}

impl PostgresStore {
    pub(super) fn new(url: &str, limits: PoolLimits) -> Result<Self, InvalidUrl> {
        Ok(Self { connections: Connections::new(url, limits)? })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        let migrated = schema::migrate(self.connections.unbounded().await?).await;
        migrated.map_err(|error| error.at(self.connections.place()))
    }

    async fn check_schema(&self) -> Result<(), StoreError> {
        self.connections.transaction(async |connection| schema::check(connection).await).await
    }

    async fn open_topic(&self, opening: &TopicOpening) -> Result<Vec<Progress>, StoreError> {
        self.connections.transaction(async |connection| progress::open_topic(connection, opening).await).await
    }

    async fn progress(&self, topic: &str, after_dead_letter: i64) -> Result<ProgressReading, StoreError> {
        self.connections
            .transaction(async |connection| progress::read(connection, topic, after_dead_letter).await)
            .await
    }

    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        let applied = self.connections.transaction(async |connection| apply::apply(connection, batch).await).await;
        match applied {
            Err(error) if error.data_refusal().is_some() => {
                self.connections
                    .transaction(async |connection| match apply::find_culprits(connection, batch).await? {
                        culprits if culprits.is_empty() => Err(error),
                        culprits => Err(StoreError::Rejected(culprits)),
                    })
                    .await
            }
            applied => applied,
        }
    }

    async fn relocate(&self, relocation: &Relocation) -> Result<(), StoreError> {
        self.connections.transaction(async |connection| progress::relocate(connection, relocation).await).await
    }

    async fn set_halt(&self, finding: &HaltFinding) -> Result<(), StoreError> {
        self.connections.transaction(async |connection| progress::set_halt(connection, finding).await).await
    }

    async fn snapshot(&self, topic: &str, query: &SnapshotQuery) -> Result<Snapshot, StoreError> {
        self.connections.read(async |connection| snapshot::read(connection, topic, query).await).await
    }

    async fn restate(&self, lifecycle: &Lifecycle, after: Option<&ListRow>) -> Result<Restated, StoreError> {
        self.connections.transaction(async |connection| upkeep::restate(connection, lifecycle, after).await).await
    }

    async fn erase_ended(
        &self,
        age: Duration,
        lifecycle: &Lifecycle,
        after: Option<&OrderId>,
    ) -> Result<ErasedStretch, StoreError> {
        self.connections
            .transaction(async |connection| upkeep::erase_ended(connection, age, lifecycle, after).await)
            .await
    }

    async fn forget_erased(&self, life: Duration) -> Result<u64, StoreError> {
        self.connections.transaction(async |connection| write::forget_erased(connection, life).await).await
    }

    async fn issue_ticket(&self, digest: &[u8], claims: &str, lifetime: Duration) -> Result<Timestamp, StoreError> {
        let millis = lifetime.as_millis() as i64;
        let issued =
            async |connection: &mut PgConnection| Ok(tickets::issue(connection, digest, claims, millis).await?);
        moment(self.connections.transaction(issued).await?)
    }

    async fn find_ticket(&self, digest: &[u8]) -> Result<Option<String>, StoreError> {
        self.connections.transaction(async |connection| Ok(tickets::find(connection, digest).await?)).await
    }

    async fn use_ticket(&self, digest: &[u8], may_commit: MayCommit<'_>) -> Result<TicketUse, StoreError> {
        let using = async |connection: &mut PgConnection| Ok(tickets::use_up(connection, digest).await?);
        let (ticket, ending) = self.connections.transaction_if(may_commit, using).await?;
        Ok(TicketUse::of(ticket, ending))
    }

    async fn restore_ticket(&self, ticket: &UsedTicket) -> Result<(), StoreError> {
        self.connections.transaction(async |connection| Ok(tickets::restore(connection, ticket).await?)).await
    }

    async fn forget_tickets(&self) -> Result<u64, StoreError> {
        self.connections.transaction(async |connection| Ok(tickets::forget(connection).await?)).await
    }

    async fn dead_letters_of(&self, topic: &str, keys: &[Vec<u8>]) -> Result<Vec<KeptDeadLetter>, StoreError> {
        self.connections
            .transaction(async |connection| Ok(progress::dead_letters_of(connection, topic, keys).await?))
            .await
    }
}

#[async_trait]
impl DeadLetterStore for PostgresStore {
    async fn held_dead_letters(&self, topic: &str, after: i64) -> Result<Vec<StoredDeadLetter>, StoreError> {
        self.connections.transaction(async |connection| replays::held(connection, topic, after).await).await
    }

    async fn epoch_of(&self, topic: &str, record: RecordId) -> Result<Option<Epoch>, StoreError> {
        self.connections.transaction(async |connection| replays::epoch(connection, topic, record).await).await
    }

    async fn replays(&self, topic: &str) -> Result<Vec<Replay>, StoreError> {
        self.connections.transaction(async |connection| replays::all(connection, topic).await).await
    }

    async fn begin_replay(&self, topic: &str, record: RecordId, again: bool) -> Result<bool, StoreError> {
        self.connections.transaction(async |connection| replays::begin(connection, topic, record, again).await).await
    }

    async fn end_replay(&self, topic: &str, record: RecordId, sent_to: Option<(i32, i64)>) -> Result<(), StoreError> {
        self.connections.transaction(async |connection| replays::end(connection, topic, record, sent_to).await).await
    }
}
