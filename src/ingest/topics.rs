//! The topics that `ordercast migrate` prepares, and what is asked of the source topic.

use std::time::Duration;

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{
    client::{KafkaClients, create, retire},
    events::ClientEvents,
};
use crate::config;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Readiness waits for this answer, and brokers that know no such question leave it unanswered.
const POLICY_TIMEOUT: Duration = Duration::from_secs(2);
/// A dead letter is its record and headers about it.
const DEAD_LETTER_EXTRA_BYTES: u64 = 64 * 1024;
/// What Kafka takes by default, where the source topic's limit cannot be read.
const DEFAULT_MAX_MESSAGE_BYTES: u64 = 1_048_588;

/// What became of a topic that should be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// It was made.
    Created,
    /// It had been there.
    Existing,
}

/// Topics could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The client could not ask, or the brokers do not answer.
    #[error("the brokers could not be asked: {0}")]
    Client(#[from] KafkaError),
    /// The brokers refused.
    #[error("the topic {topic} could not be made: {code}")]
    Refused {
        /// The topic.
        topic: String,
        /// Why.
        code: RDKafkaErrorCode,
    },
}

/// Asks and orders what concerns topics as a whole.
pub struct Topics {
    admin: Option<AdminClient<ClientEvents>>,
}

impl Topics {
    /// Connects later.
    pub fn new(clients: &KafkaClients) -> Result<Self, KafkaError> {
        Ok(Self { admin: Some(create(&clients.inquirer(), clients.events("admin"))?) })
    }

    /// Makes the dead-letter topic if it is missing: as many replicas as the cluster's default, one partition, records
    /// 64 KiB larger than the source topic takes. Records stay until somebody deletes them: they are what nobody has
    /// looked at yet.
    pub async fn prepare_dead_letters(&self, settings: &config::Kafka) -> Result<Prepared, TopicError> {
        let source = self.config(&settings.topic, "max.message.bytes", TIMEOUT).await?;
        let source = source.and_then(|bytes| bytes.parse().ok()).unwrap_or(DEFAULT_MAX_MESSAGE_BYTES);
        let max_message_bytes = (source + DEAD_LETTER_EXTRA_BYTES).to_string();
        let topic = NewTopic::new(&settings.dead_letter_topic, 1, TopicReplication::Fixed(-1))
            .set("max.message.bytes", &max_message_bytes)
            .set("cleanup.policy", "delete")
            .set("retention.ms", "-1")
            .set("retention.bytes", "-1");
        self.create(&topic).await
    }

    /// Makes the control topic if it is missing: one partition, compacted, so that what is revoked stays however old it is.
    pub async fn prepare_control(&self, settings: &config::Kafka) -> Result<Prepared, TopicError> {
        let topic =
            NewTopic::new(&settings.control_topic, 1, TopicReplication::Fixed(-1)).set("cleanup.policy", "compact");
        self.create(&topic).await
    }

    async fn create(&self, topic: &NewTopic<'_>) -> Result<Prepared, TopicError> {
        let made = self.admin().create_topics([topic], &within(TIMEOUT)).await?;
        match made.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(Prepared::Existing),
            Some(Err((topic, code))) => Err(TopicError::Refused { topic, code }),
            _ => Ok(Prepared::Created),
        }
    }

    /// Whether the source topic is compacted: then its last record of a key stays, which may be a late one, and the
    /// record that was applied last may be gone. `None`: the brokers do not tell.
    pub async fn is_compacted(&self, topic: &str) -> Option<bool> {
        let policy = self.cleanup_policy(topic).await?;
        Some(policy.split(',').any(|policy| policy.trim() == "compact"))
    }

    /// How the brokers clean a topic up: `delete`, `compact`, or both with a comma. `None`: they do not tell.
    pub async fn cleanup_policy(&self, topic: &str) -> Option<String> {
        self.config(topic, "cleanup.policy", POLICY_TIMEOUT).await.ok()?
    }

    /// One setting of a topic; `None` if there is no such topic or setting, or it must not be read.
    async fn config(&self, topic: &str, name: &str, timeout: Duration) -> Result<Option<String>, KafkaError> {
        let asked = [&ResourceSpecifier::Topic(topic)];
        let described = self.admin().describe_configs(asked, &within(timeout)).await?;
        let config = described.into_iter().next().and_then(Result::ok);
        Ok(config.and_then(|config| config.get(name).and_then(|entry| entry.value.clone())))
    }

    fn admin(&self) -> &AdminClient<ClientEvents> {
        self.admin.as_ref().expect("it is taken out only when this is dropped")
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        if let Some(admin) = self.admin.take() {
            retire(admin);
        }
    }
}

fn within(timeout: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout))
}
