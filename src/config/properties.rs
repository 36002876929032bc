//! `kafka.properties`: what is passed on to librdkafka as it is, and what may not be.
//!
//! In a variable `_` stands for `.` (no property that takes text has a `_` in its name), so the same holds for files.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::{
    reader::{STARS, Section, literal},
    sources::{Given, Raw},
};

/// Properties Ordercast sets or depends on, with what to use instead.
pub const RESERVED_PROPERTIES: &[(&str, &str)] = &[
    ("acks", "dead letters count on it"),
    ("allow.auto.create.topics", "a missing topic must show; ordercast migrate makes topics"),
    ("auto.commit.enable", "progress is kept in SQL"),
    ("auto.commit.interval.ms", "progress is kept in SQL"),
    ("auto.offset.reset", "see kafka.on_log_gap"),
    ("bootstrap.servers", "use kafka.brokers"),
    ("enable.auto.commit", "progress is kept in SQL"),
    ("enable.auto.offset.store", "progress is kept in SQL"),
    ("enable.idempotence", "dead letters count on it"),
    ("enable.partition.eof", "catching up counts on it"),
    ("group.id", "use kafka.group_id"),
    ("group.instance.id", "an instance that stops must leave its group at once"),
    ("group.protocol", "handing partitions over counts on it"),
    ("group.remote.assignor", "handing partitions over counts on it"),
    ("isolation.level", "aborted records are never shown"),
    ("metadata.broker.list", "use kafka.brokers"),
    ("partition.assignment.strategy", "handing partitions over counts on it"),
    ("partitioner", "all producers of one topic must use one"),
    ("request.required.acks", "dead letters count on it"),
    ("session.timeout.ms", "use kafka.session_timeout"),
    ("transactional.id", "no producer here is transactional"),
];

/// Words in the names of properties whose values are starred.
const SECRET_WORDS: &[&str] = &["password", "secret", "passphrase", "pem", "oauthbearer", "token", "kinit", "proxy"];

/// Properties whose own names end in `.file`, which elsewhere means: the value stands in this file.
const NAMED_FILE: &[&str] = &[
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jose.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
];

const SETTING: &str = "properties";

pub(super) fn read(section: &mut Section<'_>) -> BTreeMap<String, SecretString> {
    let mut properties = BTreeMap::new();
    for (written, given) in section.take_below(SETTING) {
        let named = written.replace('_', ".");
        let from_file = named.strip_suffix(".file").filter(|_| !NAMED_FILE.contains(&named.as_str()));
        let property = from_file.unwrap_or(&named).to_owned();
        let name = format!("{SETTING}.{property}");
        if let Some((_, instead)) = RESERVED_PROPERTIES.iter().find(|(reserved, _)| *reserved == property) {
            section.note(&name, &given.origin, None, &format!("left to Ordercast: {instead}"));
            continue;
        }
        let text = match (&given, from_file) {
            (_, Some(_)) => section.read_file(&format!("{SETTING}.{named}"), &given),
            (Given { raw: Raw::Text(text), .. }, None) => Some(text.clone()),
            (Given { raw: Raw::List(items), .. }, None) => Some(items.join(",")),
            (Given { raw: Raw::Nested, origin }, None) => {
                section.note(&name, origin, None, "text");
                None
            }
        };
        let Some(text) = text else { continue };
        if properties.contains_key(&property) {
            section.note(&name, &given.origin, None, "given only once, itself or as …_file");
            continue;
        }
        let is_secret = from_file.is_some() || SECRET_WORDS.iter().any(|word| property.contains(word));
        let shown = if is_secret { STARS } else { text.as_str() };
        section.enter(&name, None, Some(literal(shown, false)), given.origin);
        properties.insert(property, text.into());
    }
    properties
}
