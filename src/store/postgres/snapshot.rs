//! The snapshot: progress and rows as they were at one moment.

use sqlx::{postgres::PgConnection, query};

use crate::{
    domain::{Snapshot, SnapshotQuery},
    store::{
        StoreError,
        gather::{gather, limit},
    },
};

/// The snapshot statement; $1 topic, $2 users, $3 the moment up to which terminal orders are left out, $4 order ids, $5 how
/// many listed orders are too many: then they are counted up to there, and not read.
///
/// One plain statement sees one state of the database, so all that belongs to a snapshot is in it: rows of positions
/// (kind 0), of orders (1), of markers (2), and the counts by user (3), under the column names of orders. The lateral joins with their limits
/// make the planner fetch each user's and each order's rows by the index, whatever it believes about their number: the
/// tables may be far larger than what is asked, and freshly loaded ones have no statistics.
pub const SNAPSHOT: &str = "
    with listed as materialized (
        select v.user_id, v.order_id
        from unnest($2::text[]) as viewer (user_id)
        cross join lateral (
            select order_viewers.user_id, order_viewers.order_id from order_viewers
            where order_viewers.user_id = viewer.user_id and order_viewers.terminal_at > $3
            offset 0
        ) as v
        limit $5
    )
    select 0 as kind, log_id as order_id, null as user_id, null as viewers, null as status, null::boolean as terminal,
           generation::bigint as version_number, null::bigint as version_epoch, null::bigint as epoch, partition,
           next_offset as log_offset, null::bigint as occurred_at, null as details, null as event_id, null as timeline
    from progress where topic = $1
    union all
    select 1, o.order_id, o.user_id, o.viewers, o.status, o.terminal, o.version_number, o.version_epoch, o.epoch,
           o.partition, o.log_offset, o.occurred_at, o.details, o.event_id, o.timeline
    from (
        select order_id from listed where (select count(*) from listed) < $5
        union
        select unnest($4::text[])
    ) as wanted
    cross join lateral (select * from orders where order_id = wanted.order_id limit 1) as o
    union all
    select 2, e.order_id, null, null, null, null, e.version_number, e.version_epoch, e.epoch, e.partition,
           e.log_offset, null, null, null, null
    from unnest($4::text[]) as named (order_id)
    cross join lateral (select * from erased_orders where order_id = named.order_id limit 1) as e
    union all
    select 3, user_id, null, null, null, null, null, null, null, null, count(*), null, null, null, null
    from listed group by user_id";

pub(super) async fn read(
    connection: &mut PgConnection,
    topic: &str,
    asked: &SnapshotQuery,
) -> Result<Snapshot, StoreError> {
    let users: Vec<&str> = asked.users.iter().map(|user| user.as_str()).collect();
    let orders: Vec<&str> = asked.orders.iter().map(|order| order.as_str()).collect();
    let rows = query(SNAPSHOT)
        .persistent(false)
        .bind(topic)
        .bind(users)
        .bind(asked.terminal_since.map_or(i64::MIN, |since| since.as_millis()))
        .bind(orders)
        .bind(limit(asked))
        .fetch_all(connection)
        .await?;
    gather(asked, &rows)
}
