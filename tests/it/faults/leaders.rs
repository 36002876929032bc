//! Three brokers, of which one after the other is killed: leaders move, or there is none.

use super::{event, nimble, rounds, until_row, until_stored_once, viewers};
use crate::{
    parts::{kafka::Cluster, postgres::Database, topic::Topic},
    world::{Crowd, Shop, World, eventually, record},
};

#[tokio::test(flavor = "multi_thread")]
async fn leaders_that_move_while_events_flow_cost_nothing_but_time() {
    let mut cluster = Cluster::start(3).await;
    let world = nimble(&cluster.bootstrap(), Database::create().await).await;
    let (one, two) = tokio::join!(world.start(), world.start());
    let mut shop = Shop::new(4, viewers(8));
    let crowd = Crowd::come(&world, viewers(8), &[one.address, two.address]);
    for partition in (0..rounds()).flat_map(|_| 0..2) {
        world.publish_all(&shop.events(100)).await;
        let leader = world.topic.leader(partition).await;
        let broker = cluster.broker(leader as usize - 1);
        broker.kill().await;
        world.publish_all(&shop.events(200)).await;
        eventually("another leads", async || ![leader, -1].contains(&world.topic.leader(partition).await)).await;
        broker.restart().await;
    }
    world.publish_all(&shop.events(100)).await;
    until_stored_once(&world, &shop).await;
    crowd.settle(shop).await;
    for instance in [one, two] {
        assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
        instance.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_nobody_leads_is_named_in_the_log_and_holds_up_no_other() {
    let mut cluster = Cluster::start(3).await;
    let topic = Topic::create_unreplicated(&cluster.bootstrap(), 3).await;
    let world = World::of(&cluster.bootstrap(), topic, Database::create().await).await;
    let leader = world.topic.leader(0).await;
    cluster.broker(leader as usize - 1).kill().await;
    eventually("nobody leads it", async || world.topic.leader(0).await == -1).await;
    let instance = world.launch_apart().await;
    world.topic.produce(record(&event("A-1", "created", 1)).partition(1)).await;
    until_row(&world, "A-1", 1).await;
    for told in ["they have no leader", "waiting for the leaders of the partitions [0] to tell"] {
        eventually(told, async || instance.log().contains(told)).await;
    }
    assert_eq!(instance.health().await.0, 503);
    cluster.broker(leader as usize - 1).restart().await;
    instance.wait_until_ready().await;
    instance.stop().await;
}
