//! Three brokers, of which one after the other is killed: leaders move.

use super::{nimble, rounds, until_stored_once, viewers};
use crate::{
    parts::{kafka::Cluster, postgres::Database},
    world::{Crowd, Shop, eventually},
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
