//! The topics that `ordercast migrate` prepares, and what is asked of the source topic.

use std::{ops::Deref, time::Duration};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{
    KafkaClients,
    events::ClientEvents,
    lifetime::{create, retire},
    reach::is_silence,
    rights::{MissingRight, Right},
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
    /// No broker answers.
    #[error("{0}: start them, or correct kafka.brokers")]
    NoAnswer(String),
    /// Who asks may not.
    #[error("{0}; it has to be granted")]
    Forbidden(MissingRight),
    /// The brokers refused.
    #[error("the topic {topic} could not be made: {code}")]
    Refused {
        /// The topic.
        topic: String,
        /// Why.
        code: RDKafkaErrorCode,
    },
}

/// Asks and orders what concerns topics as a whole. Makes a client for each question: there are few, and a client that waits for
/// the next one is never quite idle.
pub struct Topics {
    clients: KafkaClients,
}

/// A client for one question, which is closed on a thread of its own.
struct Admin(Option<AdminClient<ClientEvents>>);

impl Deref for Admin {
    type Target = AdminClient<ClientEvents>;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect("it is taken out only when this is dropped")
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        if let Some(admin) = self.0.take() {
            retire(admin);
        }
    }
}

impl Topics {
    /// Connects later.
    pub fn new(clients: &KafkaClients) -> Self {
        Self { clients: clients.clone() }
    }

    /// Makes the dead-letter topic if it is missing: as many replicas as the cluster's default, one partition, records
    /// 64 KiB larger than the source topic takes. Records stay until somebody deletes them: they are what nobody has
    /// looked at yet.
    pub async fn prepare_dead_letters(&self, settings: &config::Kafka) -> Result<Prepared, TopicError> {
        let source = self.config(&settings.topic, "max.message.bytes", TIMEOUT).await;
        let source = source.map_err(|error| self.unasked(error))?;
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
        use RDKafkaErrorCode as Code;
        let made = self.admin()?.create_topics([topic], &within(TIMEOUT)).await.map_err(|error| self.unasked(error))?;
        match made.into_iter().next() {
            Some(Err((_, Code::TopicAlreadyExists))) => Ok(Prepared::Existing),
            // An administrator may have made it for one who must not.
            Some(Err((topic, Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed))) => {
                match self.exists(&topic) {
                    true => Ok(Prepared::Existing),
                    false => Err(TopicError::Forbidden(self.clients.rights().on_topic(Right::Create, &topic))),
                }
            }
            Some(Err((topic, code))) => Err(TopicError::Refused { topic, code }),
            _ => Ok(Prepared::Created),
        }
    }

    /// Whether the brokers say that there is such a topic. Blocks until they answer.
    fn exists(&self, topic: &str) -> bool {
        self.standing(topic) == Some(None)
    }

    /// Whether the brokers say that there is no such topic, which they tell only whom they let see it. Blocks until they
    /// answer.
    pub fn is_missing(&self, topic: &str) -> bool {
        self.standing(topic) == Some(Some(RDKafkaErrorCode::UnknownTopicOrPartition))
    }

    /// The error with which a topic is listed, if it is with one; `None`: no answer.
    fn standing(&self, topic: &str) -> Option<Option<RDKafkaErrorCode>> {
        let metadata = self.admin().ok()?.inner().fetch_metadata(Some(topic), TIMEOUT).ok()?;
        let found = metadata.topics().iter().find(|found| found.name() == topic)?;
        Some(found.error().map(RDKafkaErrorCode::from))
    }

    fn unasked(&self, error: KafkaError) -> TopicError {
        if !is_silence(&error) {
            return TopicError::Client(error);
        }
        self.find_out_why();
        TopicError::NoAnswer(self.clients.why_silent())
    }

    /// An admin client is not polled, so it does not tell what fails; one that reads does. Blocks for a few seconds.
    fn find_out_why(&self) {
        let reader = create::<_, BaseConsumer<ClientEvents>>(&self.clients.inquirer(), self.clients.events("admin"));
        if let Ok(reader) = reader {
            // The answer is not what is asked for.
            let _ = reader.fetch_metadata(None, POLICY_TIMEOUT);
            while reader.poll(Duration::ZERO).is_some() {}
            retire(reader);
        }
    }

    /// What is missing where the brokers tell nothing of a topic's settings, if they know the question.
    pub fn lacks_describe_configs(&self, topic: &str) -> MissingRight {
        self.clients.rights().on_topic(Right::DescribeConfigs, topic)
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
        let described = self.admin()?.describe_configs(asked, &within(timeout)).await?;
        let config = described.into_iter().next().and_then(Result::ok);
        Ok(config.and_then(|config| config.get(name).and_then(|entry| entry.value.clone())))
    }

    fn admin(&self) -> Result<Admin, KafkaError> {
        Ok(Admin(Some(create(&self.clients.inquirer(), self.clients.events("admin"))?)))
    }
}

fn within(timeout: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout))
}
