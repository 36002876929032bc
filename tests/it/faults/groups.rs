//! Others in the recorders' consumer group, who take partitions away and record nothing where this deployment looks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};
use serde_json::json;

use super::{event, nimble_on};
use crate::{
    parts::{kafka::shared_broker, postgres::Database, topic::Topic},
    world::{Instance, World, eventually, record, scrape, value_of},
};

const ALARM: &str = "ordercast_partitions_not_recorded";

/// `None`: it was not looked at yet.
async fn lag(instance: &Instance, partition: i32) -> Option<f64> {
    let name = format!("ordercast_lag_records{{pipeline=\"recorder\",partition=\"{partition}\"}}");
    value_of(&scrape(instance.operations).await.unwrap(), &name)
}

/// How often the log says so.
fn lines(instance: &Instance) -> usize {
    instance.log().matches("partitions are not recorded although there is something to record").count()
}

/// An event of an order of its own in every partition.
async fn publish_everywhere(world: &World, name: &str, partitions: i32) {
    let records = (0..partitions).map(|n| record(&event(&format!("{name}-{n}"), "created", 1)).partition(n));
    world.topic.produce_all(&records.collect::<Vec<_>>()).await;
}

async fn until_all_is_recorded(world: &World, instance: &Instance, partitions: i32, orders: i64) {
    eventually("everything is recorded", async || {
        world.database.number("select count(*) from orders where user_id = 'u-1'").await == Some(orders)
    })
    .await;
    eventually("there is no alarm", async || instance.metric(ALARM).await == 0.0).await;
    for partition in 0..partitions {
        eventually("nothing is left", async || lag(instance, partition).await == Some(0.0)).await;
    }
}

/// A consumer that somebody else put into the group. Reads what it is given, and commits nothing.
struct Foreigner {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Foreigner {
    /// Joins, and waits until it has partitions. Returns which.
    async fn join(world: &World, client_id: &str) -> (Self, Vec<i32>) {
        let (stop, (given, seen)) = (Arc::<AtomicBool>::default(), mpsc::channel());
        let (stopped, topic) = (stop.clone(), world.topic.name().to_owned());
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", shared_broker())
            .set("group.id", &world.load().kafka.group_id)
            .set("client.id", client_id)
            .set("session.timeout.ms", "6000")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .create()
            .expect("a consumer");
        let thread = std::thread::spawn(move || {
            consumer.subscribe(&[&topic]).expect("a subscription");
            let mut told = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                drop(consumer.poll(Duration::from_millis(50)));
                let assigned = consumer.assignment().expect("an assignment");
                let has: Vec<i32> = assigned.elements().iter().map(|element| element.partition()).collect();
                if has != told && !has.is_empty() {
                    // After the first time nobody listens.
                    let _ = given.send(has.clone());
                    told = has;
                }
            }
        });
        let foreigner = Self { stop, thread: Some(thread) };
        let mut partitions = None;
        eventually("it is given partitions", async || {
            partitions = seen.try_recv().ok();
            partitions.is_some()
        })
        .await;
        (foreigner, partitions.expect("just waited for"))
    }

    /// Leaves the group in good order.
    async fn leave(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it leaves once");
        tokio::task::spawn_blocking(move || thread.join()).await.unwrap().expect("it does not panic");
    }
}

