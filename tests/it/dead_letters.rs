//! Dead letters as an operator's tool, and what becomes of a partition whose dead letters nobody takes.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::{
    parts::topic::{Record, Topic},
    world::{World, eventually},
};

const KNOWN: &str = "created,paid,shipped";
/// A header's name that is not UTF-8.
const NO_TEXT: &[u8] = b"\xff\xfe";

fn event(order: &str, status: &str) -> Value {
    json!({"order_id": order, "user_id": "u-1", "status": status})
}

async fn put_aside(world: &World, count: i64) {
    eventually("the records are dead letters", async || {
        let listed = world.call(&["dead-letters", "list", "--json"]).await;
        assert_eq!(listed.code, Some(0), "{}", listed.stderr);
        listed.stdout.lines().count() as i64 == count
    })
    .await;
}

async fn list(world: &World, filters: &[&str]) -> Vec<Value> {
    let listed = world.call(&[&["dead-letters", "list", "--json"], filters].concat()).await;
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    listed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn what_was_put_aside_is_listed_and_replayed_once_as_it_was() {
    let mut world = World::create().await;
    world.set("lifecycle.statuses", KNOWN);
    let instance = world.start().await;
    let odd = Record::new("A-1", event("A-1", "packed").to_string())
        .timestamp(1_790_000_000_000)
        .header("trace", vec![0, 255])
        .header("x-error-code", "of the producer");
    let (partition, offset) = world.topic.produce(odd).await;
    let broken = world.topic.produce(Record::new("A-2", vec![0xff, 0xfe])).await;
    put_aside(&world, 2).await;

    let table = world.call(&["dead-letters", "list"]).await.stdout;
    assert!(table.lines().count() == 3 && table.contains("unknown_status"), "{table}");
    assert!(!table.contains('\x1b') && table.lines().all(|line| line.chars().count() <= 100), "{table}");
    let [only] = &list(&world, &["--order", "A-1"]).await[..] else { panic!() };
    assert_eq!((&only["code"], &only["partition"]), (&json!("unknown_status"), &json!(partition)));
    assert_eq!(list(&world, &["--code", "not_utf8"]).await[0]["value_base64"], "//4=");
    assert!(list(&world, &["--since", "2100-01-01T00:00:00Z"]).await.is_empty());
    instance.stop().await;

    // The cause is cured, and the dead letters are sent again: shown as what it first was.
    world.set("lifecycle.statuses", "created,paid,shipped,packed");
    let instance = world.start().await;
    let place = format!("{partition}:{offset}");
    let dry = world.call(&["dead-letters", "replay", "--all", "--dry-run"]).await;
    assert!(dry.stdout.contains(&place) && dry.stdout.ends_with("2 would be sent\n"), "{}", dry.stdout);
    let sent = world.call(&["dead-letters", "replay", &place]).await;
    assert_eq!((sent.code, sent.stdout.lines().last()), (Some(0), Some("1 sent")), "{}", sent.stderr);
    let mut screen = world.watch(&instance, "u-1").await;
    screen.expect_status("A-1", "packed").await;
    assert_eq!(screen.orders["A-1"]["version"], json!(offset + 1));
    assert_eq!(screen.orders["A-1"]["occurred_at"], "2026-09-21T14:13:20.000Z");
    let log = world.topic.read(3).await;
    let replayed = log.iter().find(|record| record.partition == partition && record.offset > offset).unwrap();
    assert_eq!(replayed.value, Some(event("A-1", "packed").to_string().into_bytes()));
    let own = [(b"trace".to_vec(), Some(vec![0, 255])), (b"x-error-code".to_vec(), Some(b"of the producer".to_vec()))];
    assert_eq!(replayed.headers[..2], own);
    assert!(replayed.headers[2..].iter().all(|(name, _)| name.starts_with(b"ordercast-")), "{:?}", replayed.headers);

    let again = world.call(&["dead-letters", "replay", &place]).await;
    assert_eq!(again.code, Some(1), "{}", again.stdout);
    assert!(again.stderr.contains("--again"), "{}", again.stderr);
    // The other is still broken, so its replay becomes a dead letter, too: the same record, which is not sent for ever.
    let rest = world.call(&["dead-letters", "replay", "--all"]).await;
    assert_eq!(rest.stdout.lines().last(), Some("1 sent"), "{}{}", rest.stdout, rest.stderr);
    put_aside(&world, 3).await;
    let nothing = world.call(&["dead-letters", "replay", "--all"]).await;
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), "0 sent\n"), "{}", nothing.stderr);
    let forced = world.call(&["dead-letters", "replay", "--all", "--again", "--order", "A-2"]).await;
    assert_eq!(forced.code, Some(2), "{}", forced.stdout);
    let forced = world.call(&["dead-letters", "replay", "--again", "--order", "A-2"]).await;
    assert_eq!(forced.stdout.lines().last(), Some("1 sent"), "{}{}", forced.stdout, forced.stderr);
    let missing = world.call(&["dead-letters", "replay", "0:987654"]).await;
    assert!(missing.code == Some(1) && missing.stderr.contains("0:987654"), "{}", missing.stderr);
    assert!(broken.1 >= 0);
    instance.stop().await;
}

