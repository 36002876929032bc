//! Rows that are put right although no record asks for it.

use sqlx::{query_as, sqlite::SqliteConnection};

use super::{apply, write};
use crate::{
    domain::Lifecycle,
    store::{ListRow, Restated, StoreError, plan::Plan, rows::ViewerRow, upkeep::STRETCH},
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
    let plan = Plan::restate(&rows, &apply::stored(connection, &orders).await?, lifecycle);
    write::restate(connection, &plan).await?;
    Ok(Restated::after(&rows).with(&plan))
}
