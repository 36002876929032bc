//! Logs that do not go on where the database stands.

use super::{
    fanout::event,
    instance::{Database, Instance, settings},
};
use crate::parts::{kafka::shared_broker, topic::Topic};

/// A topic with three records, two of them recorded, and its partition number 1 with one record.
async fn recorded(database: &Database) -> Topic {
    let topic = Topic::create(&shared_broker(), 2).await;
    let records = [event("A-1", "created", 1), event("A-2", "created", 1)].map(|record| record.partition(0));
    topic.produce_all(&records).await;
    let instance = Instance::start(&shared_broker(), &topic, database);
    database.until("select next_offset from progress where partition = 0", 2).await;
    instance.stop().await;
    topic
}

/// The same name, another log: shorter than what was recorded, or longer.
async fn replaced(topic: Topic, records: usize) -> Topic {
    let name = topic.name().to_owned();
    topic.delete().await;
    let mut made = None;
    while made.is_none() {
        // A broker deletes in the background and tells nobody when the name is free again.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let (name, broker) = (name.clone(), shared_broker());
        made = tokio::spawn(async move { Topic::create_named(&broker, &name, 2, &[]).await }).await.ok();
    }
    let topic = made.unwrap();
    for n in 0..records {
        topic.produce(event(&format!("N-{n}"), "new", 1).partition(0)).await;
    }
    topic
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_range_halts_its_partition_and_no_other() {
    let database = Database::sqlite().await;
    let topic = recorded(&database).await;
    topic.produce_all(&[3, 4, 5].map(|n| event(&format!("A-{n}"), "created", 1).partition(0))).await;
    topic.expire_below(0, 4).await;
    let mut instance = Instance::start(&shared_broker(), &topic, &database);
    topic.produce(event("B-1", "created", 1).partition(1)).await;
    database.until("select count(*) from orders where order_id = 'B-1'", 1).await;
    instance.until_stale_for(&["log_gap"]).await;
    assert_eq!(instance.halts.borrow().len(), 1);
    assert_eq!(database.number("select next_offset from progress where partition = 0").await, 2);
    // What there is is shown nevertheless, and said to be stale.
    let mut screen = instance.screen("u");
    screen.until("B-1", Some("created")).await;
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_range_is_noted_and_passed_where_the_settings_say_so() {
    let database = Database::postgres().await;
    let topic = recorded(&database).await;
    topic.produce_all(&[3, 4, 5].map(|n| event(&format!("A-{n}"), "created", 1).partition(0))).await;
    topic.expire_below(0, 4).await;
    let settings = settings(&shared_broker(), topic.name(), &[("kafka.on_log_gap", "continue")]);
    let mut instance = Instance::start_with(&settings, &database);
    database.until("select count(*) from orders where order_id = 'A-5'", 1).await;
    assert_eq!(database.number("select count(*) from orders").await, 3);
    database.until("select count(*) from lost_ranges where from_offset = 2 and to_offset = 4", 1).await;
    instance.until_stale_for(&[]).await;
    let mut screen = instance.screen("u");
    screen.until("A-5", Some("created")).await;
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_and_a_longer_log_of_the_same_name_halt() {
    for records in [1, 3] {
        let database = Database::sqlite().await;
        let topic = replaced(recorded(&database).await, records).await;
        let mut instance = Instance::start(&shared_broker(), &topic, &database);
        instance.until_stale_for(&["log_regression"]).await;
        assert_eq!(database.number("select next_offset from progress where partition = 0").await, 2);
        assert_eq!(database.number("select count(*) from orders where order_id like 'N-%'").await, 0);
        instance.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_log_is_read_from_its_beginning_where_the_settings_say_so() {
    for records in [1, 3] {
        let database = Database::sqlite().await;
        let topic = replaced(recorded(&database).await, records).await;
        let settings = settings(&shared_broker(), topic.name(), &[("kafka.on_log_regression", "reset")]);
        let mut instance = Instance::start_with(&settings, &database);
        instance.until_ready().await;
        let mut screen = instance.screen("u");
        screen.until("N-0", Some("new")).await;
        screen.until("A-1", Some("created")).await;
        instance.until_stale_for(&[]).await;
        let expected = 2 + records as i64;
        database.until("select count(*) from orders", expected).await;
        topic.produce(event("A-1", "shipped", 2).partition(1)).await;
        screen.until("A-1", Some("shipped")).await;
        instance.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_replaced_or_expires_under_way_is_noticed() {
    let database = Database::sqlite().await;
    let topic = recorded(&database).await;
    let settings = settings(
        &shared_broker(),
        topic.name(),
        &[("kafka.on_log_regression", "reset"), ("kafka.on_log_gap", "continue")],
    );
    let mut instance = Instance::start_with(&settings, &database);
    instance.until_ready().await;
    let mut screen = instance.screen("u");
    screen.until("A-1", Some("created")).await;
    let topic = replaced(topic, 1).await;
    screen.until("N-0", Some("new")).await;
    database.until("select count(*) from orders where order_id = 'N-0'", 1).await;
    topic.produce(event("A-1", "shipped", 2).partition(0)).await;
    screen.until("A-1", Some("shipped")).await;
    instance.until_stale_for(&[]).await;
    instance.stop().await;
}