#[tokio::test]
async fn a_record_too_large_for_the_dead_letter_topic_is_kept_by_the_database_and_replayed_from_there() {
    let world = World::create().await;
    let dead_letters = Topic::existing(&crate::parts::kafka::shared_broker(), &format!("{}.dlt", world.topic.name()));
    dead_letters.delete().await;
    let small = [("max.message.bytes", "2000")];
    eventually("the old topic is gone", async || !dead_letters.exists().await).await;
    Topic::create_named(&crate::parts::kafka::shared_broker(), dead_letters.name(), 1, &small).await;
    let instance = world.start().await;
    // Noise, so that compression does not make it fit.
    let noise: Vec<u8> = (0..4_000).map(|_| rand::random::<u8>() | 0x80).collect();
    let record = Record::new("A-1", noise.clone()).header("trace", "7").header(NO_TEXT, "of no text");
    let (partition, offset) = world.topic.produce(record).await;
    put_aside(&world, 1).await;
    let listed = list(&world, &[]).await;
    assert_eq!(listed[0]["held_in_database"], true, "{listed:?}");
    let sent = world.call(&["dead-letters", "replay", "--all"]).await;
    assert_eq!(sent.stdout.lines().last(), Some("1 sent"), "{}{}", sent.stdout, sent.stderr);
    let log = world.topic.read(2).await;
    let replayed = log.iter().find(|record| record.partition == partition && record.offset > offset).unwrap();
    assert_eq!((replayed.value.as_ref(), replayed.key.as_deref()), (Some(&noise), Some(&b"A-1"[..])));
    let own = [(b"trace".to_vec(), Some(b"7".to_vec())), (NO_TEXT.to_vec(), Some(b"of no text".to_vec()))];
    assert_eq!(replayed.headers[..2], own);
    instance.stop().await;
}

