//! Logs that grow, lose their beginning or are replaced, and a database that was restored, under open screens.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{event, nimble, replace_topic, until_row, until_stored_once};
use crate::{
    parts::{kafka::shared_broker, postgres::Database, topic::Topic},
    world::{Crowd, Screen, Shop, World, eventually, record},
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

/// Lets the broker forget what the recorder has not stored: `A-1` is created and stored, then paid, and `A-2` is created
/// beside it, both shown and lost. Returns the partition.
async fn lose_records(world: &World, screens: &mut [Screen]) -> i32 {
    let (partition, _) = world.publish(event("A-1", "created", 1)).await;
    for screen in screens.iter_mut() {
        screen.expect_status("A-1", "created").await;
    }
    until_row(world, "A-1", 1).await;
    let mut holder = PgConnection::connect(&world.database.url()).await.unwrap();
    let mut lock = holder.begin().await.unwrap();
    sqlx::query("lock table orders in exclusive mode").execute(&mut *lock).await.unwrap();
    let lost = [event("A-1", "paid", 2), event("A-2", "created", 1)];
    let lost = lost.map(|event| record(&event).partition(partition));
    let written = world.topic.produce_all(&lost).await;
    for screen in screens {
        screen.expect_status("A-1", "paid").await;
        screen.expect_status("A-2", "created").await;
    }
    let waiting = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where datname = current_database() and wait_event_type = 'Lock' and query like '%for update%'";
    eventually("a recorder waits for the table", async || {
        world.database.number("select count(*) from pg_locks where not granted").await > Some(0)
    })
    .await;
    // The recorder has read the records and waits; its transaction is ended, so that it has to read them again.
    world.topic.expire_below(partition, written[1].1 + 1).await;
    let back = world.database.run("update progress set next_offset = next_offset - 1 where next_offset > 0");
    tokio::join!(back, world.database.run(waiting));
    lock.rollback().await.unwrap();
    partition
}

#[tokio::test]
async fn retention_that_passes_the_recorder_by_halts_its_partition_and_every_screen_says_so() {
    let world = World::create().await;
    let (one, two) = tokio::join!(world.start(), world.start());
    let mut screens = [world.watch(&one, "u-1").await, world.watch(&two, "u-1").await];
    let partition = lose_records(&world, &mut screens).await;
    for screen in &mut screens {
        screen.until("it says so", is_stale_for("log_gap")).await;
    }
    let other = (0..3).find(|other| *other != partition).unwrap();
    world.topic.produce(record(&event("B-1", "created", 1)).partition(other)).await;
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
async fn what_screens_showed_of_records_that_were_lost_is_taken_back_where_the_settings_say_to_go_on() {
    let mut world = World::create().await;
    world.set("kafka.on_log_gap", "continue");
    world.set("session.audits_per_second", "0");
    let (one, two) = tokio::join!(world.start(), world.start());
    let mut screens = [world.watch(&one, "u-1").await, world.watch(&two, "u-1").await];
    let partition = lose_records(&world, &mut screens).await;
    for screen in &mut screens {
        screen.expect_status("A-1", "created").await;
        screen.expect_gone("A-2").await;
        screen.until("it is fresh", |screen| screen.stale.is_none()).await;
    }
    let ranges = "select count(*) from lost_ranges where to_offset - from_offset >= 2";
    assert_eq!(world.database.number(ranges).await, Some(1));
    let noted = "ordercast_lost_ranges_total";
    assert_eq!(one.metric(noted).await + two.metric(noted).await, 1.0, "one of them noted it");
    world.topic.produce(record(&event("A-1", "shipped", 3)).partition(partition)).await;
    for screen in &mut screens {
        screen.expect_status("A-1", "shipped").await;
    }
    for instance in [one, two] {
        assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0, "it was known, not found");
        instance.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_aborted_is_never_shown_and_what_compaction_took_is_not_missed() {
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "200"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("max.compaction.lag.ms", "1000"),
    ];
    let name = format!("test-{}", ulid::Ulid::generate());
    let topic = Topic::create_named(&shared_broker(), &name, 3, &settings).await;
    let mut world = World::of(&shared_broker(), topic, Database::create().await).await;
    world.set("session.heartbeat_interval", Crowd::HEARTBEAT);
    let one = world.start().await;
    let mut shop = Shop::new(13, 6).never_erasing();
    let crowd = Crowd::come(&world, 6, &[one.address]);
    let as_records = |events: Vec<Value>| events.iter().map(record).collect::<Vec<_>>();
    for _ in 0..5 {
        world.topic.commit(&as_records(shop.events(40))).await;
        // Would be the newest of their orders for ever, and are named to those who watch.
        let aborted = (0..6).map(|n| {
            let user = Shop::user(n);
            let order = format!("A-{n}");
            json!({"order_id": order, "user_id": user, "status": "aborted", "version": 1_000_000,
                   "details": {"named": [user]}})
        });
        world.topic.abort(&as_records(aborted.collect())).await;
        world.publish_all(&shop.events(20)).await;
        // A segment is closed by the first record that comes when it is old enough.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    until_stored_once(&world, &shop).await;
    eventually("the topic is compacted", async || {
        let (low, high) = world.topic.watermarks(0).await;
        (world.topic.readable(0).await as i64) < (high - low) / 2
    })
    .await;
    // One more that joins, and one that has nothing but what is left of the log.
    let two = world.start().await;
    crowd.go_to(&[two.address]);
    let database = Database::create().await;
    let mut later = World::of(&shared_broker(), Topic::existing(&shared_broker(), &name), database).await;
    later.set("kafka.group_id", &format!("{name}-later"));
    let three = later.start().await;
    let mut late = later.watch(&three, "u-0").await;
    late.until("it is fresh", |screen| screen.stale.is_none()).await;
    assert!(late.orders.values().all(|order| order["status"] != "aborted"), "{:#?}", late.orders);
    for world in [&world, &later] {
        world.publish_all(&shop.events(30)).await;
    }
    until_stored_once(&world, &shop).await;
    for world in [&world, &later] {
        let aborted = "select count(*) from orders where status = 'aborted' or timeline like '%aborted%'";
        assert_eq!(world.database.number(aborted).await, Some(0));
        assert_eq!(world.database.number("select count(*) from lost_ranges").await, Some(0));
    }
    crowd.settle(shop).await;
    for instance in [one, two, three] {
        assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
        instance.stop().await;
    }
}

#[tokio::test]
async fn a_topic_that_is_deleted_and_made_anew_halts_and_every_screen_says_so() {
    let world = World::create().await;
    let instance = world.start().await;
    world.publish(event("A-1", "created", 1)).await;
    let mut screen = world.watch(&instance, "u-1").await;
    screen.expect_status("A-1", "created").await;
    until_row(&world, "A-1", 1).await;
    replace_topic(&world).await;
    screen.until("it says so", |screen| screen.told_stale_for("log_regression")).await;
    // Positions alone say it only for as long as the new log is the shorter one.
    eventually("whoever records it has halted it", async || {
        world.database.number("select count(*) from progress where halted is not null").await > Some(0)
    })
    .await;
    world.publish(event("A-1", "paid", 2)).await;
    let (_, list) = instance.get("/orders", &world.token("u-1")).await;
    assert!(list["stale"].as_array().unwrap().contains(&json!("log_regression")), "{list}");
    assert_eq!(list["orders"][0]["version"], 1, "nothing of the new log is recorded until somebody decides: {list}");
    assert_eq!(instance.health().await.0, 200);
    instance.stop().await;
}

#[tokio::test]
async fn a_longer_log_in_the_place_of_the_old_one_is_told_by_every_instance_until_somebody_decides() {
    let mut world = World::create().await;
    let before = world.start().await;
    world.publish(event("A-1", "created", 1)).await;
    until_row(&world, "A-1", 1).await;
    before.stop().await;
    replace_topic(&world).await;
    // No position tells: only who reads the last record back sees that it is another one.
    world.publish_all(&[event("A-1", "packed", 7), event("A-1", "shipped", 8), event("A-1", "shipped", 9)]).await;
    let instances = <[_; 2]>::from(tokio::join!(world.start(), world.start()));
    for instance in &instances {
        let mut screen = world.watch(instance, "u-1").await;
        screen.until("it says so", |screen| screen.is_stale_for("log_regression")).await;
    }
    join_all(instances.map(|instance| instance.stop())).await;
    assert_eq!(world.database.number("select version_number from orders").await, Some(1), "nothing of it is recorded");

    world.set("kafka.on_log_regression", "reset");
    let instances = <[_; 2]>::from(tokio::join!(world.start(), world.start()));
    for instance in &instances {
        let mut screen = world.watch(instance, "u-1").await;
        screen.expect_status("A-1", "shipped").await;
        screen.until("it is fresh", |screen| screen.stale.is_none()).await;
    }
    until_row(&world, "A-1", 9).await;
    join_all(instances.map(|instance| instance.stop())).await;
}

#[tokio::test]
async fn a_topic_that_is_made_anew_is_read_from_its_beginning_under_open_screens_where_the_settings_say_so() {
    let mut world = World::create().await;
    world.set("kafka.on_log_regression", "reset");
    world.set("session.audits_per_second", "0");
    let (one, two) = tokio::join!(world.start(), world.start());
    let mut screens = [world.watch(&one, "u-1").await, world.watch(&two, "u-1").await];
    world.publish_all(&[event("A-1", "created", 1), event("A-2", "created", 1), event("A-2", "paid", 2)]).await;
    for screen in &mut screens {
        screen.expect_status("A-1", "created").await;
        screen.expect_status("A-2", "paid").await;
    }
    until_row(&world, "A-2", 2).await;
    replace_topic(&world).await;
    // The new log knows nothing of A-2, and an older state of A-1 comes first.
    world.publish_all(&[event("A-1", "created", 1), event("A-1", "paid", 2), event("B-1", "created", 1)]).await;
    for screen in &mut screens {
        screen.expect_status("A-1", "paid").await;
        screen.expect_status("B-1", "created").await;
        screen.until("it is fresh", |screen| screen.stale.is_none()).await;
        assert_eq!(screen.orders["A-2"]["status"], "paid", "rows stay");
    }
    let rows = "select order_id || ' ' || version_number from orders order by order_id";
    eventually("it is stored", async || world.database.texts(rows).await == ["A-1 2", "A-2 2", "B-1 1"]).await;
    let mut newcomer = world.watch(&two, "u-1").await;
    newcomer.until("it is fresh", |screen| screen.stale.is_none()).await;
    assert_eq!(newcomer.orders.len(), 3);
    for instance in [one, two] {
        assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
        instance.stop().await;
    }
}
