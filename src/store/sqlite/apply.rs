//! A batch: the rows it touches, and the writes that the plan asks for. One transaction, which has the write lock.

use hashbrown::HashMap;
use sqlx::{Executor, query_as, sqlite::SqliteConnection};

use super::{progress, write};
use crate::{
    domain::{History, OrderEvent, OrderId},
    store::{
        Applied, Batch, RejectedEvent, StoreError,
        culprits::{self, Trial},
        plan::{self, Lives, Plan},
        rows::{MarkerRow, OrderRow, json},
    },
};

const ORDERS: &str = "
    select order_id, user_id, viewers, status, terminal, version_number, version_epoch, epoch, partition, log_offset,
           occurred_at, details, event_id, timeline
    from json_each(?1) as touched cross join orders on order_id = touched.value";

const MARKERS: &str = "
    select order_id, version_number, version_epoch, epoch, partition, log_offset
    from json_each(?1) as touched cross join erased_orders on order_id = touched.value";

pub(super) async fn apply(connection: &mut SqliteConnection, batch: &Batch) -> Result<Applied, StoreError> {
    plan::check_positions(batch, &progress::partitions(connection, &batch.topic).await?)?;
    let applied = apply_events(connection, batch, &plan::events_of(batch), batch.version_jump).await?;
    write::progress(connection, batch).await?;
    write::dead_letters(connection, batch).await?;
    Ok(applied)
}

async fn apply_events(
    connection: &mut SqliteConnection,
    batch: &Batch,
    events: &[&OrderEvent],
    version_jump: u64,
) -> Result<Applied, StoreError> {
    let stored = stored(connection, &plan::orders_of(events)).await?;
    let mut lives = Lives::of(batch);
    if lives.are_too_few(events, &stored)
        && let Some(part) = batch.partitions.first()
    {
        lives.extend(progress::lives(connection, &batch.topic, &part.log_id).await?);
    }
    let plan = Plan::fold(events, &stored, &lives, version_jump)?;
    write::plan(connection, &plan).await?;
    Ok(plan.applied)
}

/// What is known of these orders.
pub(super) async fn rows(connection: &mut SqliteConnection, orders: &[&str]) -> Result<Vec<OrderRow>, StoreError> {
    Ok(query_as(ORDERS).bind(json(&orders)).fetch_all(connection).await?)
}

async fn stored(connection: &mut SqliteConnection, orders: &[&str]) -> Result<HashMap<OrderId, History>, StoreError> {
    let mut stored: HashMap<OrderId, History> = HashMap::new();
    for row in rows(connection, orders).await? {
        stored.extend([row.into_history()?.0]);
    }
    let rows: Vec<MarkerRow> = query_as(MARKERS).bind(json(&orders)).fetch_all(connection).await?;
    for row in rows {
        stored.extend([row.into_history()?]);
    }
    Ok(stored)
}

/// The events of `batch` whose data the database refuses. Changes nothing that outlives the transaction's rollback.
pub(super) async fn find_culprits(
    connection: &mut SqliteConnection,
    batch: &Batch,
) -> Result<Vec<RejectedEvent>, StoreError> {
    culprits::find(&mut Savepoint(connection, batch), plan::events_of(batch)).await
}

struct Savepoint<'c>(&'c mut SqliteConnection, &'c Batch);

impl Trial for Savepoint<'_> {
    async fn try_events(&mut self, events: &[&OrderEvent]) -> Result<Result<(), String>, StoreError> {
        self.0.execute("savepoint trial").await?;
        let said = match apply_events(self.0, self.1, events, u64::MAX).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.data_refusal().ok_or(error)?),
        };
        self.0.execute("rollback to trial; release trial").await?;
        Ok(said)
    }
}
