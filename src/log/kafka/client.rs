//! The one place that configures Kafka clients. What they say about themselves goes to [`events`](super::events).

use std::{sync::Arc, time::Duration};

pub(crate) use rdkafka::error::KafkaError;
use rdkafka::{
    ClientConfig,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};

use super::{
    events::{ClientEvents, Shared},
    lifetime::create,
    proof,
    reach::Reach,
    rebalance::{GroupEvents, Rebalance},
    rights::Rights,
};
use crate::config::{self, SettingsError};

/// How long a broker keeps a question that it has no records for. It answers at once when some come, so only being told that
/// there are none takes longer.
const LONG_WAIT: &[(&str, &str)] = &[("fetch.wait.max.ms", "500")];

/// Makes clients for the brokers of the settings.
#[derive(Debug, Clone)]
pub struct KafkaClients {
    common: ClientConfig,
    group_id: String,
    session_timeout: Duration,
    shared: Arc<Shared>,
}

impl KafkaClients {
    /// Takes brokers and properties from the settings. Refuses properties that librdkafka cannot use, all at once; connects
    /// to nothing.
    pub fn new(settings: &config::Kafka) -> Result<Self, SettingsError> {
        let mut common = ClientConfig::new();
        common.set("client.id", "ordercast");
        for (name, property) in &settings.properties {
            common.set(name, property.expose());
        }
        common.set("bootstrap.servers", settings.brokers.join(","));
        // Why a broker closes a connection is said at this level; what becomes a line of the log is decided by `events`.
        common.set_log_level(RDKafkaLogLevel::Info);
        let shared = Arc::new(Shared::new(settings));
        let (group_id, session_timeout) = (settings.group_id.clone(), settings.session_timeout);
        let clients = Self { common, group_id, session_timeout, shared };
        let problems = proof::problems(settings, &clients.shared.secrets, clients.recorder(), clients.producer());
        if problems.is_empty() { Ok(clients) } else { Err(SettingsError { problems }) }
    }

    /// The context of a client with this name.
    pub(crate) fn events(&self, client: &'static str) -> ClientEvents {
        ClientEvents::new(client, self.shared.clone())
    }

    /// What all clients know of the brokers.
    pub(crate) fn reach(&self) -> &Reach {
        &self.shared.reach
    }

    /// What the brokers may refuse all clients.
    pub(crate) fn rights(&self) -> &Rights {
        &self.shared.rights
    }

    /// What all clients share.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Which brokers do not answer, and why, as one clause.
    pub fn why_silent(&self) -> String {
        self.shared.reach.why()
    }

    /// A client that only asks: metadata and watermarks, and of ends the stable one. Belongs to no group.
    pub(crate) fn inquirer(&self) -> ClientConfig {
        let mut config = self.common.clone();
        config
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            .set("enable.auto.commit", "false");
        config
    }

    /// The same, but it is told the high watermark, whatever transactions are open.
    pub(crate) fn end_inquirer(&self) -> ClientConfig {
        let mut config = self.inquirer();
        config.set("isolation.level", "read_uncommitted");
        config
    }

    /// A client of the fanout.
    pub(crate) fn fanout_client(&self) -> KafkaResult<BaseConsumer<ClientEvents>> {
        create(&self.fanout(), self.events("fanout"))
    }

    /// A client that reads the control topic.
    pub(crate) fn control_client(&self) -> KafkaResult<BaseConsumer<ClientEvents>> {
        create(&self.control(), self.events("control"))
    }

    /// A client that reads for this command, as the fanout does.
    pub(crate) fn reading_client(&self, name: &'static str) -> KafkaResult<BaseConsumer<ClientEvents>> {
        create(&self.fanout(), self.events(name))
    }

    /// A client that is in the recorders' group.
    pub(crate) fn recorder_client<R: Rebalance>(
        &self,
        topic: &str,
        rebalance: R,
    ) -> KafkaResult<BaseConsumer<GroupEvents<R>>> {
        let context = GroupEvents::new(self.events("recorder"), rebalance);
        let consumer: BaseConsumer<GroupEvents<R>> = create(&self.recorder(), context)?;
        consumer.subscribe(&[topic])?;
        Ok(consumer)
    }

    /// Reads partitions it assigns itself. Its group is a name only: librdkafka wants one, brokers with ACLs check it.
    fn fanout(&self) -> ClientConfig {
        let mut config = self.consumer();
        config.set("group.id", format!("{}.fanout", self.group_id));
        self.unless_given(&mut config, LONG_WAIT);
        config
    }

    /// Reads the control topic from its beginning, and again when the log is another one: what it says can be folded twice.
    fn control(&self) -> ClientConfig {
        let mut config = self.consumer();
        config.set("group.id", format!("{}.control", self.group_id)).set("auto.offset.reset", "earliest");
        self.unless_given(&mut config, LONG_WAIT);
        config
    }

    /// Shares the partitions with the recorders of the other instances.
    fn recorder(&self) -> ClientConfig {
        let mut config = self.consumer();
        config
            .set("group.id", &self.group_id)
            .set("group.protocol", "classic")
            // Every rebalance takes all partitions and gives some back, so there is one way in and one way out.
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", self.session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", (self.session_timeout.as_millis() / 5).clamp(100, 3_000).to_string());
        self.unless_given(
            &mut config,
            &[
                // How soon the group notices that the topic has more partitions.
                ("topic.metadata.refresh.interval.ms", "5000"),
                // Nobody waits for what is recorded: few large answers cost the client, the broker and us less.
                ("fetch.min.bytes", "262144"),
                ("fetch.wait.max.ms", "100"),
            ],
        );
        // librdkafka wants it to be no shorter than the session's; its own default is five minutes.
        let poll_interval = self.session_timeout.max(Duration::from_secs(300)).as_millis().to_string();
        self.unless_given(&mut config, &[("max.poll.interval.ms", &poll_interval)]);
        config
    }

    /// Delivers every record or says that it did not.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = self.common.clone();
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("allow.auto.create.topics", "false")
            // As Java clients do, so that all producers of a topic agree on the partition of a key.
            .set("partitioner", "murmur2_random");
        self.unless_given(
            &mut config,
            &[
                ("linger.ms", "0"),
                ("compression.type", "zstd"),
                // The broker decides how large a record may be.
                ("message.max.bytes", "16777216"),
                ("topic.metadata.propagation.max.ms", "2000"),
            ],
        );
        config
    }

    /// Delivers many records, gathered and packed as producers do by default.
    pub(crate) fn bulk_producer(&self) -> ClientConfig {
        let mut config = self.producer();
        self.unless_given(
            &mut config,
            &[("linger.ms", "5"), ("compression.type", "none"), ("message.timeout.ms", "30000")],
        );
        config
    }

    fn consumer(&self) -> ClientConfig {
        let mut config = self.common.clone();
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false");
        // A small queue alone would stop fetching for a second each time it is full: the backoff belongs to it.
        self.unless_given(
            &mut config,
            &[
                ("queued.min.messages", "10000"),
                ("queued.max.messages.kbytes", "16384"),
                ("fetch.queue.backoff.ms", "5"),
                ("fetch.error.backoff.ms", "100"),
                ("fetch.wait.max.ms", "100"),
                ("reconnect.backoff.max.ms", "2000"),
            ],
        );
        config
    }

    /// Sets what the settings may override.
    fn unless_given(&self, config: &mut ClientConfig, defaults: &[(&str, &str)]) {
        for (name, value) in defaults {
            if self.common.get(name).is_none() {
                config.set(*name, *value);
            }
        }
    }
}
