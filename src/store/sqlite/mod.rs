//! The store on SQLite, for one instance: statements only. What to write is decided in `plan`, which both dialects share.
//!
//! Batches are written row by row: there is no round trip to save.

mod apply;
mod connections;
mod progress;
mod replays;
mod snapshot;
mod tickets;
mod upkeep;
mod write;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{
    migrate::{MigrateError, Migrator},
    sqlite::SqliteConnection,
};

use self::connections::Connections;
use super::{
    Applied, Batch, DeadLetterStore, ErasedStretch, HaltFinding, InvalidUrl, KeptDeadLetter, ListRow, MayCommit,
    PoolLimits, ProgressReading, RecordId, Relocation, Replay, Restated, Store, StoreError, StoredDeadLetter,
    TicketUse, TopicOpening, UsedTicket, rows::moment, schema, tickets::Ending,
};
use crate::domain::{Epoch, Lifecycle, OrderId, Progress, Snapshot, SnapshotQuery, Timestamp};

/// A writing connection and some reading ones to one file.
pub(super) struct SqliteStore {
    connections: Connections,
}

impl SqliteStore {
    pub(super) fn new(url: &str, limits: PoolLimits) -> Result<Self, InvalidUrl> {
        Ok(Self { connections: Connections::new(url, limits)? })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.connections.use_write_ahead_log().await?;
        let mut transaction = self.connections.write().await?;
        match migrator().run_direct(None, &mut *transaction, false).await {
            Err(MigrateError::VersionMissing(_)) => check_schema(&mut transaction).await,
            Err(error) => Err(error.into()),
            Ok(()) => Ok(transaction.commit().await?),
        }
    }

    async fn check_schema(&self) -> Result<(), StoreError> {
        check_schema(&mut *self.connections.read().await?).await
    }

    async fn open_topic(&self, opening: &TopicOpening) -> Result<Vec<Progress>, StoreError> {
        let mut transaction = self.connections.write().await?;
        let progress = progress::open_topic(&mut transaction, opening).await?;
        transaction.commit().await?;
        Ok(progress)
    }

