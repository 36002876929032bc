//! `kafka`: the log the events come from.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use super::{
    properties::{self, Property},
    reader::Section,
    rule::{Rule, duration, number, one_of, text},
};

/// What librdkafka calls its security protocols.
const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];

/// Brokers, topics and what to do where the log does not go on as expected.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// Bootstrap brokers, `host:port` each. Needed wherever Kafka is.
    pub brokers: Vec<String>,
    /// The topic of order-status events. Default `order-status`.
    pub topic: String,
    /// The recorder's consumer group; `<group_id>.fanout` and `<group_id>.control` name those of the readers that share
    /// nothing. Default `ordercast`.
    pub group_id: String,
    /// Where records go that cannot be used. Default `<topic>.dlt`.
    pub dead_letter_topic: String,
    /// Where instances tell each other of revocations, kicks and announcements. Default `<topic>.control`.
    pub control_topic: String,
    /// Further properties of librdkafka (TLS, SASL, …) by their own names. Default none.
    pub properties: BTreeMap<String, Property>,
    /// What stands for the version of an event without one. Default `offset`.
    pub missing_version: MissingVersion,
    /// What to do when the log was replaced by another. Default `halt`.
    pub on_log_regression: OnLogRegression,
    /// What to do when records were deleted before they were recorded. Default `halt`.
    pub on_log_gap: OnLogGap,
    /// How old the proof of being up to date may be before viewers are told. 1 s to 10 min, default 10 s.
    pub stale_after: Duration,
    /// When the group gives up on a silent recorder. 1 s to 30 min (the broker has limits of its own), default 10 s.
    pub session_timeout: Duration,
    /// Raised by hand to say that the log is another one. From 0, default 0.
    pub epoch: i32,
}

/// What stands for the version of an event without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingVersion {
    /// The record's offset + 1: right as long as the partition count never changes.
    Offset,
    /// Nothing: the event becomes a dead letter.
    DeadLetter,
}

/// What to do when the log was replaced by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLogRegression {
    /// Stop the partition and say so.
    Halt,
    /// Keep the rows and go on from the beginning of the new log.
    Reset,
}

/// What to do when records were deleted before they were recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLogGap {
    /// Stop the partition and say so.
    Halt,
    /// Note the lost range and go on behind it.
    Continue,
}

impl Kafka {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let topic = section.value("topic", "order-status", topic_name());
        let missing = &[("offset", MissingVersion::Offset), ("dead_letter", MissingVersion::DeadLetter)];
        let regression = &[("halt", OnLogRegression::Halt), ("reset", OnLogRegression::Reset)];
        let gap = &[("halt", OnLogGap::Halt), ("continue", OnLogGap::Continue)];
        Self {
            brokers: section.list("brokers", "", broker()),
            group_id: section.value("group_id", "ordercast", text(200)),
            dead_letter_topic: section.value("dead_letter_topic", &format!("{topic}.dlt"), topic_name()),
            control_topic: section.value("control_topic", &format!("{topic}.control"), topic_name()),
            missing_version: section.value("missing_version", "offset", one_of(missing)),
            on_log_regression: section.value("on_log_regression", "halt", one_of(regression)),
            on_log_gap: section.value("on_log_gap", "halt", one_of(gap)),
            stale_after: section.value("stale_after", "10s", duration("1s", "10m")),
            session_timeout: section.value("session_timeout", "10s", duration("1s", "30m")),
            epoch: section.value("epoch", "0", number(0..=i32::MAX)),
            properties: properties::read(&mut section),
            topic,
        }
    }
}

fn broker() -> Rule<String> {
    Rule::new("a broker's host and port such as kafka-1:9092", |text| parse_broker(text).ok())
}

/// The text is not a broker's `host:port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a host and a port such as kafka-1:9092")]
pub struct NotABroker;

/// A broker's address: host and port; librdkafka takes the name of a security protocol in front of it.
pub fn parse_broker(text: &str) -> Result<String, NotABroker> {
    let address = match text.split_once("://") {
        Some((protocol, address)) if PROTOCOLS.iter().any(|known| known.eq_ignore_ascii_case(protocol)) => address,
        Some(_) => return Err(NotABroker),
        None => text,
    };
    let (host, port) = address.rsplit_once(':').ok_or(NotABroker)?;
    let is_host_char = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(is_host_char),
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if is_host && is_port { Ok(text.to_owned()) } else { Err(NotABroker) }
}

/// Kafka's own rule for topic names; 240 leaves room for `.control` below Kafka's 249.
fn topic_name() -> Rule<String> {
    Rule::new("a topic name: 1 to 240 of a-z, A-Z, 0-9, '.', '_' and '-'", |text| {
        let is_name_char = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let is_name = (1..=240).contains(&text.len()) && text.chars().all(is_name_char) && text != "." && text != "..";
        is_name.then(|| text.to_owned())
    })
}