#[tokio::test]
async fn a_header_whose_name_is_no_text_counts_as_no_panic_hides_no_other_and_is_kept_byte_for_byte() {
    let mut world = World::create().await;
    world.set("lifecycle.statuses", KNOWN);
    let instance = world.serve().await;
    let odd = |order: &str, status: &str| {
        let record = Record::new(order, event(order, status).to_string()).header(NO_TEXT, vec![0xfd, 0]);
        record.header("id", "e-1").header(b"\xc3", "half").header("trace", "7")
    };
    let own = [
        (NO_TEXT.to_vec(), Some(vec![0xfd, 0])),
        (b"id".to_vec(), Some(b"e-1".to_vec())),
        (b"\xc3".to_vec(), Some(b"half".to_vec())),
        (b"trace".to_vec(), Some(b"7".to_vec())),
    ];
    let broker = crate::parts::kafka::shared_broker();
    let control = Topic::existing(&broker, &format!("{}.control", world.topic.name()));
    control.produce(Record::new("of-tomorrow:1", "{}").header(NO_TEXT, "x")).await;
    let (partition, offset) = world.topic.produce(odd("A-1", "packed")).await;
    world.topic.produce_all(&[odd("A-2", "paid"), odd("A-3", "paid")]).await;
    let erased = Record::tombstone("A-3").header(NO_TEXT, "x").header("ordercast-reset", "true");
    world.topic.produce(erased).await;

    // Each of them is what it is without that header.
    let mut screen = world.watch(&instance, "u-1").await;
    screen.expect_status("A-2", "paid").await;
    screen.expect_gone("A-3").await;
    put_aside(&world, 1).await;
    eventually("the control topic is read", async || {
        instance.metric("ordercast_control_records_total{kind=\"unreadable\"}").await == 1.0
    })
    .await;
    screen.send(json!({"type": "sync"})).await;
    world.topic.produce(odd("A-2", "shipped")).await;
    screen.expect_status("A-2", "shipped").await;
    let told = screen.frames.iter().rfind(|frame| frame["type"] == "order_status" && frame["status"] == "shipped");
    assert_eq!(told.map(|told| &told["event_id"]), Some(&json!("e-1")), "{:?}", screen.frames);

    let dead_letter = Topic::existing(&broker, &format!("{}.dlt", world.topic.name())).read(1).await.remove(0);
    assert_eq!(dead_letter.headers[..4], own);
    let [listed] = &list(&world, &[]).await[..] else { panic!() };
    let names = json!([
        {"name_base64": "//4=", "value_base64": "/QA="},
        {"name": "id", "value": "e-1"},
        {"name_base64": "ww==", "value": "half"},
        {"name": "trace", "value": "7"},
    ]);
    assert_eq!(listed["headers"], names);
    let replayed = world.call(&["dead-letters", "replay", &format!("{partition}:{offset}")]).await;
    assert_eq!((replayed.code, replayed.stderr.as_str()), (Some(0), ""), "{}", replayed.stdout);
    let log = world.topic.read(6).await;
    let replayed = log.iter().find(|record| record.headers.iter().any(|(name, _)| name == b"ordercast-replay-of"));
    assert_eq!(replayed.unwrap().headers[..4], own);
    put_aside(&world, 2).await;

    assert_eq!(instance.metric("ordercast_panics_total").await, 0.0);
    let log = instance.log();
    assert!(!log.contains("panicked") && !log.contains("\"ERROR\""), "{log}");
    instance.stop().await;
}

#[tokio::test]
async fn a_missing_dead_letter_topic_stops_its_partition_alone_and_raises_an_alarm() {
    let world = World::create().await;
    let broker = crate::parts::kafka::shared_broker();
    let dead_letters = Topic::existing(&broker, &format!("{}.dlt", world.topic.name()));
    dead_letters.delete().await;
    let instance = world.start().await;
    world.topic.produce(Record::new("bad", "{").partition(0)).await;
    let good = |partition: i32| {
        let order = format!("P-{partition}");
        Record::new(order.clone(), event(&order, "created").to_string()).partition(partition)
    };
    world.topic.produce_all(&[good(0), good(1), good(2)]).await;
    let stored = async |count: i64| {
        let mut database = PgConnection::connect(&world.database.url()).await.unwrap();
        let rows: i64 = sqlx::query_scalar("select count(*) from orders").fetch_one(&mut database).await.unwrap();
        rows == count
    };
    let alarm = "ordercast_dead_letter_topic_failures_total";
    eventually("the alarm is raised", async || instance.metric(alarm).await >= 1.0).await;
    eventually("the other partitions are stored", async || stored(2).await).await;
    world.topic.produce_all(&[Record::new("P-9", event("P-9", "created").to_string()).partition(1)]).await;
    eventually("and go on", async || stored(3).await).await;
    // Nobody who watches has to wait for the dead letter.
    let mut screen = world.watch(&instance, "u-1").await;
    screen.expect_status("P-0", "created").await;
    let away = world.call(&["dead-letters", "list"]).await;
    assert_eq!(away.code, Some(1), "{}", away.stdout);
    assert!(away.stderr.contains("ordercast migrate"), "{}", away.stderr);

    Topic::create_named(&broker, dead_letters.name(), 1, &[]).await;
    eventually("the partition goes on", async || stored(4).await).await;
    put_aside(&world, 1).await;
    instance.stop().await;
}
