//! A batch: the locks, the rows it touches, and the writes that the plan asks for. One transaction.

use hashbrown::HashMap;
use sqlx::{Executor, postgres::PgConnection, query_as};

use super::{progress, write};
use crate::{
    domain::{History, OrderEvent, OrderId, Progress},
    store::{
        Applied, Batch, RejectedEvent, StoreError,
        culprits::{self, Trial},
        plan::{self, Lives, Plan},
        reading::ProgressRow,
        rows::{MarkerRow, OrderRow},
    },
};

const LOCK_PROGRESS: &str = "
    select partition, log_id, generation, next_offset, last_offset, last_digest
    from progress where topic = $1 and partition = any($2) order by partition for update";

const LOCK_ORDERS: &str = "
    select order_id, user_id, viewers, status, terminal, version_number, version_epoch, epoch, partition, log_offset,
           occurred_at, details, event_id, timeline
    from orders where order_id = any($1) order by order_id for update";

const READ_ORDERS: &str = "
    select order_id, user_id, viewers, status, terminal, version_number, version_epoch, epoch, partition, log_offset,
           occurred_at, details, event_id, timeline
    from orders where order_id = any($1)";

const LOCK_MARKERS: &str = "
    select order_id, version_number, version_epoch, epoch, partition, log_offset
    from erased_orders where order_id = any($1) order by order_id for update";

/// What a batch touches it names by keys, so every row is had by its index. The planner, asked about hundreds of keys at once, takes
/// tables of some ten thousand rows for short enough to be read whole instead, several times for each batch.
const BY_INDEX: &str =
    "set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off";

/// Locks are taken in one order everywhere, so that two recorders wait for each other but never in a circle: progress
/// by partition, then orders by id.
pub(super) async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<Applied, StoreError> {
    connection.execute(BY_INDEX).await?;
    let partitions: Vec<i32> = batch.partitions.iter().map(|part| part.partition).collect();
    let stored: Vec<ProgressRow> = query_as(LOCK_PROGRESS)
        .persistent(false)
        .bind(&batch.topic)
        .bind(partitions)
        .fetch_all(&mut *connection)
        .await?;
    let stored: Vec<Progress> = stored.into_iter().map(Progress::from).collect();
    plan::check_positions(batch, &stored)?;
    let applied = apply_events(connection, batch, &plan::events_of(batch), batch.version_jump).await?;
    write::progress(connection, batch).await?;
    write::dead_letters(connection, batch).await?;
    Ok(applied)
}

async fn apply_events(
    connection: &mut PgConnection,
    batch: &Batch,
    events: &[&OrderEvent],
    version_jump: u64,
) -> Result<Applied, StoreError> {
    let stored = lock_stored(connection, &plan::orders_of(events)).await?;
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

/// The orders among these, as they are now.
pub(super) async fn rows(connection: &mut PgConnection, orders: &[&str]) -> Result<Vec<OrderRow>, StoreError> {
    Ok(query_as(READ_ORDERS).persistent(false).bind(orders).fetch_all(connection).await?)
}

pub(super) async fn lock_stored(
    connection: &mut PgConnection,
    orders: &[&str],
) -> Result<HashMap<OrderId, History>, StoreError> {
    let mut stored = HashMap::with_capacity(orders.len());
    let rows: Vec<OrderRow> = query_as(LOCK_ORDERS).persistent(false).bind(orders).fetch_all(&mut *connection).await?;
    for row in rows {
        stored.extend([row.into_history()?.0]);
    }
    let others: Vec<&str> = orders.iter().copied().filter(|&order| !stored.contains_key(order)).collect();
    if !others.is_empty() {
        let rows: Vec<MarkerRow> = query_as(LOCK_MARKERS).persistent(false).bind(others).fetch_all(connection).await?;
        for row in rows {
            stored.extend([row.into_history()?]);
        }
    }
    Ok(stored)
}

/// The events of `batch` whose data the database refuses. Changes nothing that outlives the transaction's rollback.
pub(super) async fn find_culprits(
    connection: &mut PgConnection,
    batch: &Batch,
) -> Result<Vec<RejectedEvent>, StoreError> {
    culprits::find(&mut Savepoint(connection, batch), plan::events_of(batch)).await
}

struct Savepoint<'c>(&'c mut PgConnection, &'c Batch);

impl Trial for Savepoint<'_> {
    async fn try_events(&mut self, events: &[&OrderEvent]) -> Result<Result<(), String>, StoreError> {
        self.0.execute("savepoint trial").await?;
        let outcome = apply_events(self.0, self.1, events, u64::MAX).await;
        let said = match outcome {
            Ok(_) => Ok(()),
            Err(error) => Err(error.data_refusal().ok_or(error)?),
        };
        self.0.execute("rollback to savepoint trial; release savepoint trial").await?;
        Ok(said)
    }
}
