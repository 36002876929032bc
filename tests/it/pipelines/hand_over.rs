//! What the fanout has read is recorded without being read again, and what it has not is recorded all the same.

use std::time::Instant;

use super::{
    fanout::event,
    instance::{Database, Instance, PATIENCE, settings, with_dead_letters},
};
use crate::parts::{
    kafka::shared_broker,
    postgres::Postgres,
    topic::{Record, Topic},
};
use crate::world::value_of;

const TAKEN_OVER: &str = "ordercast_recorder_records_taken_over_total";
const APPLIED: &str = r#"ordercast_records_total{pipeline="recorder",outcome="applied"}"#;
const SHOWN: &str = r#"ordercast_records_total{pipeline="fanout",outcome="applied"}"#;
const READ: &str = "ordercast_recorder_records_read_total";

/// Publishes orders of this name until one of them is taken over. Returns how many there are.
async fn until_handed_over(instance: &Instance, topic: &Topic, name: &str) -> usize {
    let (before, deadline) = (instance.metric(TAKEN_OVER), Instant::now() + PATIENCE);
    let mut published = 0;
    while instance.metric(TAKEN_OVER) == before {
        assert!(Instant::now() < deadline, "nothing is taken over");
        topic.produce(event(&format!("{name}-{published}"), "created", 1)).await;
        published += 1;
    }
    published
}

fn events(name: &str, many: usize) -> Vec<Record> {
    (0..many).map(|n| event(&format!("{name}-{n}"), "created", 1)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_fanout_read_is_recorded_without_being_read_again() {
    let database = Database::postgres().await;
    let topic = Topic::create(&shared_broker(), 1).await;
    let dead_letters = with_dead_letters(&shared_broker(), &topic).await;
    topic.produce_all(&events("A", 20)).await;
    let mut instance = Instance::start(&shared_broker(), &topic, &database);
    instance.until_ready().await;
    database.until("select next_offset from progress", 20).await;
    assert_eq!((instance.metric(READ), instance.metric(TAKEN_OVER)), (20.0, 0.0), "at its start it reads by itself");

    let first = until_handed_over(&instance, &topic, "B").await;
    let (read, taken_over) = (instance.metric(READ), instance.metric(TAKEN_OVER));
    let unversioned = |n: usize| Record::new("U", format!(r#"{{"order_id":"U","user_id":"u","status":"s{n}"}}"#));
    topic.produce_all(&events("C", 300)).await;
    topic.produce_all(&[Record::new("B-0", "{").header("trace", vec![0xff]), unversioned(1), unversioned(2)]).await;
    topic.produce_all(&[Record::tombstone("C-7"), event("C-8", "shipped", 2)]).await;
    // Markers of transactions move progress as well.
    topic.commit(&events("D", 10)).await;
    topic.abort(&events("E", 10)).await;
    let end = topic.watermarks(0).await.1;
    let deadline = Instant::now() + PATIENCE;
    while database.number("select next_offset from progress").await < end {
        assert!(Instant::now() < deadline, "everything is recorded");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let more = instance.metric(TAKEN_OVER) - taken_over;
    assert!((more - 315.0).abs() <= first as f64, "{more} were taken over");
    assert_eq!(instance.metric(READ), read, "and none was read");
    assert_eq!(database.number("select count(*) from orders").await as usize, 20 + first + 299 + 1 + 10);
    assert_eq!(database.number("select count(*) from orders where order_id = 'U' and status = 's2'").await, 1);
    assert_eq!(database.number("select version_number from orders where order_id = 'C-8'").await, 2);
    assert_eq!(database.number("select count(*) from erased_orders where order_id = 'C-7'").await, 1);
    assert_eq!(database.number("select count(*) from dead_letters where code = 'not_json'").await, 1);
    let dead_letter = dead_letters.read(1).await.remove(0);
    assert_eq!(dead_letter.value.as_deref(), Some(&b"{"[..]));
    assert_eq!(dead_letter.headers[0], (b"trace".to_vec(), Some(vec![0xff])));
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_fell_behind_reads_by_itself_until_it_has_caught_up_with_the_fanout() {
    let mut server = Postgres::start().await;
    let database = Database::at(server.url()).await;
    let topic = Topic::create(&shared_broker(), 2).await;
    let mut instance = Instance::start(&shared_broker(), &topic, &database);
    instance.until_ready().await;
    until_handed_over(&instance, &topic, "A").await;
    let (read, shown) = (instance.metric(READ), instance.metric(SHOWN));
    server.crash().await;
    // More than recorder and fanout keep together.
    let many = 45_000;
    topic.produce_all(&events("B", many)).await;
    let deadline = Instant::now() + PATIENCE;
    while instance.metric(SHOWN) < shown + many as f64 {
        assert!(Instant::now() < deadline, "the fanout has read everything");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    server.restart().await;
    database.until("select count(*) from orders where order_id like 'B-%'", many as i64).await;
    assert!(instance.metric(READ) > read, "what was dropped was read again");
    until_handed_over(&instance, &topic, "C").await;
    let applied = instance.metric(APPLIED);
    let orders = database.number("select count(*) from orders").await as f64;
    assert!(applied <= orders, "{applied} for {orders} orders: nothing was recorded twice");
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_change_hands_under_load_and_every_record_is_recorded_once() {
    let database = Database::postgres().await;
    let topic = Topic::create(&shared_broker(), 4).await;
    let settings = settings(&shared_broker(), topic.name(), &[]);
    let mut first = Instance::start_with(&settings, &database);
    first.until_ready().await;
    let mut published = until_handed_over(&first, &topic, "A").await;
    let second = Instance::start_with(&settings, &database);
    // Both record, each takes over from its own fanout.
    let mut round = 0;
    let deadline = Instant::now() + PATIENCE;
    while second.metric(TAKEN_OVER) == 0.0 {
        assert!(Instant::now() < deadline, "the second takes nothing over");
        topic.produce_all(&events(&format!("B{round}"), 40)).await;
        (published, round) = (published + 40, round + 1);
    }
    let second_counted = second.metrics.clone();
    second.stop().await;
    published += until_handed_over(&first, &topic, "C").await;
    topic.produce_all(&events("D", 200)).await;
    published += 200;
    database.until("select cast(sum(next_offset) as bigint) from progress", published as i64).await;
    assert_eq!(database.number("select count(*) from orders").await, published as i64);
    let first_counted = first.metrics.clone();
    first.stop().await;
    let applied = [first_counted, second_counted].map(|metrics| value_of(&metrics.encode(), APPLIED).unwrap());
    assert_eq!(applied.iter().sum::<f64>(), published as f64, "{applied:?}");
}
