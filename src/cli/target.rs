//! Where a command publishes: one record to the source topic of a deployment, or of the `ordercast dev` of this directory.

use std::time::Duration;

use clap::Args;

use super::{block_on, context::Context, error::CommandError};
use crate::{
    config::{Kafka, Need, Settings, parse_broker},
    log::kafka::{
        KafkaClients,
        producer::{Delivered, Outgoing, Producer},
    },
};

const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of every command that publishes one record.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// Brokers, instead of kafka.brokers
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = parse_broker)]
    brokers: Vec<String>,
    /// Topic, instead of kafka.topic
    #[arg(long)]
    topic: Option<String>,
}

impl Target {
    /// Where to publish: by the arguments, else by the settings, else to the `ordercast dev` of this directory.
    pub(super) fn settings(&self, context: &Context) -> Result<Settings, CommandError> {
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
}

/// Publishes a record and waits until it is in the log.
pub(super) fn publish(kafka: &Kafka, record: &Outgoing<'_>) -> Result<Delivered, CommandError> {
    block_on(produce(kafka, record))?
}

async fn produce(kafka: &Kafka, record: &Outgoing<'_>) -> Result<Delivered, CommandError> {
    let clients = KafkaClients::new(kafka)?;
    let producer = Producer::new(&clients, DELIVERY_TIMEOUT);
    producer.produce(&kafka.topic, record).await.map_err(|error| {
        CommandError::Failed(format!("{error} (topic {} at {})", kafka.topic, kafka.brokers.join(",")))
    })
}
