//! The snapshot statement at a million orders.

use ordercast::store::postgres::SNAPSHOT;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, query};

use crate::store::databases::{Database, TOPIC};

/// 50,000 users with 20 orders each, and one merchant who sees every tenth; the last five percent are not terminal.
/// Somebody has 100,000 orders of one moment, all of which have ended.
const LOAD: &str = r#"
    alter table orders set unlogged;
    alter table order_viewers set unlogged;
    insert into orders (order_id, user_id, viewers, status, terminal, version_number, epoch, partition, log_offset,
                        occurred_at, details, timeline)
    select 'A-' || n, 'u-' || n % 50000, '[]', 'shipped', n <= 950000, 3, 7, n % 12, n, n, '{"carrier":"DHL"}',
           '[{"status":"shipped","version":3,"occurred_at":"2026-11-21T09:30:00.000Z","era":0,"stamp":[7,0,1]}]'
    from generate_series(1, 1000000) as n;
    insert into order_viewers (user_id, terminal_at, order_id)
    select 'u-' || n % 50000, case when n <= 950000 then n else 4611686018427387904 + n end, 'A-' || n
    from generate_series(1, 1000000) as n
    union all
    select 'merchant', case when n <= 950000 then n else 4611686018427387904 + n end, 'A-' || n
    from generate_series(10, 1000000, 10) as n
    union all
    select 'ended', 7, 'A-' || n from generate_series(1, 100000) as n;
    insert into erased_orders (order_id, version_number, epoch, partition, log_offset)
    select 'E-' || n, 3, 7, 0, n from generate_series(1, 100000) as n;
"#;

fn scans<'p>(plan: &'p serde_json::Value, found: &mut Vec<(&'p str, &'p str)>) {
    if let (Some(node), Some(table)) = (plan["Node Type"].as_str(), plan["Relation Name"].as_str()) {
        found.push((node, table));
    }
    for child in plan["Plans"].as_array().into_iter().flatten() {
        scans(child, found);
    }
}

fn assert_uses_indexes(plan: &str, of: &str) {
    let plan: serde_json::Value = serde_json::from_str(plan).unwrap();
    let mut found = Vec::new();
    scans(&plan[0]["Plan"], &mut found);
    for table in ["orders", "order_viewers", "erased_orders"] {
        let nodes: Vec<&str> = found.iter().filter(|scan| scan.1 == table).map(|scan| scan.0).collect();
        assert!(!nodes.is_empty(), "{of}: {table} is not read: {plan:#}");
        assert!(
            nodes.iter().all(|node| node.contains("Index") || node.contains("Bitmap")),
            "{of}: {table} is read by {nodes:?}: {plan:#}"
        );
    }
}

/// Rows that all nodes over a table have given.
fn rows_read(plan: &serde_json::Value, table: &str) -> f64 {
    let own = match plan["Relation Name"] == table {
        true => plan["Actual Rows"].as_f64().unwrap() * plan["Actual Loops"].as_f64().unwrap(),
        false => 0.0,
    };
    own + plan["Plans"].as_array().into_iter().flatten().map(|child| rows_read(child, table)).sum::<f64>()
}

#[tokio::test]
async fn the_snapshot_reads_a_million_orders_by_their_indexes() {
    let database = Database::postgres().await;
    database.open(12).await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    connection.execute(LOAD).await.unwrap();

    let few = vec!["u-17".to_owned(), "u-40000".into()];
    let many: Vec<String> = (0..500).map(|n| format!("u-{}", n * 97)).chain(["merchant".into()]).collect();
    let names: Vec<String> = (0..5_000).map(|n| format!("A-{}", n * 199 + 1)).collect();
    for statistics in ["none", "fresh"] {
        if statistics == "fresh" {
            connection.execute("analyze").await.unwrap();
        }
        for (users, orders) in [(&few, &names[..3]), (&many, &names[..]), (&few, &[][..])] {
            let row = query(AssertSqlSafe(format!("explain (format json) {SNAPSHOT}")))
                .persistent(false)
                .bind(TOPIC)
                .bind(users)
                .bind(900_000_i64)
                .bind(orders)
                .bind(1_001_i64)
                .bind(vec![i64::MAX; users.len()])
                .bind(vec![1_i64 << 61; users.len()])
                .bind(vec!["\u{10ffff}"; users.len()])
                .bind(vec![1_000_i64; users.len()])
                .bind(20_001_i64)
                .fetch_one(&mut connection)
                .await
                .unwrap();
            let of = format!("statistics {statistics}, {} users, {} orders", users.len(), orders.len());
            assert_uses_indexes(row.try_get_unchecked(0).unwrap(), &of);
        }
        for user in ["merchant", "ended"] {
            let row = query(AssertSqlSafe(format!("explain (analyze, format json) {SNAPSHOT}")))
                .persistent(false)
                .bind(TOPIC)
                .bind([user])
                .bind(0_i64)
                .bind(Vec::<String>::new())
                .bind(101_i64)
                .bind([i64::MAX])
                .bind([1_i64 << 61])
                .bind(["\u{10ffff}"])
                .bind([100_i64])
                .bind(20_001_i64)
                .fetch_one(&mut connection)
                .await
                .unwrap();
            let plan: serde_json::Value = serde_json::from_str(row.try_get_unchecked(0).unwrap()).unwrap();
            let read = ["order_viewers", "orders"].map(|table| rows_read(&plan[0]["Plan"], table));
            assert!(read[0] <= 202.0 && read[1] <= 100.0, "{user}, statistics {statistics}: {read:?} {plan:#}");
        }
        let generic = format!(
            "set plan_cache_mode = force_generic_plan;
             prepare snapshot (text, text[], bigint, text[], bigint, bigint[], bigint[], text[], bigint[], bigint)
                 as {SNAPSHOT};
             explain (format json) execute snapshot ('{TOPIC}', array['u-17'], 900000, array['A-1', 'E-1'], 1001,
                array[9223372036854775807], array[2305843009213693952], array['~'], array[1000], 20001)"
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(generic)).fetch_all(&mut connection).await.unwrap();
        assert_uses_indexes(rows[0].try_get_unchecked(0).unwrap(), &format!("statistics {statistics}, generic"));
        connection.execute("deallocate snapshot; reset plan_cache_mode").await.unwrap();
    }
    database.drop().await;
}
