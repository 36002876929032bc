//! Rights that the brokers do not give: which, on what, to whom, and which setting names it.

use std::{fmt, sync::Arc};

use rdkafka::error::RDKafkaErrorCode;

use crate::config;

/// A right of Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    Read,
    Write,
    Create,
    DescribeConfigs,
}

impl Right {
    /// As administrators' tools call it.
    fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Create => "CREATE",
            Self::DescribeConfigs => "DESCRIBE_CONFIGS",
        }
    }
}

/// A right that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRight {
    whom: Arc<str>,
    right: Right,
    on: String,
}

impl fmt::Display for MissingRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lacks {} on {}", self.whom, self.right.name(), self.on)
    }
}

/// What clients want rights on, as the settings name it.
#[derive(Debug)]
pub(crate) struct Rights {
    whom: Arc<str>,
    topic: String,
    dead_letter_topic: String,
    control_topic: String,
    group_id: String,
}

impl Rights {
    pub(crate) fn of(settings: &config::Kafka) -> Self {
        let property = |name: &str| settings.properties.get(name).map(config::Property::expose);
        let has = |start: &str| settings.properties.keys().any(|name| name.starts_with(start));
        let whom = match property("sasl.username") {
            Some(user) => format!("User:{user}"),
            None if has("sasl.") => "the user of kafka.properties (sasl.…)".to_owned(),
            None if has("ssl.certificate.") || has("ssl.keystore.") => "the certificate of kafka.properties".to_owned(),
            None => "User:ANONYMOUS".to_owned(),
        };
        Self {
            whom: whom.into(),
            topic: settings.topic.clone(),
            dead_letter_topic: settings.dead_letter_topic.clone(),
            control_topic: settings.control_topic.clone(),
            group_id: settings.group_id.clone(),
        }
    }

    pub(crate) fn on_topic(&self, right: Right, topic: &str) -> MissingRight {
        let named = [
            (&self.topic, " (kafka.topic)"),
            (&self.dead_letter_topic, " (kafka.dead_letter_topic)"),
            (&self.control_topic, " (kafka.control_topic)"),
        ];
        let setting = named.iter().find(|(name, _)| *name == topic).map_or("", |(_, setting)| setting);
        self.missing(right, format!("the topic {topic}{setting}"))
    }

    /// What the error of a client that reads says is missing; `client` is its name.
    pub(crate) fn of_error(&self, client: &str, code: RDKafkaErrorCode) -> Option<MissingRight> {
        let (topic, group) = match client {
            "control" => (&self.control_topic, format!("{}.control", self.group_id)),
            "dead-letters" => (&self.dead_letter_topic, format!("{}.fanout", self.group_id)),
            "fanout" => (&self.topic, format!("{}.fanout", self.group_id)),
            _ => (&self.topic, self.group_id.clone()),
        };
        match code {
            // To write somewhere is enough for brokers since 2.8, and older ones want IDEMPOTENT_WRITE.
            RDKafkaErrorCode::ClusterAuthorizationFailed => {
                let on = "any topic (kafka.dead_letter_topic, kafka.control_topic), or IDEMPOTENT_WRITE on the cluster";
                Some(self.missing(Right::Write, on.to_owned()))
            }
            RDKafkaErrorCode::GroupAuthorizationFailed => {
                Some(self.missing(Right::Read, format!("the group {group} (kafka.group_id)")))
            }
            // Who produces learns of it with the record.
            RDKafkaErrorCode::TopicAuthorizationFailed if client != "producer" => {
                Some(self.on_topic(Right::Read, topic))
            }
            _ => None,
        }
    }

    fn missing(&self, right: Right, on: String) -> MissingRight {
        MissingRight { whom: self.whom.clone(), right, on }
    }
}