impl Drop for Foreigner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_consumer_that_takes_half_of_the_partitions_is_named_and_screens_show_the_truth_while_the_tail_reaches()
 {
    let topic = Topic::create(&shared_broker(), 4).await;
    let mut world = nimble_on(&shared_broker(), topic, Database::create().await).await;
    world.set("hub.tail_bytes", "1048576");
    let instance = world.serve().await;
    publish_everywhere(&world, "A", 4).await;
    until_all_is_recorded(&world, &instance, 4, 4).await;
    let (foreigner, taken) = Foreigner::join(&world, "reporting").await;
    assert_eq!(taken.len(), 2);

    publish_everywhere(&world, "B", 4).await;
    eventually("the alarm is raised", async || instance.metric(ALARM).await == 2.0).await;
    for partition in 0..4 {
        let expected = if taken.contains(&partition) { 1.0 } else { 0.0 };
        eventually("its lag is seen, whoever has it", async || lag(&instance, partition).await == Some(expected)).await;
    }
    eventually("the log says so", async || lines(&instance) > 0).await;
    let log = instance.log();
    assert!(log.contains(&format!("\"reporting\\\" at 127.0.0.1 has {taken:?}")), "{log}");
    assert!(log.contains("\"ordercast\\\" at 127.0.0.1 has ["), "{log}");
    // What is in memory is true without the database, and nobody is told otherwise.
    let mut screen = world.watch(&instance, "u-1").await;
    for partition in 0..4 {
        screen.expect_status(&format!("B-{partition}"), "created").await;
    }
    screen.until("it is fresh", |screen| screen.stale.is_none()).await;

    // More than an instance keeps in memory.
    let many = (0..6_000)
        .map(|n| json!({"order_id": format!("X-{n}"), "user_id": "somebody", "status": "created", "version": 1}));
    let many = many.chain([event("C-1", "created", 1)]).map(|event| record(&event).partition(taken[0]));
    let many: Vec<_> = many.collect();
    // Who is not listened to does not answer the instance's Pings either.
    tokio::join!(world.topic.produce_all(&many), screen.expect_status("C-1", "created"));
    eventually("the lag grows", async || lag(&instance, taken[0]).await == Some(6_002.0)).await;
    let mut newcomer = world.watch(&instance, "u-1").await;
    newcomer.until("it says so", |screen| screen.is_stale_for("catching_up")).await;
    assert_eq!(lines(&instance), 1, "not more often than once a minute");

    let left = async {
        foreigner.leave().await;
        until_all_is_recorded(&world, &instance, 4, 9).await;
    };
    tokio::join!(left, newcomer.until("it is fresh", |screen| screen.stale.is_none()));
    assert_eq!(world.database.number("select count(*) from orders").await, Some(6_009));
    newcomer.expect_status(&format!("B-{}", taken[0]), "created").await;
    eventually("the log says so", async || instance.log().contains("every partition is recorded again")).await;
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_deployments_with_databases_of_their_own_in_one_group_raise_an_alarm_on_both() {
    let topic = Topic::create(&shared_broker(), 4).await;
    let name = topic.name().to_owned();
    let world = nimble_on(&shared_broker(), topic, Database::create().await).await;
    let other = nimble_on(&shared_broker(), Topic::existing(&shared_broker(), &name), Database::create().await).await;
    let (one, two) = (world.serve().await, other.serve().await);
    publish_everywhere(&world, "A", 4).await;
    for instance in [&one, &two] {
        eventually("the alarm is raised", async || instance.metric(ALARM).await == 2.0).await;
        eventually("the log says so", async || lines(instance) == 1).await;
        let members = instance.log().matches("\"ordercast\\\" at 127.0.0.1 has [").count();
        assert_eq!(members, 2, "{}", instance.log());
    }
    for partition in 0..4 {
        let lags = [lag(&one, partition).await, lag(&two, partition).await];
        assert!(lags == [Some(0.0), Some(1.0)] || lags == [Some(1.0), Some(0.0)], "{partition}: {lags:?}");
    }
    // The one that came second has never recorded half of the partitions, and its screens are true as well.
    for (world, instance) in [(&world, &one), (&other, &two)] {
        let mut screen = world.watch(instance, "u-1").await;
        for partition in 0..4 {
            screen.expect_status(&format!("A-{partition}"), "created").await;
        }
        screen.until("it is fresh", |screen| screen.stale.is_none()).await;
    }
    two.stop().await;
    until_all_is_recorded(&world, &one, 4, 4).await;
    one.stop().await;
}
