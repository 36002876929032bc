//! Screens that cannot be known to be true say so, and for how long.

use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::{event, until_row};
use crate::{
    parts::{
        kafka::shared_broker,
        postgres::{Database, Postgres},
    },
    world::World,
};

#[tokio::test]
async fn an_order_that_cannot_be_read_for_half_a_minute_makes_its_screens_stale_and_no_others() {
    let mut postgres = Postgres::start().await;
    let world = World::on(&shared_broker(), Database::create_on(&postgres.url()).await).await;
    let instance = world.start().await;
    let (mut screen, mut other) = (world.watch(&instance, "u-1").await, world.watch(&instance, "u-2").await);
    for screen in [&mut screen, &mut other] {
        screen.until("it is fresh", |screen| screen.stale.is_none()).await;
    }
    postgres.crash().await;
    world.publish(event("A-1", "paid", 2)).await;
    screen.expect_status("A-1", "paid").await;
    assert_eq!(screen.stale, None, "a moment is no outage");
    screen.until("it says so", |screen| screen.stale.as_deref() == Some(&["database_unavailable".to_owned()])).await;
    postgres.restart().await;
    screen.until("it was read", |screen| screen.stale.is_none()).await;
    other.send(json!({"type": "ping"})).await;
    other.until("all that came before", |screen| screen.frames.iter().any(|frame| frame["type"] == "pong")).await;
    assert!(!other.told_stale_for("database_unavailable"), "{:?}", other.frames);
    instance.stop().await;
}

#[tokio::test]
async fn with_the_recorder_far_behind_new_sessions_get_what_there_is_and_become_fresh_without_reconnecting() {
    let mut world = World::create().await;
    world.set("hub.tail_bytes", "1048576");
    let instance = world.start().await;
    world.publish(event("A-1", "created", 1)).await;
    let mut early = world.watch(&instance, "u-1").await;
    early.expect_status("A-1", "created").await;
    until_row(&world, "A-1", 1).await;
    // The recorder waits for the table, and what it is behind by is more than an instance keeps in memory.
    let mut holder = PgConnection::connect(&world.database.url()).await.unwrap();
    let mut lock = holder.begin().await.unwrap();
    sqlx::query("lock table orders in exclusive mode").execute(&mut *lock).await.unwrap();
    let many = (0..6_000).map(|n| json!({"order_id": format!("X-{n}"), "user_id": "somebody", "status": "created"}));
    world.publish_all(&many.collect::<Vec<_>>()).await;
    world.publish_all(&[event("A-1", "paid", 2), event("A-2", "created", 1)]).await;
    early.expect_status("A-1", "paid").await;
    let mut screen = world.watch(&instance, "u-1").await;
    screen.until("it says so", |screen| screen.stale.as_deref() == Some(&["catching_up".to_owned()])).await;
    assert!(screen.orders.contains_key("A-1"), "the rows there are");
    world.publish(event("A-1", "packed", 3)).await;
    screen.expect_status("A-1", "packed").await;
    let (_, list) = instance.get("/orders", &world.token("u-1")).await;
    assert_eq!(list["stale"], json!(["catching_up"]));
    // An instance that starts now cannot prove anything either, and serves.
    let second = world.start().await;
    let mut elsewhere = world.watch(&second, "u-1").await;
    elsewhere.until("it says so", |screen| screen.stale.is_some()).await;
    for instance in [&instance, &second] {
        assert_eq!(instance.health().await.0, 200);
    }
    lock.rollback().await.unwrap();
    for screen in [&mut screen, &mut elsewhere] {
        screen.until("fresh", |screen| screen.stale.is_none()).await;
        screen.expect_status("A-1", "packed").await;
        screen.expect_status("A-2", "created").await;
        screen
            .until("the whole timeline", |screen| {
                screen.orders["A-1"]["timeline"].as_array().is_some_and(|timeline| timeline.len() == 3)
            })
            .await;
        assert!(!screen.frames.iter().any(|frame| frame["type"] == "closing"));
    }
    tokio::join!(instance.stop(), second.stop());
}
