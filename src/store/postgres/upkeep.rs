//! Rows that are put right although no record asks for it.

use sqlx::{postgres::PgConnection, query_as};

use super::{apply, write};
use crate::{
    domain::Lifecycle,
    store::{ListRow, Restated, StoreError, plan::Plan, rows::ViewerRow, upkeep::STRETCH},
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
    let read = Plan::restate(&rows, &apply::stored(connection, &orders).await?, lifecycle);
    let wrong = read.touched();
    if wrong.is_empty() {
        return Ok(Restated::after(&rows));
    }
    let stored = apply::lock_stored(connection, &wrong).await?;
    let rows_of_wrong: Vec<ViewerRow> =
        rows.iter().filter(|row| wrong.binary_search(&row.order_id.as_str()).is_ok()).cloned().collect();
    let plan = Plan::restate(&rows_of_wrong, &stored, lifecycle);
    write::restate(connection, &plan).await?;
    Ok(Restated::after(&rows).with(&plan))
}
