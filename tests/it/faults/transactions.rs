//! Producers with transactions: what was published behind one that stays open is in the log, acknowledged, and nobody may
//! read it.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::event;
use crate::{
    parts::topic::{Record, abort, commit},
    world::{Screen, World, eventually, record, scrape, value_of},
};

const HELD: &str = "ordercast_partitions_open_transaction";
/// What the log says when the watchdog takes a consumer for broken.
const REBUILT: &str = "making a new kafka client";

/// An event of an order of user `u-1`, in this partition.
fn at(partition: i32, order: &str, status: &str, version: u64) -> Record {
    record(&event(order, status, version)).partition(partition)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_hangs_makes_screens_stale_for_its_own_reason_until_it_is_aborted() {
    let mut world = World::create().await;
    world.set("kafka.stale_after", "3s");
    let instance = world.serve().await;
    world.topic.produce(at(0, "A-1", "created", 1)).await;
    let mut screen = world.watch(&instance, "u-1").await;
    screen.expect_status("A-1", "created").await;
    for others in [false, true] {
        screen.until("it is fresh", |screen| screen.stale.is_none()).await;
        let hanging = world.topic.begin(&[at(0, "A-1", "never", 9)]).await;
        if others {
            world.topic.produce(at(0, "A-2", "created", 1)).await;
        }
        let told = |screen: &Screen| screen.stale.as_deref() == Some(&["open_transaction".to_owned()]);
        screen.until("it says so", told).await;
        // So are who comes now, whoever asks, and an instance that starts.
        let second = world.start().await;
        for instance in [&instance, &second] {
            let mut newcomer = world.watch(instance, "u-1").await;
            newcomer.until("a newcomer is told, too", told).await;
            let (_, list) = instance.get("/orders", &world.token("u-1")).await;
            assert_eq!(list["stale"], json!(["open_transaction"]));
            assert_eq!(instance.health().await.0, 200);
            eventually("the partition is counted", async || instance.metric(HELD).await == 1.0).await;
            for pipeline in ["fanout", "recorder"] {
                let lag = format!("ordercast_lag_records{{pipeline=\"{pipeline}\",partition=\"0\"}}");
                let lag = value_of(&scrape(instance.operations).await.unwrap(), &lag);
                assert!(lag.unwrap_or(0.0) == 0.0, "{pipeline} is behind by nothing that may be read: {lag:?}");
            }
        }
        second.stop().await;
        // The other partitions go on.
        let order = format!("B-{others}");
        world.topic.produce(at(1, &order, "created", 1)).await;
        screen.expect_status(&order, "created").await;
        abort(hanging).await;
        screen.until("it is fresh again", |screen| screen.stale.is_none()).await;
        if others {
            screen.expect_status("A-2", "created").await;
        }
        eventually("nothing is counted", async || instance.metric(HELD).await == 0.0).await;
    }
    assert_eq!(screen.orders["A-1"]["status"], "created");
    let log = instance.log();
    assert!(log.contains("a transaction that began at this offset stays open"), "{log}");
    assert!(!log.contains(REBUILT), "{log}");
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_end_in_markers_and_short_transactions_stay_fresh() {
    let mut world = World::create().await;
    world.set("kafka.stale_after", "6s");
    let instance = world.serve().await;
    world.topic.commit(&[at(0, "A-1", "created", 1)]).await;
    world.topic.produce(at(1, "B-1", "created", 1)).await;
    world.topic.abort(&[at(1, "B-1", "never", 2)]).await;
    let mut screen = world.watch(&instance, "u-1").await;
    screen.expect_status("A-1", "created").await;
    screen.expect_status("B-1", "created").await;
    screen.until("it is fresh", |screen| screen.stale.is_none()).await;
    // Longer than what was proved at first is worth anything.
    let (begun, mut version) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(15) {
        version += 1;
        let open = world.topic.begin(&[at(2, "C-1", &format!("s{version}"), version)]).await;
        screen.watch_until(Instant::now() + Duration::from_secs(1)).await;
        commit(open).await;
        screen.expect_status("C-1", &format!("s{version}")).await;
    }
    assert!(!screen.frames.iter().skip_while(|frame| frame["type"] != "fresh").any(|frame| frame["type"] == "stale"));
    assert!(!screen.told_stale_for("open_transaction"), "{:?}", screen.frames);
    assert_eq!((screen.stale.as_ref(), instance.metric(HELD).await), (None, 0.0));
    assert!(!instance.log().contains(REBUILT), "{}", instance.log());
    instance.stop().await;
}
