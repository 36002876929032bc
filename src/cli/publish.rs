//! `ordercast publish`: one order event, as any producer would write it.

use std::time::Duration;

use clap::Args;
use serde_json::value::RawValue;

use super::{
    block_on,
    context::Context,
    error::CommandError,
    event::{Event, check},
    output::print,
};
use crate::{
    config::{Kafka, Need, Settings, parse_broker},
    event::{OrderId, Timestamp, UserId},
    ingest::{
        KafkaClients,
        producer::{Delivered, Outgoing, Producer},
    },
};

const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of `ordercast publish`.
#[derive(Debug, Args)]
pub(super) struct Publish {
    /// The order
    #[arg(long, value_parser = OrderId::parse)]
    order: OrderId,
    /// The user whose order it is
    #[arg(long, value_parser = UserId::parse, required_unless_present = "delete")]
    user: Option<UserId>,
    /// The order's status from now on
    #[arg(long, required_unless_present = "delete")]
    status: Option<String>,
    /// The order's own growing number; without it, the record's place in the log decides what is newer
    #[arg(long)]
    version: Option<u64>,
    /// A further user who may see the order; may be repeated
    #[arg(long, value_name = "USER", value_parser = UserId::parse)]
    viewer: Vec<UserId>,
    /// A JSON object, such as {"carrier":"DHL"}
    #[arg(long, value_name = "JSON", value_parser = json)]
    details: Option<Box<RawValue>>,
    /// Erase the order: publish a tombstone
    #[arg(long, conflicts_with_all = ["user", "status", "version", "viewer", "details"])]
    delete: bool,
    /// Brokers, instead of kafka.brokers
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = parse_broker)]
    brokers: Vec<String>,
    /// Topic, instead of kafka.topic
    #[arg(long)]
    topic: Option<String>,
}

impl Publish {
    /// Publishes and prints where the record went.
    pub(super) fn run(self, context: &Context) -> Result<(), CommandError> {
        let settings = self.settings(context)?;
        let value = self.value(Timestamp::now());
        check(&settings, &self.order, value.as_deref())?;
        let record =
            Outgoing { key: Some(self.order.as_str().as_bytes()), value: value.as_deref(), ..Outgoing::default() };
        let delivered = block_on(produce(&settings.kafka, &record))??;
        print(format_args!("partition {}, offset {}", delivered.partition, delivered.offset))
    }

    /// Where to publish: by the arguments, else by the settings, else to the `ordercast dev` of this directory.
    fn settings(&self, context: &Context) -> Result<Settings, CommandError> {
        let mut settings = context.settings(&[])?;
        if !self.brokers.is_empty() {
            settings.kafka.brokers.clone_from(&self.brokers);
        } else if settings.kafka.brokers.is_empty() {
            let dev = context.dev()?;
            let Some(dev) = dev else { return context.settings(&[Need::Brokers]) };
            settings.kafka.brokers = vec![dev.kafka_brokers];
            settings.kafka.topic = dev.topic;
        }
        if let Some(topic) = &self.topic {
            settings.kafka.topic.clone_from(topic);
        }
        Ok(settings)
    }

    /// The record's value; `None` is a tombstone.
    fn value(&self, occurred_at: Timestamp) -> Option<Vec<u8>> {
        let (user_id, status) = self.user.as_ref().zip(self.status.as_deref()).filter(|_| !self.delete)?;
        let event = Event {
            order_id: &self.order,
            user_id,
            status,
            version: self.version,
            occurred_at,
            details: self.details.as_deref(),
            viewers: &self.viewer,
        };
        Some(event.to_bytes())
    }
}

async fn produce(kafka: &Kafka, record: &Outgoing<'_>) -> Result<Delivered, CommandError> {
    let clients = KafkaClients::new(kafka)?;
    let producer = Producer::new(&clients, DELIVERY_TIMEOUT).map_err(CommandError::failed)?;
    producer.produce(&kafka.topic, record).await.map_err(|error| {
        CommandError::Failed(format!("{error} (topic {} at {})", kafka.topic, kafka.brokers.join(",")))
    })
}

fn json(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::from_str(text)
}
