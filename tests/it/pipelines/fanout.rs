//! Kafka → screens.

use super::instance::{Database, Instance, settings, with_dead_letters};
use crate::parts::{
    kafka::shared_broker,
    topic::{Record, Topic},
};

/// An event of an order of user `u`.
pub(super) fn event(order: &str, status: &str, version: u64) -> Record {
    Record::new(order, format!(r#"{{"order_id":"{order}","user_id":"u","status":"{status}","version":{version}}}"#))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_reaches_the_screen_and_the_database() {
    for database in [Database::postgres().await, Database::sqlite().await] {
        let topic = Topic::create(&shared_broker(), 3).await;
        topic.produce_all(&[event("A-1", "created", 1), event("A-2", "created", 1)]).await;
        let mut instance = Instance::start(&shared_broker(), &topic, &database);
        instance.until_ready().await;
        let mut screen = instance.screen("u");
        screen.until("A-1", Some("created")).await;
        screen.until("A-2", Some("created")).await;

        topic.produce(event("A-1", "shipped", 2)).await;
        screen.until("A-1", Some("shipped")).await;
        database.until("select count(*) from orders where order_id = 'A-1' and status = 'shipped'", 1).await;
        topic.produce(Record::tombstone("A-1")).await;
        screen.until("A-1", None).await;
        database.until("select count(*) from orders", 1).await;
        instance.until_stale_for(&[]).await;
        assert!(screen.is_proven());
        instance.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_and_double_events_are_not_shown() {
    let database = Database::sqlite().await;
    let topic = Topic::create(&shared_broker(), 1).await;
    let mut instance = Instance::start(&shared_broker(), &topic, &database);
    instance.until_ready().await;
    let mut screen = instance.screen("u");
    screen.until_live().await;
    let records = [event("A-1", "packed", 2), event("A-1", "created", 1), event("A-1", "packed", 2)];
    topic.produce_all(&records).await;
    topic.produce(event("A-2", "created", 1)).await;
    screen.until("A-2", Some("created")).await;
    assert_eq!(screen.orders["A-1"], "packed");
    database.until("select next_offset from progress", 4).await;
    assert_eq!(instance.metric(r#"ordercast_records_total{pipeline="recorder",outcome="late"}"#), 1.0);
    assert_eq!(instance.metric(r#"ordercast_records_total{pipeline="recorder",outcome="duplicate"}"#), 1.0);
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_transaction_is_not_shown_and_a_trailing_marker_blocks_nothing() {
    let database = Database::sqlite().await;
    let topic = Topic::create(&shared_broker(), 1).await;
    topic.commit(&[event("A-1", "created", 1)]).await;
    topic.abort(&[event("A-1", "never", 2)]).await;
    let mut instance = Instance::start(&shared_broker(), &topic, &database);
    instance.until_ready().await;
    instance.until_stale_for(&[]).await;
    let mut screen = instance.screen("u");
    screen.until("A-1", Some("created")).await;
    // One record and the two markers of a commit and an abort, with an aborted record between them.
    database.until("select next_offset from progress", 4).await;

    topic.abort(&[event("A-1", "never", 3)]).await;
    topic.commit(&[event("A-2", "created", 1)]).await;
    screen.until("A-2", Some("created")).await;
    assert_eq!(screen.orders["A-1"], "created");
    database.until("select next_offset from progress", 8).await;

    let _open = topic.begin(&[event("A-1", "open", 4)]).await;
    instance.until_stale_for(&[]).await;
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_partitions_are_read_from_their_beginning() {
    let database = Database::sqlite().await;
    let topic = Topic::create(&shared_broker(), 1).await;
    with_dead_letters(&shared_broker(), &topic).await;
    let mut instance = Instance::start(&shared_broker(), &topic, &database);
    instance.until_ready().await;
    let mut screen = instance.screen("u");
    screen.until_live().await;
    topic.grow_to(3).await;
    topic.produce(event("A-1", "created", 1).partition(2)).await;
    screen.until("A-1", Some("created")).await;
    database.until("select count(*) from orders", 1).await;
    database.until("select count(*) from progress", 3).await;
    instance.until_stale_for(&[]).await;

    // The count had not mattered before, but nobody can know what older events of this order stand where.
    let unversioned = Record::new("A-2", r#"{"order_id":"A-2","user_id":"u","status":"created"}"#);
    topic.produce(unversioned).await;
    database.until("select count(*) from dead_letters where code = 'unordered'", 1).await;
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_does_not_exist_yet_is_waited_for() {
    let database = Database::sqlite().await;
    let name = format!("test-{}", ulid::Ulid::generate());
    let mut instance = Instance::start_with(&settings(&shared_broker(), &name, &[]), &database);
    instance.until_stale_for(&["kafka_unavailable"]).await;
    assert!(!*instance.status.ready.borrow());
    let topic = Topic::create_named(&shared_broker(), &name, 2, &[]).await;
    topic.produce(event("A-1", "created", 1)).await;
    instance.until_ready().await;
    let mut screen = instance.screen("u");
    screen.until("A-1", Some("created")).await;
    instance.stop().await;
}
