//! The snapshot: progress and rows as they were at one moment.

use sqlx::{query, sqlite::SqliteConnection};

use crate::{
    domain::{Snapshot, SnapshotQuery},
    store::{
        StoreError,
        gather::{gather, limit},
        rows::json,
    },
};

/// One statement, as on PostgreSQL: positions (kind 0), orders (1), markers (2) and how many are listed by user (3).
/// `cross join` keeps SQLite from reading the large table first.
const SNAPSHOT: &str = "
    with listed as materialized (
        select v.user_id, v.order_id from json_each(?2) as viewer
        cross join order_viewers v on v.user_id = viewer.value and v.terminal_at > ?3
        limit ?5
    )
    select 0 as kind, log_id as order_id, null as user_id, null as viewers, null as status, null as terminal,
           generation as version_number, null as version_epoch, null as epoch, partition,
           next_offset as log_offset, null as occurred_at, null as details, null as event_id, null as timeline
    from progress where topic = ?1
    union all
    select 1, o.order_id, o.user_id, o.viewers, o.status, o.terminal, o.version_number, o.version_epoch, o.epoch,
           o.partition, o.log_offset, o.occurred_at, o.details, o.event_id, o.timeline
    from (
        select order_id from listed where (select count(*) from listed) < ?5
        union
        select value from json_each(?4)
    ) as wanted
    cross join orders o on o.order_id = wanted.order_id
    union all
    select 2, e.order_id, null, null, null, null, e.version_number, e.version_epoch, e.epoch, e.partition,
           e.log_offset, null, null, null, null
    from json_each(?4) as named
    cross join erased_orders e on e.order_id = named.value
    union all
    select 3, user_id, null, null, null, null, null, null, null, null, count(*), null, null, null, null
    from listed group by user_id";

pub(super) async fn read(
    connection: &mut SqliteConnection,
    topic: &str,
    asked: &SnapshotQuery,
) -> Result<Snapshot, StoreError> {
    let rows = query(SNAPSHOT)
        .bind(topic)
        .bind(json(&asked.users))
        .bind(asked.terminal_since.map_or(i64::MIN, |since| since.as_millis()))
        .bind(json(&asked.orders))
        .bind(limit(asked))
        .fetch_all(connection)
        .await?;
    gather(asked, &rows)
}
