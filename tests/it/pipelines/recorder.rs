//! Kafka → SQL: exactly once, whatever is in the log and whoever shares it.

use std::sync::Arc;

use super::{
    fanout::event,
    faulty::Faulty,
    instance::{Database, Instance, settings, with_dead_letters},
};
use crate::parts::{
    kafka::shared_broker,
    topic::{Record, Topic},
};

/// Records that cannot be used, with the code each gets.
fn bad_records() -> Vec<(&'static str, Record)> {
    let json = |value: &str| Record::new("B", value);
    let deep = format!(
        r#"{{"order_id":"B","user_id":"u","status":"x","version":1,"details":{{"a":{}1{}}}}}"#,
        "[".repeat(2_000),
        "]".repeat(2_000)
    );
    let large = format!(
        r#"{{"order_id":"B","user_id":"u","status":"x","version":1,"details":{{"a":"{}"}}}}"#,
        "x".repeat(17 * 1024)
    );
    vec![
        ("empty", json("")),
        ("not_utf8", Record::new("B", vec![b'{', 0xff, b'}'])),
        ("not_json", json("{")),
        ("not_json", json("shipped")),
        ("too_large", json(&large)),
        ("too_large", json(&format!("{{{}}}", " ".repeat(300 * 1024)))),
        ("too_deep", json(&deep)),
        ("missing_field", json(r#"{"user_id":"u","status":"x","version":1}"#)),
        ("missing_field", json(r#"{"order_id":"B","status":"x","version":1}"#)),
        ("missing_field", json(r#"{"order_id":"B","user_id":"u","version":1}"#)),
        ("missing_field", json(r#"{"order_id":null,"user_id":"u","status":"x","version":1}"#)),
        ("invalid_field", json(r#"{"order_id":{},"user_id":"u","status":"x","version":1}"#)),
        ("invalid_field", json(r#"{"order_id":"B","user_id":"u","status":"","version":1}"#)),
        ("invalid_field", json(r#"{"order_id":"B","user_id":"u","status":"x","version":-1}"#)),
        ("invalid_field", json(r#"{"order_id":"B","user_id":"u","status":"x","version":1.5}"#)),
        ("invalid_field", json(r#"{"order_id":"B","user_id":"u","status":"x","version":1,"viewers":"m"}"#)),
        ("invalid_field", json(r#"{"order_id":"B","user_id":"u","status":"x","version":1,"details":[]}"#)),
        (
            "invalid_field",
            json(
                "{\"order_id\":\"B\",\"user_id\":\"u\",\"status\":\"x\",\"version\":1,\"details\":{\"a\":\"\\u0000\"}}",
            ),
        ),
        ("unordered", Record::keyless(r#"{"order_id":"B","user_id":"u","status":"x"}"#)),
        ("bad_key", Record::tombstone("{}")),
        ("unsupported_encoding", json("{}").header("content-type", "application/x-protobuf")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_around_good_ones_become_dead_letters_once_though_the_recorder_restarts() {
    let database = Database::postgres().await;
    let topic = Topic::create(&shared_broker(), 1).await;
    let dead_letters = with_dead_letters(&shared_broker(), &topic).await;
    let bad = bad_records();
    assert_eq!(bad.len(), 21);
    let mut records = Vec::new();
    for (n, (_, record)) in bad.iter().enumerate() {
        records.push(record.clone().header("trace", vec![0xff, n as u8]).timestamp(1_700_000_000_000 + n as i64));
        records.push(event(&format!("A-{n}"), "created", 1));
    }
    let (first, second) = records.split_at(20);

    topic.produce_all(first).await;
    let instance = Instance::start(&shared_broker(), &topic, &database);
    database.until("select count(*) from orders", 10).await;
    // Dropped, not stopped: nobody finishes anything.
    drop(instance);
    topic.produce_all(second).await;
    let mut instance = Instance::start(&shared_broker(), &topic, &database);
    instance.until_ready().await;
    database.until("select count(*) from orders", 21).await;
    database.until("select next_offset from progress", 42).await;
    assert_eq!(database.number("select count(*) from dead_letters").await, 21);
    assert_eq!(database.number("select count(*) from dead_letters where held").await, 0);

    for (n, (dead_letter, (code, _))) in dead_letters.read(21).await.into_iter().zip(bad).enumerate() {
        let original = topic.read(2 * n + 1).await.pop().unwrap();
        assert_eq!((&dead_letter.key, &dead_letter.value), (&original.key, &original.value), "{code}");
        let (kept, added) = dead_letter.headers.split_at(original.headers.len());
        assert_eq!(kept, original.headers, "{code}");
        let header = |name: &str| {
            let found =
                added.iter().find(|(header, _)| header == name.as_bytes()).unwrap_or_else(|| panic!("no {name}"));
            found.1.clone().unwrap()
        };
        assert_eq!(header("x-error-code"), code.as_bytes());
        assert_eq!(header("kafka_dlt-original-topic"), topic.name().as_bytes());
        assert_eq!(header("kafka_dlt-original-partition"), 0_i32.to_be_bytes());
        assert_eq!(header("kafka_dlt-original-offset"), original.offset.to_be_bytes());
        assert_eq!(header("kafka_dlt-original-timestamp"), original.timestamp.unwrap().to_be_bytes());
        assert_eq!(header("kafka_dlt-original-timestamp-type"), b"CreateTime");
        assert!(!header("kafka_dlt-exception-message").is_empty() && !header("kafka_dlt-exception-fqcn").is_empty());
    }
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_too_large_for_the_dead_letter_topic_is_held_by_its_row() {
    let database = Database::sqlite().await;
    let topic = Topic::create(&shared_broker(), 1).await;
    let small = [("max.message.bytes", "20000")];
    let dead_letters = Topic::create_named(&shared_broker(), &format!("{}.dlt", topic.name()), 1, &small).await;
    // Does not shrink when compressed.
    let noise: Vec<u8> = (0_u32..30_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    topic.produce_all(&[Record::new("B", noise), Record::new("B", "{"), event("A", "created", 1)]).await;
    let instance = Instance::start(&shared_broker(), &topic, &database);
    database.until("select count(*) from orders", 1).await;
    assert_eq!(database.number("select count(*) from dead_letters where held").await, 1);
    assert_eq!(database.number("select length(value) from dead_letters where held").await, 120_000);
    assert_eq!(dead_letters.read(1).await[0].value.as_deref(), Some(&b"{"[..]));
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_whose_dead_letters_cannot_be_delivered_waits_and_the_others_go_on() {
    let database = Database::sqlite().await;
    let topic = Topic::create(&shared_broker(), 2).await;
    topic.produce_all(&[Record::new("B", "{").partition(0), event("A-1", "created", 1).partition(0)]).await;
    let instance = Instance::start(&shared_broker(), &topic, &database);
    topic.produce(event("A-2", "created", 1).partition(1)).await;
    database.until("select count(*) from orders where order_id = 'A-2'", 1).await;
    database.until("select next_offset from progress where partition = 1", 1).await;
    assert_eq!(database.number("select next_offset from progress where partition = 0").await, 0);
    let dead_letters = with_dead_letters(&shared_broker(), &topic).await;
    database.until("select count(*) from orders", 2).await;
    assert_eq!(database.number("select count(*) from dead_letters").await, 1);
    assert_eq!(dead_letters.read(1).await[0].value.as_deref(), Some(&b"{"[..]));
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorders_share_the_partitions_and_hand_them_over() {
    let database = Database::postgres().await;
    let topic = Topic::create(&shared_broker(), 4).await;
    let settings = settings(&shared_broker(), topic.name(), &[]);
    let mut instances = vec![Instance::start_with(&settings, &database)];
    let mut sent = 0;
    for round in 0..4_u64 {
        for _ in 0..10 {
            let records: Vec<_> =
                (0..20).map(|order| event(&format!("A-{order}"), &format!("s{sent}"), sent + 1)).collect();
            topic.produce_all(&records).await;
            sent += 1;
        }
        match round {
            0 | 1 => instances.push(Instance::start_with(&settings, &database)),
            // One leaves in order, one without a word.
            2 => instances.remove(0).stop().await,
            _ => drop(instances.remove(0)),
        }
    }
    database.until("select cast(sum(next_offset) as bigint) from progress", 800).await;
    assert_eq!(database.number("select count(*) from orders").await, 20);
    assert_eq!(database.number("select count(*) from orders where version_number = 40 and status = 's39'").await, 20);
    let mut last = instances.remove(0);
    last.until_ready().await;
    let mut screen = last.screen("u");
    for order in 0..20 {
        screen.until(&format!("A-{order}"), Some("s39")).await;
    }
    last.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_refuses_becomes_a_dead_letter_and_leaves_every_screen() {
    let database = Database::sqlite().await;
    let topic = Topic::create(&shared_broker(), 1).await;
    let dead_letters = with_dead_letters(&shared_broker(), &topic).await;
    let store = Arc::new(Faulty { inner: database.store(), order: "X", user: "", loses_commits: Default::default() });
    let settings = settings(&shared_broker(), topic.name(), &[]);
    let (mut refusing, mut other) =
        (Instance::start_on(&settings, store.clone()), Instance::start_on(&settings, store));
    refusing.until_ready().await;
    other.until_ready().await;
    let mut screens = [refusing.screen("u"), other.screen("u")];
    for screen in &mut screens {
        screen.until_live().await;
    }
    topic.produce_all(&[event("A-1", "created", 1), event("X", "created", 1), event("A-2", "created", 1)]).await;
    database.until("select count(*) from orders", 2).await;
    database.until("select count(*) from dead_letters where code = 'rejected_by_store' and log_offset = 1", 1).await;
    database.until("select next_offset from progress", 3).await;
    assert!(dead_letters.read(1).await[0].value.as_ref().unwrap().starts_with(b"{\"order_id\":\"X\""));
    for screen in &mut screens {
        screen.until("A-2", Some("created")).await;
        screen.until("X", None).await;
    }
    refusing.stop().await;
    other.stop().await;
}
