//! What Kafka clients say about themselves. What brokers do not answer is gathered for all clients in one place, what rights
//! are missing is told with what to grant; the rest goes to the log, thinned out. No secret of the settings gets there.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Statistics, config::RDKafkaLogLevel, consumer::ConsumerContext, error::KafkaError,
    error::RDKafkaErrorCode, util::Timeout,
};

use super::{
    reach::Reach,
    repeats::Repeats,
    rights::{MissingRight, Rights},
    secrets::Secrets,
};
use crate::config;

/// How often one kind of error is logged at most: with all brokers down librdkafka repeats itself 20 times a second.
const ERROR_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// What the clients of one process share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) secrets: Secrets,
    pub(crate) reach: Reach,
    pub(crate) rights: Rights,
    errors: Mutex<Repeats>,
}

impl Shared {
    pub(crate) fn new(settings: &config::Kafka) -> Self {
        Self {
            secrets: Secrets::of(settings),
            reach: Reach::new(&settings.brokers),
            rights: Rights::of(settings),
            errors: Mutex::new(Repeats::every(ERROR_LOG_INTERVAL)),
        }
    }

    /// Says which right is missing, however many notice it.
    pub(crate) fn on_missing_right(&self, missing: &MissingRight) {
        if self.admit(&missing.to_string()).is_some() {
            tracing::error!("{missing}; it has to be granted");
        }
    }

    /// Whether an error of this kind is to be logged now, and how many like it were not.
    fn admit(&self, kind: &str) -> Option<u64> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).admit(kind, Instant::now())
    }
}

/// Takes what a client says about itself.
#[derive(Debug)]
pub(crate) struct ClientEvents {
    client: &'static str,
    shared: Arc<Shared>,
}

impl ClientEvents {
    /// For the client of this name.
    pub(crate) fn new(client: &'static str, shared: Arc<Shared>) -> Self {
        Self { client, shared }
    }

    /// What was not answered: that brokers do not answer is told once, for all clients.
    fn is_about_silence(&self, facility: &str) -> bool {
        match facility {
            "REQTMOUT" | "FAIL" => true,
            // The group waits for its coordinator no longer, which may be a broker that does not answer.
            "SESSTMOUT" => self.shared.reach.is_silent(),
            _ => false,
        }
    }
}

impl ClientContext for ClientEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let client = self.client;
        // It comes at once, and from clients, too, that nobody polls.
        let is_known = facility == "FAIL" && self.shared.reach.on_failure(message, Instant::now());
        let message = self.shared.secrets.hide(message);
        match level {
            // It comes as an error, too, which says what is missing where that is a right.
            _ if facility == "FATAL" => {
                tracing::debug!(kafka.client = client, kafka.facility = facility, "librdkafka: {message}");
            }
            // What matters comes as an error, too; the lines are for those who look closer.
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(kafka.client = client, kafka.facility = facility, "librdkafka: {message}");
            }
            _ if is_known || self.is_about_silence(facility) => {
                tracing::debug!(kafka.client = client, kafka.facility = facility, "librdkafka: {message}");
            }
            // It tries again; what it cannot get over comes as an error.
            RDKafkaLogLevel::Warning if facility == "GETPID" => {
                tracing::debug!(kafka.client = client, kafka.facility = facility, "librdkafka: {message}");
            }
            // Consumers and producers share `kafka.properties`; that some are for the others only is meant so.
            RDKafkaLogLevel::Warning if facility == "CONFWARN" && message.contains("will be ignored by this") => {
                tracing::debug!(kafka.client = client, kafka.facility = facility, "librdkafka: {message}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                if let Some(suppressed) = self.shared.admit(facility) {
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
        let (client, code) = (self.client, error.rdkafka_error_code());
        // Not an error: it was asked for.
        if code == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        let is_known = self.shared.reach.on_failure(reason, Instant::now());
        let reason = self.shared.secrets.hide(reason);
        let kind = code.map_or_else(|| error.to_string(), |code| format!("{code:?}"));
        if let Some(missing) = code.and_then(|code| self.shared.rights.of_error(client, code)) {
            self.shared.on_missing_right(&missing);
        } else if is_known || code.is_some_and(is_told_elsewhere) {
            tracing::debug!(kafka.client = client, error = kind, "kafka client error: {reason}");
        } else if let Some(suppressed) = self.shared.admit(&kind) {
            tracing::warn!(kafka.client = client, error = kind, suppressed, "kafka client error: {reason}");
        }
    }
}

impl ConsumerContext for ClientEvents {
    /// Short, so that a rebalance or an error is not noticed a second late.
    fn main_queue_min_poll_interval(&self) -> Timeout {
        Timeout::After(Duration::from_millis(100))
    }
}

/// What `reach` says of the brokers, and `log_watch` of the topic.
fn is_told_elsewhere(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::AllBrokersDown | Code::UnknownTopic | Code::UnknownTopicOrPartition)
}
