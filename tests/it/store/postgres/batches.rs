//! What a batch costs the server: it names rows by their keys, and has each by its index.

use std::time::{Duration, Instant};

use crate::store::{
    databases::Database,
    drafts::{apply, set},
};

/// So many rows that whoever touches a few hundred of them may think of reading all.
const STORED: &str = "
    insert into orders (order_id, user_id, viewers, status, terminal, version_number, epoch, partition, log_offset,
                        occurred_at, timeline)
    select 'A-' || n, 'u-' || n % 5000, '[\"m-1\"]', 'paid', false, 1, 7, 0, n, 1000000, '[]'
    from generate_series(1, 20000) as n;
    insert into order_viewers (user_id, terminal_at, order_id)
    select viewer, 4611686018427387904 + 1000000, 'A-' || n
    from generate_series(1, 20000) as n cross join lateral (values ('u-' || n % 5000), ('m-1')) as viewers (viewer);
    analyze orders;
    analyze order_viewers";

#[tokio::test]
async fn a_batch_of_hundreds_reads_no_table_whole_and_moves_each_order_in_the_lists_of_its_viewers() {
    let database = Database::postgres().await;
    database.open(1).await;
    database.sql(STORED).await;
    database.sql("select pg_stat_reset()").await;
    let store = database.another_store();
    for (round, version) in (0..3).zip(2..) {
        let of =
            |n: i64| set(&format!("A-{}", n * 45 + 1), version, "packed").of(&format!("u-{}", (n * 45 + 1) % 5000));
        let drafts = (0..400).map(|n| of(n).seen_by(&["m-1"]).at(2_000_000 + version as i64));
        assert_eq!(apply(&store, 0, round * 400, drafts).await.applied, 400);
    }
    assert_eq!(database.count("order_viewers").await, 40_000);
    let moved = "order_viewers where terminal_at = 4611686018427387904 + 2000004";
    assert_eq!(database.count(moved).await, 800);
    // The server counts with a delay: until it has counted what was written.
    let deadline = Instant::now() + Duration::from_secs(30);
    while database.count("pg_stat_user_tables where relname = 'order_viewers' and n_tup_upd >= 2400").await == 0 {
        assert!(Instant::now() < deadline, "rows that move are updated");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let counted = database
        .sql("select relname::text, seq_scan::text from pg_stat_user_tables where relname in ('orders', 'order_viewers')")
        .await;
    // The test itself has counted rows of lists twice.
    let most = |name: &str| if name == "orders" { 0 } else { 2 };
    for row in &counted {
        let (name, scans) = (row[0].as_ref().unwrap(), row[1].as_ref().unwrap().parse::<i64>().unwrap());
        assert!(scans <= most(name), "{counted:?}");
    }
    database.drop().await;
}
