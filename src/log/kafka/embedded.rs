//! The embedded broker of `ordercast dev`: librdkafka's own, on loopback, with the real protocol and nothing on disk.
//! Any Kafka client can use it. Not for production: one process, at most 5 MiB a partition, no access control.

use rdkafka::{error::KafkaError, mocking::MockCluster, producer::DefaultProducerContext};

/// Partitions of the source topic. With more of them, two clients that spread keys in different ways (`ordercast publish`
/// and kcat) would put one order's records into two logs, where offsets say nothing about which is newer.
const PARTITIONS: i32 = 1;

/// librdkafka properties that clients of this broker need: it answers an empty fetch only after `fetch.wait.max.ms`.
pub const EMBEDDED_PROPERTIES: &[(&str, &str)] = &[("fetch.wait.max.ms", "5")];

/// A running broker; gone when dropped.
pub struct EmbeddedBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl EmbeddedBroker {
    /// Starts a broker with the source topic, its dead-letter topic and the control topic.
    pub fn start(topic: &str, dead_letter_topic: &str, control_topic: &str) -> Result<Self, KafkaError> {
        let cluster = MockCluster::new(1)?;
        cluster.create_topic(topic, PARTITIONS, 1)?;
        cluster.create_topic(dead_letter_topic, 1, 1)?;
        cluster.create_topic(control_topic, 1, 1)?;
        Ok(Self { cluster })
    }

    /// Where it listens.
    pub fn brokers(&self) -> Vec<String> {
        self.cluster.bootstrap_servers().split(',').map(str::to_owned).collect()
    }
}
