//! Everybody comes back at once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::{
    parts::{kafka::shared_broker, postgres::Database},
    world::{Instance, Screen, World, eventually},
};

/// Sessions of the storm; `ORDERCAST_TEST_STORM=5000` asks for more.
fn size() -> usize {
    std::env::var("ORDERCAST_TEST_STORM").map_or(1_000, |size| size.parse().expect("a number of sessions"))
}

/// An instance, and an order for each of `size` users, stored.
async fn prepared(size: usize) -> (World, Instance) {
    let mut world = World::on(&shared_broker(), Database::create().await).await;
    world.set("session.audits_per_second", "0");
    let instance = world.serve().await;
    let orders: Vec<_> = (0..size)
        .map(|n| json!({"order_id": format!("A-{n}"), "user_id": format!("u-{n}"), "status": "created", "version": 1}))
        .collect();
    world.publish_all(&orders).await;
    eventually("all is stored", async || {
        world.database.number("select count(*) from orders").await == i64::try_from(size).ok()
    })
    .await;
    (world, instance)
}

/// One viewer who comes until it is let in and shows its order; answers how often a session was told to come again.
async fn come_back(instance: &Instance, token: String, number: usize) -> (Screen, usize) {
    let (query, order) = (format!("token={token}"), format!("A-{number}"));
    let mut sent_away = 0;
    loop {
        // A limit of handshakes, or a full queue of the listener, asks for patience.
        let Ok(mut screen) = Screen::connect(instance.address, &query).await else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        while !screen.orders.contains_key(&order) {
            if screen.next().await.is_err() {
                break;
            }
        }
        if screen.orders.contains_key(&order) {
            return (screen, sent_away);
        }
        sent_away += 1;
    }
}

async fn storm(world: &World, instance: &Instance, size: usize) -> usize {
    let viewers = (0..size).map(|n| come_back(instance, world.token(&format!("u-{n}")), n));
    let back = tokio::time::timeout(Duration::from_secs(120), join_all(viewers)).await.expect("all are back");
    assert!(back.iter().all(|(screen, _)| screen.orders.len() == 1));
    back.iter().map(|(_, sent_away)| sent_away).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_reconnects_shares_statements() {
    let size = size();
    let (world, instance) = prepared(size).await;
    let statements = "ordercast_snapshot_statements_total";
    let (before, began) = (instance.metric(statements).await, Instant::now());
    assert_eq!(storm(&world, &instance, size).await, 0, "nobody was sent away");
    let cost = instance.metric(statements).await - before;
    // One that follows another within 30 ms has 40 reads at least, or that one had.
    let budget = began.elapsed().as_secs_f64() / 0.03 + 2.0 * size as f64 / 40.0 + 1.0;
    assert!(cost <= budget, "{cost} statements for {size} sessions, {budget} at most");
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_on_a_database_that_takes_two_seconds_a_query_is_weathered() {
    let size = size();
    let (world, instance) = prepared(size).await;
    let idle = instance.resident_bytes();
    world.database.run("alter table orders rename to orders_at_once").await;
    world
        .database
        .run("create view orders as select * from orders_at_once where (select true from pg_sleep(2) limit 1)")
        .await;
    let statements = "ordercast_snapshot_statements_total";
    let before = instance.metric(statements).await;
    let (sent_away, ()) = tokio::join!(storm(&world, &instance, size), async {
        for _ in 0..5 {
            assert_eq!(instance.health().await.0, 200, "it stays ready");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let cost = instance.metric(statements).await - before;
    assert!(cost <= (size + sent_away) as f64 / 50.0, "{cost} statements for {size} sessions and {sent_away} again");
    let grown = instance.resident_bytes().saturating_sub(idle);
    assert!(grown < (size + sent_away) * 256 * 1024, "{grown} bytes for {size} sessions");
    instance.stop().await;
}
