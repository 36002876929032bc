//! The snapshot: progress and rows as they were at one moment.

use sqlx::{
    postgres::{PgBindIterExt, PgConnection},
    query,
};

use crate::{
    domain::{Snapshot, SnapshotQuery},
    store::{StoreError, gather::gather, lists::Lists},
};

/// The snapshot statement. What it is given and what it gives stands in the migration that makes the function.
const SNAPSHOT: &str = "select * from read_snapshot($1, $2, $3, $4, $5, $6, $7, $8, $9)";

pub(super) async fn read(
    connection: &mut PgConnection,
    topic: &str,
    asked: &SnapshotQuery,
) -> Result<Snapshot, StoreError> {
    let lists = Lists::of(asked);
    let viewers = lists.viewers();
    let orders: Vec<&str> = asked.orders.iter().map(|order| order.as_str()).collect();
    let rows = query(SNAPSHOT)
        .persistent(false)
        .bind(topic)
        .bind(viewers.iter().map(|viewer| viewer.user_id).bind_iter())
        .bind(asked.terminal_since.map_or(i64::MIN, |since| since.as_millis()))
        .bind(orders)
        .bind(lists.limit())
        .bind(viewers.iter().map(|viewer| viewer.before_open).bind_iter())
        .bind(viewers.iter().map(|viewer| viewer.before_ended).bind_iter())
        .bind(viewers.iter().map(|viewer| viewer.before_id).bind_iter())
        .bind(viewers.iter().map(|viewer| viewer.max_orders).bind_iter())
        .fetch_all(connection)
        .await?;
    gather(asked, &lists, &rows)
}
