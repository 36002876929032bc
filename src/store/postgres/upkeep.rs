//! Rows that are put right although no record asks for it.

use std::time::Duration;

use sqlx::{postgres::PgConnection, query_as, query_scalar};

use super::{apply, write};
use crate::{
    domain::{Lifecycle, OrderId},
    store::{
        ErasedStretch, ListRow, Restated, StoreError,
        plan::Plan,
        rows::{OrderRow, ViewerRow},
        upkeep::STRETCH,
    },
};

const LIST_ROWS: &str = "
    select user_id, terminal_at, order_id from order_viewers
    where (user_id, terminal_at, order_id) > ($1, $2, $3) order by user_id, terminal_at, order_id limit $4";

/// Locks only the orders that are wrong, and looks at them again then: a recorder may have been faster.
pub(super) async fn restate(
    connection: &mut PgConnection,
    lifecycle: &Lifecycle,
    after: Option<&ListRow>,
) -> Result<Restated, StoreError> {
    let rows: Vec<ViewerRow> = query_as(LIST_ROWS)
        .persistent(false)
        .bind(after.map_or("", |after| &after.user_id))
        .bind(after.map_or(i64::MIN, |after| after.terminal_at))
        .bind(after.map_or("", |after| &after.order_id))
        .bind(STRETCH)
        .fetch_all(&mut *connection)
        .await?;
    let orders: Vec<&str> = rows.iter().map(|row| row.order_id.as_str()).collect();
    let (stored, restated) = Restated::after(&rows).reading(apply::rows(connection, &orders).await?);
    let rows = restated.readable(rows);
    let read = Plan::restate(&rows, &stored, lifecycle);
    let wrong = read.touched();
    if wrong.is_empty() {
        return Ok(restated);
    }
    let stored = apply::lock_stored(connection, &wrong).await?;
    let rows_of_wrong: Vec<ViewerRow> =
        rows.into_iter().filter(|row| wrong.binary_search(&row.order_id.as_str()).is_ok()).collect();
    let plan = Plan::restate(&rows_of_wrong, &stored, lifecycle);
    write::restate(connection, &plan).await?;
    Ok(restated.with(&plan))
}

const ORDER_IDS: &str = "select order_id from orders where order_id > $1 order by order_id limit $2";

const LOCK_ENDED: &str = "
    select order_id, user_id, viewers, status, terminal, version_number, version_epoch, epoch, partition, log_offset,
           occurred_at, details, event_id, timeline
    from orders
    where order_id = any($1) and terminal and updated_at <= now() - make_interval(secs => $2)
      and occurred_at <= (extract(epoch from now() - make_interval(secs => $2)) * 1000)::bigint
    order by order_id for update skip locked";

/// Skips what a recorder holds at this moment: it changes.
pub(super) async fn erase_ended(
    connection: &mut PgConnection,
    age: Duration,
    lifecycle: &Lifecycle,
    after: Option<&OrderId>,
) -> Result<ErasedStretch, StoreError> {
    let orders: Vec<String> = query_scalar(ORDER_IDS)
        .persistent(false)
        .bind(after.map_or("", OrderId::as_str))
        .bind(STRETCH)
        .fetch_all(&mut *connection)
        .await?;
    let rows: Vec<OrderRow> = query_as(LOCK_ENDED)
        .persistent(false)
        .bind(&orders)
        .bind(age.as_secs_f64())
        .fetch_all(&mut *connection)
        .await?;
    // One that cannot be read stays, and holds up no other.
    let stored = rows.into_iter().filter_map(|row| Some(row.into_history().ok()?.0));
    let plan = Plan::erase_ended(stored, lifecycle);
    write::plan(connection, &plan).await?;
    Ok(ErasedStretch::of(&orders, &plan))
}
