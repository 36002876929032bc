//! What producers write, from the broker over the database to the screen.

use ordercast::domain::version::MAX_VERSION;
use serde_json::json;

use crate::{
    parts::topic::Record,
    world::{World, eventually},
};

fn refused(code: &str) -> String {
    format!(r#"ordercast_records_refused_total{{pipeline="recorder",code="{code}"}}"#)
}

#[tokio::test]
async fn what_no_client_could_read_reaches_no_frame() {
    let world = World::create().await;
    let instance = world.start().await;
    let mut screen = world.watch(&instance, "u-1").await;
    let event = |order: &str, members: &str| {
        let text = format!(r#"{{"order_id":"{order}","user_id":"u-1","status":"created","version":1,{members}}}"#);
        Record::new(order, text)
    };
    let events = [
        event("number", r#""details":{"total":[1e400]}"#),
        event("lines", "\"details\":{\r\n  \"a\" : 1\n}"),
        event("early", r#""occurred_at":-99999999999"#),
        event("late", r#""occurred_at":"2999-01-01T00:00:00Z""#),
        event("text", r#""details":"{\"a\":1}","occurred_at":"0001-01-01T00:00:00Z""#),
        event("last", r#""details":{}"#),
    ];
    for record in events {
        world.topic.produce(record).await;
    }
    screen.until("five orders", |screen| screen.orders.len() == 5).await;
    for order in ["lines", "text"] {
        assert_eq!(screen.orders[order]["details"], json!({"a": 1}), "{order}");
    }
    eventually("all are stored", async || world.database.number("select count(*) from orders").await == Some(5)).await;
    eventually("the other is refused", async || instance.metric(&refused("invalid_field")).await == 1.0).await;
    let unreadable = r#"ordercast_occurred_at_unreadable_total{pipeline="recorder"}"#;
    assert_eq!(instance.metric(unreadable).await, 2.0);
    let now = ordercast::domain::Timestamp::now().to_string();
    for (order, shown) in &screen.orders {
        assert!(shown["occurred_at"].as_str().unwrap()[..4] == now[..4], "{order}: {shown}");
    }

    // A row as an older version stored it.
    let spoilt = "update orders set details = '{\"a\":\n1e400}', occurred_at = -99999999999000 where order_id = 'last'";
    world.database.run(spoilt).await;
    let newcomer = world.watch(&instance, "u-1").await;
    assert_eq!(newcomer.orders["last"]["details"], json!({}));
    assert_eq!(newcomer.orders["last"]["occurred_at"], "0001-01-01T00:00:00.000Z");
    assert_eq!(newcomer.orders.len(), 5);
    assert!(instance.metric("ordercast_stored_values_unreadable_total").await >= 2.0);
    instance.stop().await;
}

#[tokio::test]
async fn a_tombstone_under_a_binary_key_erases_nobodys_order() {
    let world = World::create().await;
    let instance = world.start().await;
    let mut screen = world.watch(&instance, "u-1").await;
    let order = |id: &str| Record::new(id, json!({"order_id": id, "user_id": "u-1", "status": "created"}).to_string());
    for id in ["123", "A-1001"] {
        world.topic.produce(order(id)).await;
    }
    screen.until("two orders", |screen| screen.orders.len() == 2).await;
    world.topic.produce(Record::tombstone(3_224_115_i64.to_be_bytes())).await;
    world.topic.produce(Record::tombstone(b"\0\0\0\0\x2a\x0cA-1001")).await;
    world.topic.produce(Record::tombstone(b"\0\0\0\0\x2a123")).await;
    eventually("all are refused", async || instance.metric(&refused("bad_key")).await == 3.0).await;
    world.topic.produce(Record::tombstone(b"\0\0\0\0\x2a\"A-1001\"")).await;
    screen.expect_gone("A-1001").await;
    assert_eq!(screen.orders.len(), 1);
    eventually("one is stored", async || {
        world.database.number("select count(*) from orders where order_id = '123'").await == Some(1)
            && world.database.number("select count(*) from orders").await == Some(1)
    })
    .await;
    instance.stop().await;
}

#[tokio::test]
async fn an_order_that_a_version_has_frozen_is_reset_and_taken_up_again() {
    let world = World::create().await;
    let instance = world.serve().await;
    let mut screen = world.watch(&instance, "u-1").await;
    let event =
        |status: &str, version: u64| json!({"order_id": "A-1", "user_id": "u-1", "status": status, "version": version});
    world.publish(event("created", MAX_VERSION)).await;
    screen.expect_status("A-1", "created").await;
    world.publish(event("paid", 2)).await;
    world.topic.produce(Record::tombstone("A-1")).await;
    screen.expect_gone("A-1").await;
    world.publish(event("paid", 2)).await;
    let late = r#"ordercast_records_total{pipeline="recorder",outcome="late"}"#;
    eventually("neither is newer", async || instance.metric(late).await == 2.0).await;
    assert_eq!(instance.metric("ordercast_version_jumps_total").await, 1.0);

    let reset = world.call(&["reset-order", "A-1"]).await;
    assert_eq!(reset.code, Some(0), "{}", reset.stderr);
    assert!(reset.stdout.starts_with("partition ") && reset.stdout.contains(", offset "), "{}", reset.stdout);
    world.publish(event("packed", 3)).await;
    screen.expect_status("A-1", "packed").await;
    world.publish(event("shipped", 4)).await;
    screen.expect_status("A-1", "shipped").await;
    eventually("it is stored", async || {
        world.database.number("select version_number from orders where order_id = 'A-1'").await == Some(4)
    })
    .await;
    assert!(!screen.statuses_of("A-1").contains(&"paid".to_owned()));
    let told = instance
        .log()
        .lines()
        .filter(|line| line.contains("an order was reset"))
        .map(str::to_owned)
        .collect::<Vec<_>>();
    assert!(told.len() == 1 && told[0].contains("A-1"), "{told:?}");
    instance.stop().await;
}

#[tokio::test]
async fn a_decimal_of_kafka_connect_is_the_users_number() {
    let world = World::create().await;
    let instance = world.start().await;
    let mut screen = world.watch(&instance, "42").await;
    let decimal = |field: &str| {
        json!({"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "version": 1,
               "parameters": {"scale": "0"}, "field": field})
    };
    let value = json!({
        "schema": {"type": "struct", "fields": [decimal("user_id"), decimal("order_id")], "optional": false},
        "payload": {"order_id": "A+k=", "user_id": "Kg==", "status": "shipped"},
    });
    let key = json!({
        "schema": {"type": "struct", "fields": [decimal("id")], "optional": false},
        "payload": {"id": "A+k="},
    });
    world.topic.produce(Record::new(key.to_string(), value.to_string())).await;
    screen.expect_status("1001", "shipped").await;
    world.topic.produce(Record::tombstone(key.to_string())).await;
    screen.expect_gone("1001").await;
    instance.stop().await;
}
