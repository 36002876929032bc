//! Many screens, few statements.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{
    fanout::event,
    faulty::Faulty,
    instance::{Database, Instance, PATIENCE, settings},
};
use crate::parts::{
    kafka::shared_broker,
    topic::{Record, Topic},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_joins_share_a_few_statements() {
    let database = Database::postgres().await;
    let topic = Topic::create(&shared_broker(), 3).await;
    let records: Vec<_> = (0..1_000)
        .map(|n| {
            let value = format!(r#"{{"order_id":"A-{n}","user_id":"u-{n}","status":"created","version":1}}"#);
            Record::new(format!("A-{n}"), value)
        })
        .collect();
    topic.produce_all(&records).await;
    let mut instance = Instance::start(&shared_broker(), &topic, &database);
    instance.until_ready().await;
    database.until("select count(*) from orders", 1_000).await;
    let before = instance.metric("ordercast_snapshot_statements_total");
    let mut screens: Vec<_> = (0..1_000).map(|n| instance.screen(&format!("u-{n}"))).collect();
    for (n, screen) in screens.iter_mut().enumerate() {
        screen.until(&format!("A-{n}"), Some("created")).await;
        assert_eq!(screen.orders.len(), 1);
    }
    let statements = instance.metric("ordercast_snapshot_statements_total") - before;
    assert!(statements <= 20.0, "{statements} statements");
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_come_together_share_few_statements_and_who_comes_alone_has_one() {
    let database = Database::postgres().await;
    let topic = Topic::create(&shared_broker(), 1).await;
    topic.produce(event("A-1", "created", 1)).await;
    let mut instance = Instance::start(&shared_broker(), &topic, &database);
    instance.until_ready().await;
    database.until("select count(*) from orders", 1).await;
    let sent = |instance: &Instance| {
        ["statements_total", "viewers_sum"].map(|name| instance.metric(&format!("ordercast_snapshot_{name}")))
    };
    let before = sent(&instance);
    instance.screen("u").until_live().await;
    let alone = sent(&instance);
    assert_eq!([alone[0] - before[0], alone[1] - before[1]], [1.0, 1.0]);
    let mut screens: Vec<_> = (0..200).map(|n| instance.screen(&format!("u-{n}"))).collect();
    for screen in &mut screens {
        screen.until_live().await;
    }
    let together = sent(&instance);
    assert_eq!(together[1] - alone[1], 200.0, "each is read once");
    assert!(together[0] - alone[0] <= 8.0, "{} statements", together[0] - alone[0]);
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_sight_of_an_order_is_settled_by_one_more_read() {
    let database = Database::sqlite().await;
    let topic = Topic::create(&shared_broker(), 1).await;
    topic.produce_all(&[event("A-1", "packed", 5)]).await;
    let mut instance = Instance::start(&shared_broker(), &topic, &database);
    instance.until_ready().await;
    database.until("select next_offset from progress", 1).await;
    // Names nobody here, so the hub does not know the order when it is named for the first time, by a late event.
    let other = r#"{"order_id":"A-1","user_id":"other","status":"shipped","version":9}"#;
    topic.produce(Record::new("A-1", other)).await;
    database.until("select next_offset from progress", 2).await;
    let mut screen = instance.screen("u");
    screen.until_live().await;
    topic.produce(event("A-1", "returned", 7)).await;
    topic.produce(event("A-2", "created", 1)).await;
    screen.until("A-2", Some("created")).await;
    screen.until("A-1", None).await;
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_whose_read_is_refused_fails_alone() {
    let database = Database::sqlite().await;
    let topic = Topic::create(&shared_broker(), 1).await;
    topic.produce(event("A-1", "created", 1)).await;
    let store =
        Arc::new(Faulty { inner: database.store(), order: "", user: "huge", loses_commits: Default::default() });
    let mut instance = Instance::start_on(&settings(&shared_broker(), topic.name(), &[]), store);
    instance.until_ready().await;
    database.until("select count(*) from orders", 1).await;
    let mut screens: Vec<_> = (0..40).map(|n| instance.screen(if n == 7 { "huge" } else { "u" })).collect();
    let huge = screens.remove(7);
    for screen in &mut screens {
        screen.until("A-1", Some("created")).await;
    }
    // And so do those that come while it is tried again.
    instance.screen("u").until("A-1", Some("created")).await;
    assert!(!huge.live);
    instance.stop().await;
}

/// What is logged on this thread, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines(&self, word: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_told_once_and_keeps_nobody_else_waiting() {
    let database = Database::postgres().await;
    let topic = Topic::create(&shared_broker(), 1).await;
    let value = |n: i32| format!(r#"{{"order_id":"A-{n}","user_id":"u-{n}","status":"created","version":1}}"#);
    let records: Vec<_> = (0..51).map(|n| Record::new(format!("A-{n}"), value(n))).collect();
    topic.produce_all(&records).await;
    let mut instance = Instance::start(&shared_broker(), &topic, &database);
    instance.until_ready().await;
    database.until("select count(*) from orders", 51).await;
    let log = Log::default();
    let writer = log.clone();
    // The tasks of the pipelines run on this thread, too.
    let _logged = tracing::subscriber::set_default(
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish(),
    );

    // The owner is there, and its row is not what it was.
    let mut owner = instance.screen("u-0");
    owner.until("A-0", Some("created")).await;
    database.number("update orders set viewers = 'x' where order_id = 'A-0' returning 1::bigint").await;
    let mut other = instance.screen("u-0");
    let failures = "ordercast_snapshot_failures_total";
    let deadline = Instant::now() + PATIENCE;
    while instance.metric(failures) < 1.0 {
        assert!(Instant::now() < deadline, "nothing fails");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // One after the other, as people come. Had each to wait for the bad row's turn, this took a minute.
    let opened = Instant::now();
    for n in 1..51 {
        instance.screen(&format!("u-{n}")).until(&format!("A-{n}"), Some("created")).await;
    }
    assert!(opened.elapsed() < Duration::from_secs(20), "{:?}", opened.elapsed());
    assert!(!other.live);
    let failed = instance.metric(failures);
    assert!(failed <= 8.0, "{failed} statements failed, most of them with others in them");
    let told = log.lines("A-0");
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(log.lines("WARN").len() + log.lines("ERROR").len(), 1, "{:#?}", log.lines("R"));

    // Who is shown the order now finds it as well, once it is set right.
    database.number("update orders set viewers = '[]' where order_id = 'A-0' returning 1::bigint").await;
    other.until("A-0", Some("created")).await;
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_share_no_statement_that_is_longer_than_one_may_be() {
    const USERS: usize = 400;
    let database = Database::postgres().await;
    let topic = Topic::create(&shared_broker(), 1).await;
    topic.produce(Record::new("T", r#"{"order_id":"T","user_id":"t","status":"created","version":1}"#)).await;
    let mut instance = Instance::start(&shared_broker(), &topic, &database);
    instance.until_ready().await;
    database.until("select count(*) from orders", 1).await;
    // 24,000 orders like the one that was recorded.
    database
        .number(
            "with lists as (
                 select 'm-' || m as name, 'M-' || m || '-' || n as id
                 from generate_series(1, 400) m, generate_series(1, 60) n
             ), copies as (
                 insert into orders (order_id, user_id, viewers, status, terminal, version_number, epoch, partition,
                                     log_offset, occurred_at, timeline)
                 select id, name, viewers, status, terminal, version_number, epoch, partition, log_offset, occurred_at,
                        timeline
                 from orders, lists
             )
             insert into order_viewers (user_id, terminal_at, order_id)
             select name, 9223372036854775807, id from lists returning 1::bigint",
        )
        .await;
    for _ in 0..2 {
        let mut screens: Vec<_> = (1..=USERS).map(|m| instance.screen(&format!("m-{m}"))).collect();
        for screen in &mut screens {
            screen.until_live().await;
            assert_eq!(screen.orders.len(), 60);
        }
    }
    let statements = instance.metric("ordercast_snapshot_orders_count");
    assert!(statements >= 2.0 && instance.metric("ordercast_snapshot_orders_bucket{le=\"20000.0\"}") == statements);
    assert_eq!(instance.metric("ordercast_snapshot_failures_total"), 0.0, "to be too much is no failure");
    instance.stop().await;
}
