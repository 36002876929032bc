//! Networks that are cut, and networks that say nothing: between an instance and its broker, its database, its clients.

use std::{net::SocketAddr, time::Duration};

use super::{nimble, rounds, until_stored_once, viewers};
use crate::{
    parts::{
        kafka::{Broker, shared_broker},
        postgres::Database,
        proxy::Proxy,
    },
    world::{Crowd, Screen, Shop, eventually},
};

/// How long a network says nothing: longer than every timeout that the settings of these tests name.
const STALL: Duration = Duration::from_secs(20);
/// How long a network is cut.
const CUT: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn a_network_to_the_broker_that_stalls_and_is_cut_is_told_and_costs_nothing_but_time() {
    let broker = Broker::start().await;
    let mut world = nimble(&broker.bootstrap(), Database::create().await).await;
    let direct = world.start().await;
    world.set("kafka.brokers", &broker.proxied());
    let apart = world.start().await;
    let mut shop = Shop::new(5, viewers(6));
    let crowd = Crowd::come(&world, viewers(6), &[apart.address, direct.address]);
    for silent in (0..rounds()).flat_map(|_| [true, false]) {
        world.publish_all(&shop.events(100)).await;
        // Comes anew each time: it must not be silent for long itself.
        let mut witness = world.watch(&apart, "witness").await;
        witness.until("it is fresh", |screen| screen.stale.is_none()).await;
        let ends = tokio::time::Instant::now() + if silent { STALL } else { CUT };
        match silent {
            true => broker.proxy().stall(),
            false => broker.proxy().cut().await,
        }
        world.publish_all(&shop.events(200)).await;
        witness.until("it says so", |screen| screen.is_stale_for("kafka_unavailable")).await;
        witness.watch_until(ends).await;
        assert_eq!(apart.health().await.0, 200);
        broker.proxy().heal().await;
        witness.until("it is fresh", |screen| screen.stale.is_none()).await;
    }
    until_stored_once(&world, &shop).await;
    crowd.settle(shop).await;
    for instance in [apart, direct] {
        assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
        instance.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_to_the_database_that_stalls_and_is_cut_stops_new_sessions_and_no_others() {
    let database = Database::create().await;
    let proxy = Proxy::start(database.port()).await;
    let mut world = nimble(&shared_broker(), database).await;
    world.set("database.url", &world.database.url_by_port(proxy.port()));
    world.set("session.snapshot_timeout", "2s");
    let instance = world.start().await;
    let mut shop = Shop::new(6, viewers(6));
    let crowd = Crowd::come(&world, viewers(6), &[instance.address]);
    for (round, silent) in (0..rounds()).flat_map(|_| [true, false]).enumerate() {
        world.publish_all(&shop.events(100)).await;
        // Comes anew each time: it must not be silent for long itself.
        let mut witness = world.watch(&instance, "witness").await;
        let ends = tokio::time::Instant::now() + if silent { STALL } else { CUT };
        match silent {
            true => proxy.stall(),
            false => proxy.cut().await,
        }
        world.publish_all(&shop.events(100)).await;
        let status = format!("while the database is away, {silent}");
        let order = format!("W-{round}");
        let event = serde_json::json!({"order_id": order, "user_id": "witness", "version": 1, "status": status});
        world.publish(event).await;
        witness.expect_status(&order, &status).await;
        let query = format!("token={}", world.token("newcomer"));
        let mut newcomer = Screen::connect(instance.address, &query).await.unwrap();
        let (code, ()) = tokio::join!(newcomer.close_code(), witness.watch_until(ends));
        assert_eq!(code, Some(1013));
        assert_eq!(instance.health().await.0, 200);
        proxy.heal().await;
        world.watch(&instance, "newcomer").await;
    }
    let erased = (0..2 * rounds()).map(|round| serde_json::json!({"order_id": format!("W-{round}")}));
    world.publish_all(&erased.collect::<Vec<_>>()).await;
    until_stored_once(&world, &shop).await;
    crowd.settle(shop).await;
    assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_behind_a_network_that_stalls_and_is_cut_are_let_go_and_come_back_to_the_truth() {
    let world = nimble(&shared_broker(), Database::create().await).await;
    let instance = world.start().await;
    let proxy = Proxy::start(instance.address.port()).await;
    let mut shop = Shop::new(7, viewers(6));
    let crowd = Crowd::come(&world, viewers(6), &[SocketAddr::from(([127, 0, 0, 1], proxy.port()))]);
    let dead = r#"ordercast_sessions_closed_total{cause="heartbeat_timeout"}"#;
    let lost = r#"ordercast_sessions_closed_total{cause="connection_lost"}"#;
    let all = viewers(6) as f64;
    for _ in 0..rounds() {
        world.publish_all(&shop.events(200)).await;
        eventually("they watch", async || instance.metric("ordercast_sessions_open").await == all).await;
        let dead_before = instance.metric(dead).await;
        let ends = tokio::time::Instant::now() + STALL;
        proxy.stall();
        world.publish_all(&shop.events(200)).await;
        eventually("the silent are let go", async || instance.metric(dead).await > dead_before).await;
        eventually("nobody is left", async || instance.metric("ordercast_sessions_open").await == 0.0).await;
        tokio::time::sleep_until(ends).await;
        proxy.heal().await;
        eventually("they are back", async || instance.metric("ordercast_sessions_open").await == all).await;
        let before = instance.metric(lost).await;
        proxy.cut().await;
        world.publish_all(&shop.events(200)).await;
        eventually("the cut is noticed", async || instance.metric(lost).await >= before + all).await;
        proxy.heal().await;
    }
    crowd.settle(shop).await;
    instance.stop().await;
}
