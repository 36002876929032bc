//! Sends to the control topic. Does nothing else: the effect, here too, comes from reading it.

use std::time::Duration;

use super::message::ControlMessage;
use crate::log::kafka::{
    KafkaClients,
    producer::{Outgoing, ProduceError, Producer},
};

/// An operator waits for the answer.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Tells all instances something.
pub struct ControlWriter {
    producer: Producer,
    topic: String,
}

impl ControlWriter {
    /// Connects later.
    pub fn new(clients: &KafkaClients, topic: &str) -> Self {
        Self { producer: Producer::new(clients, DELIVERY_TIMEOUT), topic: topic.to_owned() }
    }

    /// Sends a message. Returns its record's key once that is in the log.
    pub async fn send(&self, message: &ControlMessage) -> Result<String, ProduceError> {
        let (key, value) = (message.new_key(), message.encode());
        self.produce(&key, Some(&value)).await?;
        Ok(key)
    }

    /// Takes records back.
    pub async fn erase(&self, keys: &[String]) -> Result<(), ProduceError> {
        for key in keys {
            self.produce(key, None).await?;
        }
        Ok(())
    }

    async fn produce(&self, key: &str, value: Option<&[u8]>) -> Result<(), ProduceError> {
        let record = Outgoing { key: Some(key.as_bytes()), value, ..Outgoing::default() };
        self.producer.produce(&self.topic, &record).await.map(drop)
    }
}
