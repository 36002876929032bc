//! The snapshot: progress and rows as they were at one moment.

use sqlx::{query, sqlite::SqliteConnection};

use crate::{
    domain::{Snapshot, SnapshotQuery},
    store::{StoreError, gather::gather, lists::Lists, rows::json},
};

/// One statement, as on PostgreSQL: positions (kind 0), orders (1), markers (2) and ends of lists (3), under the column
/// names of orders. There are no lateral joins, so each viewer's list is one JSON array. `cross join` keeps SQLite from
/// reading the large table first.
const SNAPSHOT: &str = "
    with listed as materialized (
        select viewer.key + 1 as number, viewer.value ->> 'max_orders' as max_orders, place.key + 1 as rank,
               place.value ->> 0 as order_id, place.value ->> 1 as changed_at
        from json_each(?2) as viewer
        cross join json_each((
            select json_group_array(json_array(order_id, changed_at))
            from (
                select order_id, changed_at
                from (
                    select * from (
                        select order_id, terminal_at - 4611686018427387904 as changed_at from order_viewers
                        where user_id = viewer.value ->> 'user_id' and terminal_at >= 2305843009213693952
                          and (terminal_at, order_id)
                              < (viewer.value ->> 'before_open', viewer.value ->> 'before_id')
                        order by terminal_at desc, order_id desc limit ?5
                    )
                    union all
                    select * from (
                        select order_id, terminal_at from order_viewers
                        where user_id = viewer.value ->> 'user_id' and terminal_at > ?3
                          and (terminal_at, order_id)
                              < (viewer.value ->> 'before_ended', viewer.value ->> 'before_id')
                        order by terminal_at desc, order_id desc limit ?5
                    )
                )
                order by changed_at desc, order_id desc limit ?5
            )
        )) as place
        where place.key <= viewer.value ->> 'max_orders'
    )
    select 0 as kind, log_id as order_id, null as user_id, null as viewers, null as status, null as terminal,
           generation as version_number, null as version_epoch, null as epoch, partition,
           next_offset as log_offset, null as occurred_at, null as details, null as event_id, null as timeline
    from progress where topic = ?1
    union all
    select 1, o.order_id, o.user_id, o.viewers, o.status, o.terminal, o.version_number, o.version_epoch, o.epoch,
           o.partition, o.log_offset, o.occurred_at, o.details, o.event_id, o.timeline
    from (
        select order_id from listed where rank <= max_orders
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
    select 3, order_id, null, null, null, null, number, null, null, null, rank, changed_at, null, null, null
    from listed where rank >= max_orders";

pub(super) async fn read(
    connection: &mut SqliteConnection,
    topic: &str,
    asked: &SnapshotQuery,
) -> Result<Snapshot, StoreError> {
    let lists = Lists::of(asked);
    let rows = query(SNAPSHOT)
        .bind(topic)
        .bind(json(&lists.viewers()))
        .bind(asked.terminal_since.map_or(i64::MIN, |since| since.as_millis()))
        .bind(json(&asked.orders))
        .bind(lists.limit())
        .fetch_all(connection)
        .await?;
    gather(asked, &lists, &rows)
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, Row, migrate::Migrator};

    use super::*;

    #[tokio::test]
    async fn each_half_of_a_list_is_read_in_its_order_by_the_index() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let migrator: Migrator = sqlx::migrate!("migrations/sqlite");
        migrator.run_direct(None, &mut connection, false).await.unwrap();
        let explain = sqlx::AssertSqlSafe(format!("explain query plan {SNAPSHOT}"));
        let rows = query(explain).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        let lists: Vec<&String> = plan.iter().filter(|step| step.contains("order_viewers")).collect();
        let by_index = |step: &&String| step.starts_with("SEARCH") && step.contains("user_id=? AND terminal_at>?");
        assert!(lists.len() == 2 && lists.iter().all(by_index), "{plan:#?}");
        let sorts = plan.iter().filter(|step| step.contains("TEMP B-TREE FOR ORDER BY")).count();
        assert!(sorts <= 1, "only both halves together are sorted: {plan:#?}");
    }
}
