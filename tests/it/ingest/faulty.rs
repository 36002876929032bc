//! A store that refuses some of what it is asked, as a database might, and passes the rest on.

use std::sync::Arc;

use async_trait::async_trait;
use ordercast::{
    event::{Snapshot, SnapshotQuery, Timestamp},
    store::{Applied, Batch, Progress, ProgressReading, RejectedEvent, Relocation, Store, StoreError, TopicOpening},
};

pub(super) struct Faulty {
    pub(super) inner: Arc<dyn Store>,
    /// Events of this order are refused.
    pub(super) order: &'static str,
    /// A statement that asks for this user is refused.
    pub(super) user: &'static str,
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
        let refused = events.filter(|event| event.order_id.as_str() == self.order).map(|event| RejectedEvent {
            partition: event.stamp.partition,
            offset: event.stamp.offset,
            message: "on purpose".into(),
        });
        match refused.collect::<Vec<_>>() {
            refused if refused.is_empty() => self.inner.apply(batch).await,
            refused => Err(StoreError::Rejected(refused)),
        }
    }

    async fn relocate(&self, relocation: &Relocation) -> Result<(), StoreError> {
        self.inner.relocate(relocation).await
    }

    async fn snapshot(&self, topic: &str, query: &SnapshotQuery) -> Result<Snapshot, StoreError> {
        if query.users.iter().any(|user| user.as_str() == self.user) {
            return Err(StoreError::Refused(sqlx::Error::RowNotFound));
        }
        self.inner.snapshot(topic, query).await
    }

    async fn forget_erased(&self, erased_before: Timestamp) -> Result<u64, StoreError> {
        self.inner.forget_erased(erased_before).await
    }
}
