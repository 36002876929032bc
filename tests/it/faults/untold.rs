//! Brokers that do not answer every question. What is not told is no *no*.

use super::{event, nimble_on, until_row};
use crate::{
    parts::{kafka::Broker, postgres::Database, topic::Topic},
    world::{eventually, record},
};

/// Kafka's key of `DescribeConfigs`.
const DESCRIBE_CONFIGS: i16 = 32;

#[tokio::test(flavor = "multi_thread")]
async fn a_last_record_that_compaction_took_means_no_other_log_where_nobody_tells_of_compaction() {
    let broker = Broker::start().await;
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "200"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("max.compaction.lag.ms", "200"),
    ];
    let name = format!("test-{}", ulid::Ulid::generate());
    let topic = Topic::create_named(&broker.bootstrap(), &name, 1, &settings).await;
    let world = nimble_on(&broker.proxied(), topic, Database::create().await).await;
    let before = world.start().await;
    world.publish_all(&[event("A-1", "created", 1), event("A-2", "created", 1)]).await;
    until_row(&world, "A-2", 1).await;
    before.stop().await;

    // The record of A-2 was the last one recorded, and is not there any more.
    world.publish_all(&[event("A-2", "paid", 2)]).await;
    eventually("it is compacted away", async || {
        // A segment is closed by the first record that comes when it is old enough.
        world.topic.produce(record(&event("A-3", "created", 1))).await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        world.topic.read(2).await.iter().all(|record| record.offset != 1)
    })
    .await;
    broker.proxy().ignore_requests(DESCRIBE_CONFIGS);
    let after = world.start().await;
    let mut screen = world.watch(&after, "u-1").await;
    until_row(&world, "A-2", 2).await;
    screen.expect_status("A-2", "paid").await;
    screen.until("it is fresh", |screen| screen.stale.is_none()).await;
    assert!(!screen.told_stale_for("log_regression"), "{:?}", screen.frames);
    assert_eq!(after.metric("ordercast_partitions_halted{pipeline=\"recorder\"}").await, 0.0);
    after.stop().await;
}
