//! The broker inside `ordercast dev`.

use std::time::Duration;

use ordercast::{
    config::Property,
    log::kafka::{
        KafkaClients,
        embedded::{EMBEDDED_PROPERTIES, EmbeddedBroker},
        producer::{Outgoing, Producer},
    },
};

use super::instance::{Database, Instance, settings};

fn value(order: &str, status: &str, version: u64) -> String {
    format!(r#"{{"order_id":"{order}","user_id":"u","status":"{status}","version":{version}}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_broker_carries_events_and_a_second_one_goes_on_with_the_first_ones_orders() {
    let database = Database::sqlite().await;
    for (life, status) in [(1, "created"), (2, "shipped")] {
        let broker = EmbeddedBroker::start("order-status", "order-status.dlt", "order-status.control").unwrap();
        let mut settings =
            settings(&broker.brokers().join(","), "order-status", &[("kafka.on_log_regression", "reset")]);
        for (name, value) in EMBEDDED_PROPERTIES {
            settings.kafka.properties.insert((*name).into(), Property::preset(value));
        }
        let mut instance = Instance::start_with(&settings, &database);
        instance.until_ready().await;
        let mut screen = instance.screen("u");
        screen.until_live().await;
        if life == 2 {
            screen.until("A-1", Some("created")).await;
        }
        let producer = Producer::new(&KafkaClients::new(&settings.kafka).unwrap(), Duration::from_secs(10));
        let sent = value("A-1", status, life);
        let record = Outgoing { key: Some(b"A-1"), value: Some(sent.as_bytes()), ..Outgoing::default() };
        producer.produce("order-status", &record).await.unwrap();
        screen.until("A-1", Some(status)).await;
        let bad = Outgoing { key: Some(b"B"), value: Some(b"{"), ..Outgoing::default() };
        producer.produce("order-status", &bad).await.unwrap();
        database.until("select count(*) from dead_letters", life as i64).await;
        database.until("select count(*) from orders where version_number = 2", i64::from(life == 2)).await;
        instance.until_stale_for(&[]).await;
        instance.stop().await;
    }
}