    async fn progress(&self, topic: &str, after_dead_letter: i64) -> Result<ProgressReading, StoreError> {
        progress::read(&mut *self.connections.read().await?, topic, after_dead_letter).await
    }

    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        let mut transaction = self.connections.write().await?;
        match apply::apply(&mut transaction, batch).await {
            Ok(applied) => {
                transaction.commit().await?;
                Ok(applied)
            }
            Err(error) if error.data_refusal().is_some() => {
                transaction.rollback().await?;
                let mut transaction = self.connections.write().await?;
                match apply::find_culprits(&mut transaction, batch).await? {
                    culprits if culprits.is_empty() => Err(error),
                    culprits => Err(StoreError::Rejected(culprits)),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn relocate(&self, relocation: &Relocation) -> Result<(), StoreError> {
        let mut transaction = self.connections.write().await?;
        progress::relocate(&mut transaction, relocation).await?;
        Ok(transaction.commit().await?)
    }

    async fn set_halt(&self, finding: &HaltFinding) -> Result<(), StoreError> {
        let mut transaction = self.connections.write().await?;
        progress::set_halt(&mut transaction, finding).await?;
        Ok(transaction.commit().await?)
    }

    async fn snapshot(&self, topic: &str, query: &SnapshotQuery) -> Result<Snapshot, StoreError> {
        snapshot::read(&mut *self.connections.read().await?, topic, query).await
    }

    async fn restate(&self, lifecycle: &Lifecycle, after: Option<&ListRow>) -> Result<Restated, StoreError> {
        let mut transaction = self.connections.write().await?;
        let restated = upkeep::restate(&mut transaction, lifecycle, after).await?;
        transaction.commit().await?;
        Ok(restated)
    }

    async fn erase_ended(
        &self,
        age: Duration,
        lifecycle: &Lifecycle,
        after: Option<&OrderId>,
    ) -> Result<ErasedStretch, StoreError> {
        let mut transaction = self.connections.write().await?;
        let erased = upkeep::erase_ended(&mut transaction, age, lifecycle, after).await?;
        transaction.commit().await?;
        Ok(erased)
    }

    async fn forget_erased(&self, life: Duration) -> Result<u64, StoreError> {
        let mut transaction = self.connections.write().await?;
        let forgotten = write::forget_erased(&mut transaction, life).await?;
        transaction.commit().await?;
        Ok(forgotten)
    }

    async fn issue_ticket(&self, digest: &[u8], claims: &str, lifetime: Duration) -> Result<Timestamp, StoreError> {
        let mut transaction = self.connections.write().await?;
        let expires_at = tickets::issue(&mut transaction, digest, claims, lifetime.as_millis() as i64).await?;
        transaction.commit().await?;
        moment(expires_at)
    }

    async fn find_ticket(&self, digest: &[u8]) -> Result<Option<String>, StoreError> {
        Ok(tickets::find(&mut *self.connections.read().await?, digest).await?)
    }

    async fn use_ticket(&self, digest: &[u8], may_commit: MayCommit<'_>) -> Result<TicketUse, StoreError> {
        let mut transaction = self.connections.write().await?;
        let ticket = tickets::use_up(&mut transaction, digest).await?;
        let ending = if may_commit() {
            transaction.commit().await.map_or_else(|error| Ending::Unknown(error.into()), |()| Ending::Committed)
        } else {
            transaction.rollback().await?;
            Ending::Withdrawn
        };
        Ok(TicketUse::of(ticket, ending))
    }

    async fn restore_ticket(&self, ticket: &UsedTicket) -> Result<(), StoreError> {
        let mut transaction = self.connections.write().await?;
        tickets::restore(&mut transaction, ticket).await?;
        Ok(transaction.commit().await?)
    }

    async fn forget_tickets(&self) -> Result<u64, StoreError> {
        let mut transaction = self.connections.write().await?;
        let forgotten = tickets::forget(&mut transaction).await?;
        transaction.commit().await?;
        Ok(forgotten)
    }

    async fn dead_letters_of(&self, topic: &str, keys: &[Vec<u8>]) -> Result<Vec<KeptDeadLetter>, StoreError> {
        Ok(progress::dead_letters_of(&mut *self.connections.read().await?, topic, keys).await?)
    }
}

#[async_trait]
impl DeadLetterStore for SqliteStore {
    async fn held_dead_letters(&self, topic: &str, after: i64) -> Result<Vec<StoredDeadLetter>, StoreError> {
        replays::held(&mut *self.connections.read().await?, topic, after).await
    }

    async fn epoch_of(&self, topic: &str, record: RecordId) -> Result<Option<Epoch>, StoreError> {
        replays::epoch(&mut *self.connections.read().await?, topic, record).await
    }

    async fn replays(&self, topic: &str) -> Result<Vec<Replay>, StoreError> {
        replays::all(&mut *self.connections.read().await?, topic).await
    }

    async fn begin_replay(&self, topic: &str, record: RecordId, again: bool) -> Result<bool, StoreError> {
        let mut transaction = self.connections.write().await?;
        let begun = replays::begin(&mut transaction, topic, record, again).await?;
        transaction.commit().await?;
        Ok(begun)
    }

    async fn end_replay(&self, topic: &str, record: RecordId, sent_to: Option<(i32, i64)>) -> Result<(), StoreError> {
        let mut transaction = self.connections.write().await?;
        replays::end(&mut transaction, topic, record, sent_to).await?;
        Ok(transaction.commit().await?)
    }
}

fn migrator() -> Migrator {
    sqlx::migrate!("migrations/sqlite")
}

async fn check_schema(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let exists = "select exists (select 1 from sqlite_master where name = '_sqlx_migrations')";
    let version = "select coalesce(max(version), 0) from _sqlx_migrations where success";
    let found = if sqlx::query_scalar(exists).fetch_one(&mut *connection).await? {
        sqlx::query_scalar(version).fetch_one(connection).await?
    } else {
        0
    };
    schema::compare(found, &migrator())
}
