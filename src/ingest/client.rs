//! The one place that configures Kafka clients. What librdkafka says goes to the log from here, thinned out.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Statistics,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::ConsumerContext,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    util::Timeout,
};
use secrecy::ExposeSecret;

use crate::config;

/// How often one kind of error is logged at most: with all brokers down librdkafka repeats itself 20 times a second.
const ERROR_LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Makes clients for the brokers of the settings.
#[derive(Debug, Clone)]
pub struct KafkaClients {
    common: ClientConfig,
    group_id: String,
    session_timeout: Duration,
}

impl KafkaClients {
    /// Takes brokers and properties from the settings. Refuses properties that librdkafka does not know or like;
    /// connects to nothing.
    pub fn new(settings: &config::Kafka) -> Result<Self, KafkaError> {
        let mut common = ClientConfig::new();
        common.set("client.id", "ordercast");
        for (name, value) in &settings.properties {
            common.set(name, value.expose_secret());
        }
        common.set("bootstrap.servers", settings.brokers.join(","));
        common.create_native_config()?;
        Ok(Self { common, group_id: settings.group_id.clone(), session_timeout: settings.session_timeout })
    }

    /// A client that only asks: metadata and watermarks. Belongs to no group.
    pub(super) fn inquirer(&self) -> ClientConfig {
        let mut config = self.common.clone();
        config
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            .set("enable.auto.commit", "false");
        config
    }

    /// Reads partitions it assigns itself. Its group is a name only: librdkafka wants one, brokers with ACLs check it.
    pub(super) fn fanout(&self) -> ClientConfig {
        let mut config = self.consumer();
        config.set("group.id", format!("{}.fanout", self.group_id));
        config
    }

    /// Reads the control topic from its beginning, and again when the log is another one: what it says can be folded twice.
    pub(super) fn control(&self) -> ClientConfig {
        let mut config = self.consumer();
        config.set("group.id", format!("{}.control", self.group_id)).set("auto.offset.reset", "earliest");
        config
    }

    /// Shares the partitions with the recorders of the other instances.
    pub(super) fn recorder(&self) -> ClientConfig {
        let mut config = self.consumer();
        config
            .set("group.id", &self.group_id)
            .set("group.protocol", "classic")
            // Every rebalance takes all partitions and gives some back, so there is one way in and one way out.
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", self.session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", (self.session_timeout.as_millis() / 5).clamp(100, 3_000).to_string());
        // How soon the group notices that the topic has more partitions.
        self.unless_given(&mut config, &[("topic.metadata.refresh.interval.ms", "5000")]);
        // librdkafka wants it to be no shorter than the session's; its own default is five minutes.
        let poll_interval = self.session_timeout.max(Duration::from_secs(300)).as_millis().to_string();
        self.unless_given(&mut config, &[("max.poll.interval.ms", &poll_interval)]);
        config
    }

    /// Delivers every record or says that it did not.
    pub(super) fn producer(&self) -> ClientConfig {
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

/// Takes what a client says about itself.
#[derive(Debug)]
pub(super) struct ClientEvents {
    client: &'static str,
    errors: Mutex<HashMap<String, Repeated>>,
}

#[derive(Debug)]
struct Repeated {
    logged_at: Instant,
    suppressed: u64,
}

impl ClientEvents {
    /// For the client of this name.
    pub(super) fn new(client: &'static str) -> Self {
        Self { client, errors: Mutex::default() }
    }

    /// Whether an error of this kind is to be logged now, and how many like it were not.
    fn admit(&self, kind: &str, now: Instant) -> Option<u64> {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(repeated) = errors.get_mut(kind) {
            if now.saturating_duration_since(repeated.logged_at) < ERROR_LOG_INTERVAL {
                repeated.suppressed += 1;
                return None;
            }
            repeated.logged_at = now;
            return Some(std::mem::take(&mut repeated.suppressed));
        }
        errors.insert(kind.to_owned(), Repeated { logged_at: now, suppressed: 0 });
        Some(0)
    }
}

impl ClientContext for ClientEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let client = self.client;
        match level {
            // What matters comes as an error, too; the lines are for those who look closer.
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(kafka.client = client, kafka.facility = facility, "librdkafka: {message}");
            }
            // Consumers and producers share `kafka.properties`; that some are for the others only is meant so.
            RDKafkaLogLevel::Warning if facility == "CONFWARN" && message.contains("will be ignored by this") => {
                tracing::debug!(kafka.client = client, kafka.facility = facility, "librdkafka: {message}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                if let Some(suppressed) = self.admit(facility, Instant::now()) {
                    tracing::warn!(
                        kafka.client = client,
                        kafka.facility = facility,
                        suppressed,
                        "librdkafka: {message}"
                    );
                }
            }
            _ => tracing::debug!(kafka.client = client, kafka.facility = facility, "librdkafka: {message}"),
        }
    }

    fn stats(&self, _: Statistics) {}

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        // Not an error: it was asked for.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        let kind = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| format!("{code:?}"));
        if let Some(suppressed) = self.admit(&kind, Instant::now()) {
            tracing::warn!(kafka.client = self.client, error = kind, suppressed, "kafka client error: {reason}");
        }
    }
}

impl ConsumerContext for ClientEvents {
    /// Short, so that a rebalance or an error is not noticed a second late.
    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(Duration::from_millis(100))
    }
}

/// Makes a client of this kind.
pub(super) fn create<C, T>(config: &ClientConfig, context: C) -> KafkaResult<T>
where
    C: ClientContext,
    T: FromClientConfigAndContext<C>,
{
    T::from_config_and_context(config, context)
}

/// Drops a client on a thread of its own: closing one may wait for brokers. Does not wait for that.
pub(super) fn retire(client: impl Send + 'static) {
    let retiring = thread::Builder::new().name("kafka-retire".into()).spawn(move || drop(client));
    if let Err(error) = retiring {
        tracing::warn!(%error, "no thread to close a kafka client on");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_repeats_is_logged_once_in_a_while_with_the_number_of_repeats() {
        let (events, start) = (ClientEvents::new("test"), Instant::now());
        assert_eq!(events.admit("AllBrokersDown", start), Some(0));
        for millis in 1..=600 {
            assert_eq!(events.admit("AllBrokersDown", start + Duration::from_millis(millis * 49)), None);
        }
        assert_eq!(events.admit("Resolve", start), Some(0));
        assert_eq!(events.admit("AllBrokersDown", start + ERROR_LOG_INTERVAL), Some(600));
        assert_eq!(events.admit("AllBrokersDown", start + ERROR_LOG_INTERVAL * 2), Some(0));
    }
}
