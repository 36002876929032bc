//! A store that refuses some of what it is asked, as a database might, and passes the rest on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ordercast::{
    domain::{Lifecycle, OrderId, Progress, Snapshot, SnapshotQuery, Timestamp},
    store::{
        Applied, Batch, ErasedStretch, HaltFinding, KeptDeadLetter, ListRow, MayCommit, ProgressReading, RejectedEvent,
        Relocation, Restated, Store, StoreError, TicketUse, TopicOpening, UsedTicket,
    },
};

pub(super) struct Faulty {
    pub(super) inner: Arc<dyn Store>,
    /// Events of this order are refused.
    pub(super) order: &'static str,
    /// A statement that asks for this user is refused.
    pub(super) user: &'static str,
    /// The answer to the next commit of a ticket's use is lost.
    pub(super) loses_commits: AtomicBool,
}

#[async_trait]
impl Store for Faulty {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.inner.migrate().await
    }

    async fn check_schema(&self) -> Result<(), StoreError> {
        self.inner.check_schema().await
    }

    async fn open_topic(&self, opening: &TopicOpening) -> Result<Vec<Progress>, StoreError> {
        self.inner.open_topic(opening).await
    }

    async fn progress(&self, topic: &str, after_dead_letter: i64) -> Result<ProgressReading, StoreError> {
        self.inner.progress(topic, after_dead_letter).await
    }

    async fn apply(&self, batch: &Batch) -> Result<Applied, StoreError> {
        let events = batch.partitions.iter().flat_map(|part| &part.events);
        let refused = events
            .filter(|event| event.order_id.as_str() == self.order)
            .map(|event| RejectedEvent { stamp: event.stamp, message: "on purpose".into() });
        match refused.collect::<Vec<_>>() {
            refused if refused.is_empty() => self.inner.apply(batch).await,
            refused => Err(StoreError::Rejected(refused)),
        }
    }

    async fn relocate(&self, relocation: &Relocation) -> Result<(), StoreError> {
        self.inner.relocate(relocation).await
    }

    async fn set_halt(&self, finding: &HaltFinding) -> Result<(), StoreError> {
        self.inner.set_halt(finding).await
    }

    async fn snapshot(&self, topic: &str, query: &SnapshotQuery) -> Result<Snapshot, StoreError> {
        if query.users.iter().any(|user| user.as_str() == self.user) {
            return Err(StoreError::Refused(sqlx::Error::RowNotFound));
        }
        self.inner.snapshot(topic, query).await
    }

    async fn restate(&self, lifecycle: &Lifecycle, after: Option<&ListRow>) -> Result<Restated, StoreError> {
        self.inner.restate(lifecycle, after).await
    }

    async fn erase_ended(
        &self,
        age: Duration,
        lifecycle: &Lifecycle,
        after: Option<&OrderId>,
    ) -> Result<ErasedStretch, StoreError> {
        self.inner.erase_ended(age, lifecycle, after).await
    }

    async fn forget_erased(&self, life: Duration) -> Result<u64, StoreError> {
        self.inner.forget_erased(life).await
    }

    async fn issue_ticket(&self, digest: &[u8], claims: &str, lifetime: Duration) -> Result<Timestamp, StoreError> {
        self.inner.issue_ticket(digest, claims, lifetime).await
    }

    async fn find_ticket(&self, digest: &[u8]) -> Result<Option<String>, StoreError> {
        self.inner.find_ticket(digest).await
    }

    async fn use_ticket(&self, digest: &[u8], may_commit: MayCommit<'_>) -> Result<TicketUse, StoreError> {
        let used = self.inner.use_ticket(digest, may_commit).await?;
        match used {
            TicketUse::Used(ticket) if self.loses_commits.swap(false, Ordering::Relaxed) => {
                Ok(TicketUse::Unknown(ticket, StoreError::Refused(sqlx::Error::RowNotFound)))
            }
            used => Ok(used),
        }
    }

    async fn restore_ticket(&self, ticket: &UsedTicket) -> Result<(), StoreError> {
        self.inner.restore_ticket(ticket).await
    }

    async fn forget_tickets(&self) -> Result<u64, StoreError> {
        self.inner.forget_tickets().await
    }

    async fn dead_letters_of(&self, topic: &str, keys: &[Vec<u8>]) -> Result<Vec<KeptDeadLetter>, StoreError> {
        self.inner.dead_letters_of(topic, keys).await
    }
}
