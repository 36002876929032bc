//! Producers that do not share a partitioner: events of one order in two partitions, between which log order says nothing.

use serde_json::{Value, json};

use super::replace_topic;
use crate::{
    parts::topic::Record,
    world::{Instance, World, eventually, record},
};

/// An event without a version, in this partition.
fn unversioned(order: &str, status: &str, partition: i32) -> Record {
    record(&json!({"order_id": order, "user_id": "u-1", "status": status})).partition(partition)
}

fn many(order: &str, partition: i32) -> Vec<Record> {
    (0..5).map(|n| unversioned(&format!("{order}-{n}"), "created", partition)).collect()
}

async fn put_aside(world: &World, count: i64) {
    let unordered = "select count(*) from dead_letters where code = 'unordered'";
    eventually("they are dead letters", async || world.database.number(unordered).await == Some(count)).await;
}

async fn counted(instances: &[&Instance], pipeline: &str) -> f64 {
    let mut sum = 0.0;
    for instance in instances {
        sum += instance.metric(&format!("ordercast_partition_changed_total{{pipeline=\"{pipeline}\"}}")).await;
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn events_without_versions_of_one_order_in_two_partitions_are_dead_letters_that_name_partitioners() {
    let world = World::create().await;
    let (one, two) = tokio::join!(world.start(), world.start());
    let mut screens = [world.watch(&one, "u-1").await, world.watch(&two, "u-1").await];
    world.topic.produce_all(&many("F", 0)).await;
    world.topic.produce(unversioned("A-1", "created", 0)).await;
    for screen in &mut screens {
        screen.expect_status("A-1", "created").await;
    }
    let stored = "select count(*) from orders where order_id = 'A-1'";
    eventually("it is stored", async || world.database.number(stored).await == Some(1)).await;

    // At a lower offset than the order's, and at a higher one.
    let low = world.topic.produce(unversioned("A-1", "delivered", 1)).await;
    world.topic.produce_all(&many("G", 1)).await;
    world.topic.produce_all(&many("H", 1)).await;
    let high = world.topic.produce(unversioned("A-1", "delivered", 1)).await;
    assert_eq!((low, high.1), ((1, 0), 11));
    put_aside(&world, 2).await;
    assert_eq!(counted(&[&one, &two], "recorder").await, 2.0);
    eventually("whoever shows the order counts them", async || counted(&[&one, &two], "fanout").await > 0.0).await;
    let listed = world.call(&["dead-letters", "list", "--json", "--order", "A-1"]).await;
    let dead_letters: Vec<Value> = listed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(dead_letters.len(), 2, "{}", listed.stderr);
    for dead_letter in dead_letters {
        let message = dead_letter["message"].as_str().unwrap();
        assert!(message.contains("known from partition 0") && message.contains("share one partitioner"), "{message}");
    }
    let late = r#"ordercast_records_total{pipeline="recorder",outcome="late"}"#;
    assert_eq!(one.metric(late).await + two.metric(late).await, 0.0);

    // All else of that partition is recorded, and the order goes on in its own.
    let others = "select count(*) from orders where order_id like 'H-%'";
    eventually("the others are stored", async || world.database.number(others).await == Some(5)).await;
    world.topic.produce(unversioned("A-1", "shipped", 0)).await;
    for screen in &mut screens {
        screen.expect_status("A-1", "shipped").await;
        assert!(!screen.statuses_of("A-1").contains(&"delivered".to_owned()), "{:?}", screen.frames);
        screen.until("it is fresh", |screen| screen.stale.is_none()).await;
    }
    // Sent again as it was, it is a dead letter again; with a version it counts, and the order goes on where that stands.
    let sent = world.call(&["dead-letters", "replay", "1:0"]).await;
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    put_aside(&world, 3).await;
    let versioned = json!({"order_id": "A-1", "user_id": "u-1", "status": "delivered", "version": 1});
    world.topic.produce(record(&versioned).partition(1)).await;
    for screen in &mut screens {
        screen.expect_status("A-1", "delivered").await;
    }
    world.topic.produce(unversioned("A-1", "returned", 1)).await;
    for screen in &mut screens {
        screen.expect_status("A-1", "returned").await;
    }
    for instance in [one, two] {
        assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
        instance.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_events_in_the_wrong_partition_holds_up_no_others() {
    let world = World::create().await;
    let instance = world.start().await;
    let homes: Vec<Record> = (0..50).map(|n| unversioned(&format!("A-{n}"), "created", 0)).collect();
    world.topic.produce_all(&homes).await;
    let stored = "select count(*) from orders where status = 'created'";
    eventually("they are stored", async || world.database.number(stored).await == Some(50)).await;
    let mut screen = world.watch(&instance, "u-1").await;
    // Batch upon batch of which no one could be stored as it is.
    let both =
        |n: usize| [unversioned(&format!("A-{}", n % 50), "astray", 1), unversioned(&format!("B-{n}"), "created", 1)];
    let records: Vec<Record> = (0..1_000).flat_map(both).collect();
    for chunk in records.chunks(100) {
        world.topic.produce_all(chunk).await;
    }
    put_aside(&world, 1_000).await;
    let stored = "select count(*) from orders where status = 'created'";
    eventually("all others are stored", async || world.database.number(stored).await == Some(1_050)).await;
    screen.expect_status("B-999", "created").await;
    assert!(screen.orders.values().all(|order| order["status"] == "created"));
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_versions_that_moved_with_a_new_log_goes_on_there() {
    let mut world = World::create().await;
    world.set("kafka.on_log_regression", "reset");
    let before = world.start().await;
    world.topic.produce_all(&many("F", 0)).await;
    world.topic.produce(unversioned("A-1", "created", 0)).await;
    let status = "select status from orders where order_id = 'A-1'";
    eventually("it is stored", async || world.database.texts(status).await == ["created"]).await;
    before.stop().await;
    // Nothing had been recorded of partition 1, so nobody can tell its new log from the old one.
    replace_topic(&world).await;
    let instance = world.start().await;
    let replaced = "select count(*) from progress where partition = 0 and generation = 1";
    eventually("the new log is known", async || world.database.number(replaced).await == Some(1)).await;
    let mut screen = world.watch(&instance, "u-1").await;
    world.topic.produce(unversioned("A-1", "shipped", 1)).await;
    screen.expect_status("A-1", "shipped").await;
    eventually("it is stored", async || world.database.texts(status).await == ["shipped"]).await;
    assert_eq!(world.database.number("select count(*) from dead_letters").await, Some(0));
    instance.stop().await;
}
