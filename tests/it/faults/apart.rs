//! Instances that only push and instances that only record: what each does and leaves alone, and what is told when one kind is missing.

use std::net::TcpListener;

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};
use reqwest::StatusCode;

use super::{event, nimble, until_row};
use crate::{
    parts::{kafka::shared_broker, postgres::Database},
    world::{Instance, PATIENCE, World, eventually, scrape, value_of},
};

const ALARM: &str = "ordercast_partitions_not_recorded";

async fn serve(world: &mut World, pipelines: &str) -> Instance {
    world.set("pipelines", pipelines);
    world.serve().await
}

/// How many members each group has whose name begins like that of the world's.
fn members(world: &World) -> Vec<(String, usize)> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", shared_broker()).create().expect("a consumer");
    let groups = consumer.fetch_group_list(None, PATIENCE).expect("the brokers list groups");
    let ours = groups.groups().iter().filter(|group| group.name().starts_with(world.topic.name()));
    ours.map(|group| (group.name().to_owned(), group.members().len())).filter(|(_, members)| *members > 0).collect()
}

fn recorders_alone(world: &World, many: usize) -> Vec<(String, usize)> {
    vec![(world.topic.name().to_owned(), many)]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pushes_and_who_records_do_the_work_of_one_and_either_goes_on_without_the_other() {
    let mut world = nimble(&shared_broker(), Database::create().await).await;
    world.set("kafka.session_timeout", "1s");
    let pushers = [serve(&mut world, "push").await, serve(&mut world, "push").await];
    let mut screens = [world.watch(&pushers[0], "u-1").await, world.watch(&pushers[1], "u-1").await];
    assert_eq!(members(&world), [], "who only pushes is in no group");

    let recorder = serve(&mut world, "record").await;
    eventually("one is in the group", async || members(&world) == recorders_alone(&world, 1)).await;
    world.publish(event("A-1", "created", 1)).await;
    for screen in &mut screens {
        screen.expect_status("A-1", "created").await;
    }
    until_row(&world, "A-1", 1).await;
    for pusher in &pushers {
        eventually("there is no alarm", async || pusher.metric(ALARM).await == 0.0).await;
        let metrics = scrape(pusher.operations).await.unwrap();
        assert_eq!(value_of(&metrics, "ordercast_records_total{pipeline=\"recorder\"}"), Some(0.0));
        assert_eq!(value_of(&metrics, "ordercast_kafka_up{pipeline=\"recorder\"}"), None, "it has none");
    }

    // Without a recorder viewers see what happens, and somebody is told that nobody stores it.
    recorder.kill().await;
    world.publish(event("A-1", "packed", 2)).await;
    for screen in &mut screens {
        screen.expect_status("A-1", "packed").await;
    }
    for pusher in &pushers {
        eventually("the alarm is raised", async || pusher.metric(ALARM).await == 1.0).await;
        eventually("the log says so", async || pusher.log().contains("or no instance records")).await;
        assert_eq!(pusher.health().await.0, 200, "it stays ready");
    }
    // What is not stored comes from memory.
    world.watch(&pushers[0], "u-1").await.expect_status("A-1", "packed").await;
    assert_eq!(world.database.number("select version_number from orders").await, Some(1));

    let recorder = serve(&mut world, "record").await;
    until_row(&world, "A-1", 2).await;
    for pusher in &pushers {
        eventually("the alarm is over", async || pusher.metric(ALARM).await == 0.0).await;
        eventually("the log says so", async || pusher.log().contains("every partition is recorded again")).await;
    }

    // And the other way round.
    for pusher in pushers {
        pusher.stop().await;
    }
    world.publish(event("A-1", "shipped", 3)).await;
    until_row(&world, "A-1", 3).await;
    recorder.stop().await;
    eventually("nobody is left in the group", async || members(&world).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_records_serves_operators_alone_and_needs_no_keys() {
    let mut world = nimble(&shared_broker(), Database::create().await).await;
    // Both are told to take it, and one does not want it.
    let public = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.set("http.listen", &public.to_string());
    let pusher = serve(&mut world, "push").await;
    assert_eq!(pusher.address, public);
    let operations = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.set("operations.listen", &operations.to_string());
    world.settings.remove("ORDERCAST__AUTH__SECRET");
    let recorder = serve(&mut world, "record").await;
    let log = recorder.log();
    assert!(log.contains("\"pipelines\":\"record\"") && !log.contains("http.listen"), "{log}");

    assert_eq!(world.call(&["healthcheck"]).await.code, Some(0));
    let (status, health) = recorder.health().await;
    assert_eq!(
        (status, health["ready"].as_bool(), health["stale"].as_array().map(Vec::len)),
        (200, Some(true), Some(0))
    );
    let status = async |path: &str| reqwest::get(format!("http://{operations}{path}")).await.unwrap().status();
    assert_eq!(status("/health/live").await, StatusCode::OK);
    assert_eq!(status("/orders/A-1/trace").await, StatusCode::OK);
    for path in ["/sessions", "/revocations", "/announcements", "/order-status", "/orders"] {
        assert_eq!(status(path).await, StatusCode::NOT_FOUND, "{path}");
    }
    let metrics = scrape(operations).await.unwrap();
    assert_eq!(value_of(&metrics, "ordercast_kafka_up{pipeline=\"fanout\"}"), None);
    eventually("it reaches its brokers", async || {
        value_of(&scrape(operations).await.unwrap(), "ordercast_kafka_up{pipeline=\"recorder\"}") == Some(1.0)
    })
    .await;
    recorder.stop().await;
    pusher.stop().await;
}
