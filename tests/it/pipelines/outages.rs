//! Broker or database away, and back, or slow.

use std::time::Duration;

use super::{
    fanout::event,
    instance::{Database, Instance, settings},
};
use crate::parts::{
    kafka::{Broker, shared_broker},
    postgres::Postgres,
    topic::Topic,
};

#[tokio::test(flavor = "multi_thread")]
async fn screens_stay_live_while_the_database_is_away_and_nothing_is_lost() {
    let mut server = Postgres::start().await;
    let database = Database::at(server.url()).await;
    let topic = Topic::create(&shared_broker(), 2).await;
    topic.produce(event("A-1", "created", 1)).await;
    let mut instance = Instance::start(&shared_broker(), &topic, &database);
    instance.until_ready().await;
    let mut screen = instance.screen("u");
    screen.until("A-1", Some("created")).await;
    database.until("select count(*) from orders", 1).await;

    server.crash().await;
    topic.produce(event("A-1", "shipped", 2)).await;
    screen.until("A-1", Some("shipped")).await;
    topic.produce(event("A-2", "created", 1)).await;
    screen.until("A-2", Some("created")).await;
    let mut late = instance.screen("u");
    server.restart().await;
    late.until("A-1", Some("shipped")).await;
    late.until("A-2", Some("created")).await;
    database.until("select count(*) from orders where version_number = 2", 1).await;
    database.until("select cast(sum(next_offset) as bigint) from progress", 3).await;
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_starts_without_database_or_broker_waits_for_them() {
    let mut server = Postgres::start().await;
    let database = Database::at(server.url()).await;
    let mut broker = Broker::start().await;
    let topic = Topic::create(&broker.bootstrap(), 1).await;
    topic.produce(event("A-1", "created", 1)).await;
    server.stop().await;
    broker.stop().await;
    let mut instance = Instance::start(&broker.bootstrap(), &topic, &database);
    instance.until_stale_for(&["kafka_unavailable"]).await;
    broker.restart().await;
    server.restart().await;
    instance.until_ready().await;
    let mut screen = instance.screen("u");
    screen.until("A-1", Some("created")).await;
    database.until("select count(*) from orders", 1).await;
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn screens_are_told_when_the_broker_is_away_and_when_it_is_back() {
    let database = Database::sqlite().await;
    let broker = Broker::start().await;
    let topic = Topic::create(&broker.bootstrap(), 2).await;
    let settings = settings(&broker.proxied(), topic.name(), &[("kafka.stale_after", "3s")]);
    let mut instance = Instance::start_with(&settings, &database);
    instance.until_ready().await;
    instance.until_stale_for(&[]).await;
    let mut screen = instance.screen("u");
    screen.until_live().await;

    broker.proxy().cut().await;
    topic.produce(event("A-1", "created", 1)).await;
    instance.until_stale_for(&["kafka_unavailable"]).await;
    // New screens still get what the database has.
    instance.screen("u").until_live().await;
    broker.proxy().heal().await;
    instance.until_stale_for(&[]).await;
    screen.until("A-1", Some("created")).await;
    database.until("select count(*) from orders", 1).await;
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_begins_although_its_brokers_take_longer_than_a_second_for_every_answer() {
    let database = Database::sqlite().await;
    let broker = Broker::start().await;
    let topic = Topic::create(&broker.bootstrap(), 2).await;
    topic.produce(event("A-1", "created", 1)).await;
    broker.proxy().slow_down(Duration::from_millis(600));
    let mut instance = Instance::start(&broker.proxied(), &topic, &database);
    instance.until_ready().await;
    let mut screen = instance.screen("u");
    screen.until("A-1", Some("created")).await;
    instance.until_stale_for(&[]).await;
    topic.produce(event("A-1", "shipped", 2)).await;
    screen.until("A-1", Some("shipped")).await;
    database.until("select count(*) from orders where version_number = 2", 1).await;
    instance.stop().await;
}
