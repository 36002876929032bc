//! Rows that are put right although no record asks for it.

use std::time::Duration;

use sqlx::{query_as, query_scalar, sqlite::SqliteConnection};

use super::{apply, write};
use crate::{
    domain::{Lifecycle, OrderId},
    store::{
        ErasedStretch, ListRow, Restated, StoreError,
        plan::Plan,
        rows::{OrderRow, ViewerRow, json},
        upkeep::STRETCH,
    },
};

const LIST_ROWS: &str = "
    select user_id, terminal_at, order_id from order_viewers
    where (user_id, terminal_at, order_id) > (?1, ?2, ?3) order by user_id, terminal_at, order_id limit ?4";

/// Nobody else writes meanwhile.
pub(super) async fn restate(
    connection: &mut SqliteConnection,
    lifecycle: &Lifecycle,
    after: Option<&ListRow>,
) -> Result<Restated, StoreError> {
    let rows: Vec<ViewerRow> = query_as(LIST_ROWS)
        .bind(after.map_or("", |after| &after.user_id))
        .bind(after.map_or(i64::MIN, |after| after.terminal_at))
        .bind(after.map_or("", |after| &after.order_id))
        .bind(STRETCH)
        .fetch_all(&mut *connection)
        .await?;
    let orders: Vec<&str> = rows.iter().map(|row| row.order_id.as_str()).collect();
    let (stored, restated) = Restated::after(&rows).reading(apply::rows(connection, &orders).await?);
    let plan = Plan::restate(&restated.readable(rows), &stored, lifecycle);
    write::restate(connection, &plan).await?;
    Ok(restated.with(&plan))
}

const ORDER_IDS: &str = "select order_id from orders where order_id > ?1 order by order_id limit ?2";

const ENDED: &str = "
    select order_id, user_id, viewers, status, terminal, version_number, version_epoch, epoch, partition, log_offset,
           occurred_at, details, event_id, timeline
    from json_each(?1) as looked_at cross join orders on order_id = looked_at.value
    where terminal and updated_at <= cast(unixepoch('subsec') * 1000 as integer) - ?2
      and occurred_at <= cast(unixepoch('subsec') * 1000 as integer) - ?2";

/// Nobody else writes meanwhile.
pub(super) async fn erase_ended(
    connection: &mut SqliteConnection,
    age: Duration,
    lifecycle: &Lifecycle,
    after: Option<&OrderId>,
) -> Result<ErasedStretch, StoreError> {
    let orders: Vec<String> = query_scalar(ORDER_IDS)
        .bind(after.map_or("", OrderId::as_str))
        .bind(STRETCH)
        .fetch_all(&mut *connection)
        .await?;
    let rows: Vec<OrderRow> =
        query_as(ENDED).bind(json(&orders)).bind(age.as_millis() as i64).fetch_all(&mut *connection).await?;
    // One that cannot be read stays, and holds up no other.
    let stored = rows.into_iter().filter_map(|row| Some(row.into_history().ok()?.0));
    let plan = Plan::erase_ended(stored, lifecycle);
    write::plan(connection, &plan).await?;
    Ok(ErasedStretch::of(&orders, &plan))
}
