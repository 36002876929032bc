//! Logs that grow, lose their beginning or are replaced, and a database that was restored, under open screens.

use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::{event, nimble, until_stored_once};
use crate::{
    parts::{
        kafka::shared_broker,
        postgres::Database,
        topic::{Record, Topic},
    },
    world::{Crowd, Screen, Shop, World, eventually},
};

fn is_stale_for(reason: &'static str) -> impl Fn(&Screen) -> bool {
    move |screen| screen.stale.as_deref() == Some(&[reason.to_owned()])
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_while_events_flow_are_read_from_their_beginning_by_every_instance() {
    let world = World::create().await;
    let (one, two) = tokio::join!(world.start(), world.start());
    let mut shop = Shop::new(9, 6).never_erasing();
    let mut witnesses = [world.watch(&one, "u-0").await, world.watch(&two, "u-0").await];
    for partitions in [5, 8] {
        world.publish_all(&shop.events(100)).await;
        world.topic.grow_to(partitions).await;
        world.publish_all(&shop.events(200)).await;
    }
    let truth = shop.shown_to("u-0");
    for witness in &mut witnesses {
        witness
            .until("the truth, without reconnecting", |screen| {
                let versions = screen.orders.iter().map(|(id, order)| (id.clone(), order["version"].as_u64()));
                screen.stale.is_none()
                    && versions.eq(truth.iter().map(|(id, (_, version))| (id.clone(), Some(*version))))
            })
            .await;
    }
    until_stored_once(&world, &shop).await;
    for instance in [one, two] {
        assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
        instance.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_restored_from_a_backup_is_brought_up_to_date_from_the_log() {
    let mut world = nimble(&shared_broker(), Database::create().await).await;
    world.set("hub.tail_grace", "0s");
    let (one, two) = tokio::join!(world.start(), world.start());
    let mut shop = Shop::new(10, 6);
    let crowd = Crowd::come(&world, 6, &[one.address, two.address]);
    world.publish_all(&shop.events(200)).await;
    until_stored_once(&world, &shop).await;
    let tables = ["orders", "order_viewers", "erased_orders", "progress"];
    for table in tables {
        world.database.run(&format!("create table backup_of_{table} as table {table}")).await;
    }
    world.publish_all(&shop.events(300)).await;
    until_stored_once(&world, &shop).await;
    let restore =
        tables.map(|table| format!("delete from {table}; insert into {table} select * from backup_of_{table};"));
    world.database.run(&format!("begin; {} commit", restore.concat())).await;
    until_stored_once(&world, &shop).await;
    world.publish_all(&shop.events(100)).await;
    until_stored_once(&world, &shop).await;
    crowd.settle(shop).await;
    tokio::join!(one.stop(), two.stop());
}

#[tokio::test]
async fn retention_that_passes_the_recorder_by_halts_its_partition_and_every_screen_says_so() {
    let world = World::create().await;
    let (one, two) = tokio::join!(world.start(), world.start());
    world.publish(event("A-1", "created", 1)).await;
    let mut screens = [world.watch(&one, "u-1").await, world.watch(&two, "u-1").await];
    for screen in &mut screens {
        screen.expect_status("A-1", "created").await;
    }
    eventually("it is stored", async || one.get("/orders/A-1", &world.token("u-1")).await.1["version"] == 1).await;
    let mut holder = PgConnection::connect(&world.database.url()).await.unwrap();
    let mut lock = holder.begin().await.unwrap();
    sqlx::query("lock table orders in exclusive mode").execute(&mut *lock).await.unwrap();
    let (partition, offset) = world.publish(event("A-1", "paid", 2)).await;
    for screen in &mut screens {
        screen.expect_status("A-1", "paid").await;
    }
    // The recorder has read the record and waits; its transaction is ended, so that it has to read it again.
    world.topic.expire_below(partition, offset + 1).await;
    let other = (0..3).find(|other| *other != partition).unwrap();
    let elsewhere = event("B-1", "created", 1).to_string();
    let waiting = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where datname = current_database() and wait_event_type = 'Lock'";
    eventually("a recorder waits for the table", async || {
        world.database.number("select count(*) from pg_locks where not granted").await > Some(0)
    })
    .await;
    world.database.run("update progress set next_offset = next_offset - 1 where next_offset > 0").await;
    world.database.run(waiting).await;
    lock.rollback().await.unwrap();
    for screen in &mut screens {
        screen.until("it says so", is_stale_for("log_gap")).await;
    }
    world.topic.produce(Record::new("B-1", elsewhere).partition(other)).await;
    for screen in &mut screens {
        screen.expect_status("B-1", "created").await;
    }
    eventually("the others are recorded", async || one.get("/orders/B-1", &world.token("u-1")).await.0 == 200).await;
    let mut newcomer = world.watch(&two, "u-1").await;
    newcomer.until("a newcomer is told, too", |screen| screen.stale.is_some()).await;
    assert_eq!(one.health().await.0, 200);
    tokio::join!(one.stop(), two.stop());
}

#[tokio::test]
async fn a_topic_that_is_deleted_and_made_anew_halts_and_every_screen_says_so() {
    let world = World::create().await;
    let instance = world.start().await;
    world.publish(event("A-1", "created", 1)).await;
    let mut screen = world.watch(&instance, "u-1").await;
    screen.expect_status("A-1", "created").await;
    eventually("it is stored", async || instance.get("/orders/A-1", &world.token("u-1")).await.1["version"] == 1).await;
    world.topic.delete().await;
    eventually("the name is free again", async || {
        let (broker, name) = (shared_broker(), world.topic.name().to_owned());
        tokio::spawn(async move { Topic::create_named(&broker, &name, 3, &[]).await }).await.is_ok()
    })
    .await;
    screen.until("it says so", |screen| screen.told_stale_for("log_regression")).await;
    world.publish(event("A-1", "paid", 2)).await;
    let (_, list) = instance.get("/orders", &world.token("u-1")).await;
    assert!(list["stale"].as_array().unwrap().contains(&json!("log_regression")), "{list}");
    assert_eq!(list["orders"][0]["version"], 1, "nothing of the new log is recorded until somebody decides: {list}");
    assert_eq!(instance.health().await.0, 200);
    instance.stop().await;
}
