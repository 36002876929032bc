//! Brokers and databases that die and come back, and instances that leave.

use serde_json::json;

use super::{event, until_proved, until_row};
use crate::{
    parts::{
        kafka::Broker,
        postgres::{Database, Postgres, shared_postgres},
    },
    world::{Screen, World, eventually},
};

#[tokio::test]
async fn a_dead_broker_is_told_to_every_viewer_and_its_return_too() {
    let mut broker = Broker::start().await;
    let mut world = World::on(&broker.bootstrap(), Database::create_on(&shared_postgres()).await).await;
    world.set("kafka.stale_after", "3s");
    let instance = world.start().await;
    world.publish(event("A-1", "created", 1)).await;
    until_proved(&world, &instance).await;
    let mut screen = world.watch(&instance, "u-1").await;
    screen.expect_status("A-1", "created").await;
    screen.until("it is fresh", |screen| screen.stale.is_none()).await;
    broker.kill().await;
    screen.until("it says so", |screen| screen.is_stale_for("kafka_unavailable")).await;
    let (status, health) = instance.health().await;
    assert_eq!(
        (status, &health["stale"]),
        (200, &json!(["kafka_unavailable"])),
        "an outage does not take readiness away"
    );
    let mut newcomer = world.watch(&instance, "u-1").await;
    newcomer.until("a newcomer is told, too", |screen| screen.stale.is_some()).await;
    assert_eq!(newcomer.orders["A-1"]["status"], "created");
    broker.restart().await;
    world.publish(event("A-1", "paid", 2)).await;
    for screen in [&mut screen, &mut newcomer] {
        screen.expect_status("A-1", "paid").await;
        screen.until("fresh again", |screen| screen.stale.is_none()).await;
    }
    instance.stop().await;
}

#[tokio::test]
async fn with_the_database_down_open_sessions_stay_live_and_new_ones_are_told_to_come_back() {
    let mut postgres = Postgres::start().await;
    let database = Database::create_on(&postgres.url()).await;
    let mut world = World::on(&crate::parts::kafka::shared_broker(), database).await;
    world.set("session.snapshot_timeout", "2s");
    let instance = world.start().await;
    world.publish(event("A-1", "created", 1)).await;
    until_proved(&world, &instance).await;
    let mut screen = world.watch(&instance, "u-1").await;
    screen.expect_status("A-1", "created").await;
    screen.until("it is fresh", |screen| screen.stale.is_none()).await;
    postgres.crash().await;
    world.publish_all(&[event("A-1", "paid", 2), event("B-1", "created", 1)]).await;
    screen.expect_status("A-1", "paid").await;
    screen.expect_status("B-1", "created").await;
    let query = format!("token={}", world.token("u-1"));
    let mut newcomer = Screen::connect(instance.address, &query).await.unwrap();
    assert_eq!(newcomer.close_code().await, Some(1013));
    let (status, problem) = instance.get("/orders", &world.token("u-1")).await;
    assert_eq!((status, &problem["code"]), (503, &json!("snapshot_unavailable")));
    assert_eq!(instance.health().await.0, 200, "an outage does not take readiness away");
    postgres.restart().await;
    eventually("the recorder has caught up", async || {
        let (_, list) = instance.get("/orders", &world.token("u-1")).await;
        list["orders"].as_array().is_some_and(|orders| orders.len() == 2) && list["stale"] == json!([])
    })
    .await;
    let mut later = world.watch(&instance, "u-1").await;
    later.expect_status("A-1", "paid").await;
    later.expect_status("B-1", "created").await;
    instance.stop().await;
}

#[tokio::test]
async fn an_instance_that_leaves_hands_its_partitions_over_without_loss_or_repetition() {
    let world = World::create().await;
    let (one, two) = tokio::join!(world.start(), world.start());
    let mut screen = world.watch(&two, "u-1").await;
    let mut events = Vec::new();
    for version in 1..=200 {
        for order in ["A-1", "A-2", "A-3"] {
            events.push(event(order, &format!("step {version}"), version));
        }
    }
    let (first, second) = events.split_at(events.len() / 2);
    world.publish_all(first).await;
    one.stop().await;
    world.publish_all(second).await;
    for order in ["A-1", "A-2", "A-3"] {
        screen.expect_status(order, "step 200").await;
    }
    eventually("everything is stored once", async || {
        let (_, list) = two.get("/orders", &world.token("u-1")).await;
        let orders = list["orders"].as_array().cloned().unwrap_or_default();
        orders.len() == 3
            && orders.iter().all(|order| order["version"] == 200 && order["timeline"][49]["version"] == 200)
    })
    .await;
    let late = two.metric(r#"ordercast_records_total{pipeline="recorder",outcome="late"}"#).await;
    assert_eq!(late, 0.0, "nothing was applied twice");
    two.stop().await;
}

#[tokio::test]
async fn an_order_first_seen_without_the_database_gets_its_timeline_when_it_is_back() {
    let mut postgres = Postgres::start().await;
    let world = World::on(&crate::parts::kafka::shared_broker(), Database::create_on(&postgres.url()).await).await;
    let instance = world.start().await;
    world.publish_all(&[event("A-1", "created", 1), event("A-1", "paid", 2)]).await;
    until_row(&world, "A-1", 2).await;
    let mut merchant = world.watch(&instance, "m-7").await;
    postgres.crash().await;
    let mut shipped = event("A-1", "shipped", 3);
    shipped["viewers"] = json!(["m-7"]);
    world.publish(shipped).await;
    merchant.expect_status("A-1", "shipped").await;
    postgres.restart().await;
    merchant
        .until("the timeline follows", |screen| {
            screen.orders["A-1"]["timeline"].as_array().is_some_and(|timeline| timeline.len() == 3)
        })
        .await;
    instance.stop().await;
}
