//! What breaks, breaks for real here: brokers, databases, networks and instances. Afterwards every screen is true, and in
//! between none says that it is fresh when nobody can know.

mod apart;
mod audits;
mod clocks;
mod disks;
mod groups;
mod honesty;
mod instances;
mod leaders;
mod logs;
mod merchants;
mod network;
mod outages;
mod partitioners;
mod refusals;
mod storms;
mod transactions;
mod untold;

use serde_json::{Value, json};

use crate::{
    parts::{kafka::shared_broker, postgres::Database, topic::Topic},
    world::{Crowd, Instance, Shop, World, eventually},
};

/// What `scripts/faults` multiplies rounds by; the suite goes through each once.
fn rounds() -> u64 {
    std::env::var("ORDERCAST_TEST_ROUNDS").map_or(1, |rounds| rounds.parse().expect("a number of rounds"))
}

/// So many viewers, and some more where there are more rounds.
fn viewers(few: usize) -> usize {
    few * (rounds().min(3) as usize)
}

/// An event of an order of user `u-1`.
fn event(order: &str, status: &str, version: u64) -> Value {
    json!({"order_id": order, "user_id": "u-1", "status": status, "version": version})
}

/// A world whose instances notice each other's end soon, and whose heartbeats suit a crowd.
async fn nimble(bootstrap: &str, database: Database) -> World {
    nimble_on(bootstrap, Topic::create(bootstrap, 3).await, database).await
}

/// The same with a topic that was made for it.
async fn nimble_on(bootstrap: &str, topic: Topic, database: Database) -> World {
    let mut world = World::of(bootstrap, topic, database).await;
    world.set("session.heartbeat_interval", Crowd::HEARTBEAT);
    world.set("kafka.session_timeout", "3s");
    world.set("kafka.stale_after", "3s");
    world
}

/// The same name, another log.
async fn replace_topic(world: &World) {
    world.topic.delete().await;
    eventually("the name is free again", async || {
        let (broker, name) = (shared_broker(), world.topic.name().to_owned());
        tokio::spawn(async move { Topic::create_named(&broker, &name, 3, &[]).await }).await.is_ok()
    })
    .await;
}

/// Waits until the row of an order is at this version. `GET /orders` would say so before: it completes rows from memory.
async fn until_row(world: &World, order: &str, version: i64) {
    let row = format!("select version_number from orders where order_id = '{order}'");
    eventually("it is stored", async || world.database.number(&row).await == Some(version)).await;
}

/// Waits until what starts on an instance can be proved, and so is fresh from its beginning.
async fn until_proved(world: &World, instance: &Instance) {
    eventually("it can be proved", async || instance.get("/orders", &world.token("u-1")).await.1["stale"] == json!([]))
        .await;
}

/// Waits until the database holds the truth, and exactly once: every order at its version with all its steps, and
/// progress at the end of every partition.
async fn until_stored_once(world: &World, shop: &Shop) {
    let expected: Vec<String> =
        shop.rows().iter().map(|(id, (version, steps))| format!("{id} {version} {steps}")).collect();
    eventually("the rows are the truth", async || {
        let rows = "select order_id || ' ' || version_number || ' ' || json_array_length(timeline::json) from orders \
                    order by order_id collate \"C\"";
        world.database.texts(rows).await == expected
    })
    .await;
    eventually("progress is at the end", async || {
        let mut behind = 0;
        for partition in 0..world.topic.partitions().await {
            let (_, end) = world.topic.watermarks(partition).await;
            let recorded = format!("select next_offset from progress where partition = {partition}");
            behind += i32::from(world.database.number(&recorded).await != Some(end));
        }
        behind == 0
    })
    .await;
}
