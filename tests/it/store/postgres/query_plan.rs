//! The snapshot statement at a million orders.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, query_as};

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

fn assert_uses_indexes(plan: &serde_json::Value, of: &str) {
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

/// The statement within the function, made ready as the function has it: planned once, for whatever is asked.
async fn prepare(connection: &mut PgConnection) {
    let function = "select prosrc, array_to_string(proconfig, ';') from pg_proc where proname = 'read_snapshot'";
    let (source, settings): (String, String) =
        query_as(function).persistent(false).fetch_one(&mut *connection).await.unwrap();
    let (_, statement) = source.split_once("return query").unwrap();
    let (statement, _) = statement.rsplit_once("end").unwrap();
    let set = |setting: &str| setting.split_once('=').map(|(name, value)| format!("set {name} = '{value}';")).unwrap();
    let settings: Vec<String> = settings.split(';').map(set).collect();
    assert_eq!(settings.len(), 3, "{settings:?}");
    let prepare = format!(
        "deallocate all; {}
         prepare snapshot (text, text[], bigint, text[], bigint, bigint[], bigint[], text[], bigint[]) as {statement}",
        settings.concat()
    );
    connection.execute(AssertSqlSafe(prepare)).await.unwrap();
}

/// How it is carried out for one user, or was.
async fn explain(connection: &mut PgConnection, how: &str, user: &str, orders: &str, most: i64) -> serde_json::Value {
    let explain = format!(
        "explain ({how}, format json) execute snapshot ('{TOPIC}', array['{user}'], 0, array[{orders}]::text[], {},
            array[9223372036854775807], array[2305843009213693952], array['~'], array[{most}])",
        most + 1
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(connection).await.unwrap();
    serde_json::from_str(rows[0].try_get_unchecked(0).unwrap()).unwrap()
}

#[tokio::test]
async fn the_snapshot_reads_a_million_orders_by_their_indexes() {
    let database = Database::postgres().await;
    database.open(12).await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    for tables in ["empty", "freshly loaded", "known"] {
        match tables {
            "freshly loaded" => drop(connection.execute(LOAD).await.unwrap()),
            "known" => drop(connection.execute("analyze").await.unwrap()),
            _ => {}
        }
        prepare(&mut connection).await;
        let plan = explain(&mut connection, "analyze false", "u-17", "'A-1', 'E-1'", 1_000).await;
        assert_uses_indexes(&plan, tables);
        for user in ["merchant", "ended"] {
            let plan = explain(&mut connection, "analyze", user, "", 100).await;
            let read = ["order_viewers", "orders"].map(|table| rows_read(&plan[0]["Plan"], table));
            assert!(read[0] <= 202.0 && read[1] <= 100.0, "{user}, {tables}: {read:?} {plan:#}");
        }
    }
    database.drop().await;
}
