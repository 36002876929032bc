//! Instances that die, stand still, come and go, while people watch and events flow.

use std::time::Duration;

use super::{nimble, rounds, until_stored_once, viewers};
use crate::{
    parts::{
        kafka::{Broker, shared_broker},
        postgres::{Database, Postgres},
    },
    world::{Crowd, Shop},
};

#[tokio::test(flavor = "multi_thread")]
async fn forty_screens_are_true_after_two_kills_a_database_crash_and_a_broker_kill_under_way() {
    let (mut broker, mut postgres) = (Broker::start().await, Postgres::start().await);
    let world = nimble(&broker.bootstrap(), Database::create_on(&postgres.url()).await).await;
    let (mut one, mut two) = tokio::join!(world.serve(), world.serve());
    let mut shop = Shop::new(1, viewers(40));
    let crowd = Crowd::come(&world, viewers(40), &[one.address, two.address]);
    for chunk in 0..40 * rounds() {
        world.publish_all(&shop.events(100)).await;
        match chunk % 40 {
            7 => {
                one.kill().await;
                crowd.go_to(&[two.address]);
                one = world.serve().await;
                crowd.go_to(&[one.address, two.address]);
            }
            15 => postgres.crash().await,
            18 => postgres.restart().await,
            24 => {
                broker.kill().await;
                broker.restart().await;
            }
            31 => {
                two.kill().await;
                two = world.serve().await;
                crowd.go_to(&[one.address, two.address]);
            }
            _ => {}
        }
    }
    until_stored_once(&world, &shop).await;
    let connections = crowd.settle(shop).await;
    assert!(connections > 80, "viewers came and went: {connections}");
    for instance in [one, two] {
        assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
        assert_eq!(instance.metric("ordercast_panics_total").await, 0.0);
        instance.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_for_longer_than_its_session_writes_nothing_twice_and_shows_the_truth() {
    let world = nimble(&shared_broker(), Database::create().await).await;
    let (one, two) = tokio::join!(world.serve(), world.serve());
    let mut shop = Shop::new(2, viewers(8));
    let crowd = Crowd::come(&world, viewers(8), &[one.address, two.address]);
    world.publish_all(&shop.events(200)).await;
    for _ in 0..rounds() {
        one.pause();
        for _ in 0..8 * rounds() {
            world.publish_all(&shop.events(20)).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        until_stored_once(&world, &shop).await;
        one.resume();
        world.publish_all(&shop.events(200)).await;
        until_stored_once(&world, &shop).await;
    }
    crowd.settle(shop).await;
    for instance in [one, two] {
        assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
        instance.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_come_and_go_in_the_middle_of_batches_lose_and_repeat_nothing() {
    let world = nimble(&shared_broker(), Database::create().await).await;
    let (one, two) = tokio::join!(world.start(), world.start());
    let mut shop = Shop::new(3, viewers(8));
    let crowd = Crowd::come(&world, viewers(8), &[one.address, two.address]);
    for _ in 0..3 * rounds() {
        world.publish_all(&shop.events(300)).await;
        let third = world.start().await;
        crowd.go_to(&[one.address, two.address, third.address]);
        world.publish_all(&shop.events(300)).await;
        crowd.go_to(&[one.address, two.address]);
        third.stop().await;
    }
    until_stored_once(&world, &shop).await;
    crowd.settle(shop).await;
    for instance in [one, two] {
        assert_eq!(instance.metric("ordercast_reconcile_corrections_total").await, 0.0);
        instance.stop().await;
    }
}
