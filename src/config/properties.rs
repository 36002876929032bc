//! `kafka.properties`: what is passed on to librdkafka as it is, and what may not be.
//!
//! Judged here, so that a mistake is told with all the others: names and values by what librdkafka documents of itself. What only
//! it can find out (a certificate that cannot be read, a mechanism it was built without) shows when a client is made.
//!
//! In a variable `_` stands for `.` (no property that takes text has a `_` in its name), so the same holds for files.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::{
    librdkafka::{PROPERTIES, names},
    reader::{Section, literal},
    shown::{STARS, plain},
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

/// Names that Java's clients know and librdkafka does not, up to their ends, with what to use instead.
const OF_JAVA: &[(&str, &str)] = &[
    ("sasl.jaas.config", "use sasl.username and sasl.password"),
    ("sasl.client.callback.handler.class", "it names a Java class; use sasl.mechanism"),
    ("sasl.login", "it is for Java's JAAS; use sasl.username and sasl.password"),
    ("ssl.truststore", "use ssl.ca.location, a file of certificates in PEM"),
    ("ssl.keystore.certificate.chain", "use ssl.certificate.pem"),
    ("ssl.keystore.key", "use ssl.key.pem"),
    ("ssl.keystore.type", "ssl.keystore.location names a file in PKCS#12"),
    ("key.deserializer", "records are read as bytes"),
    ("key.serializer", "records are written as bytes"),
    ("value.deserializer", "records are read as bytes"),
    ("value.serializer", "records are written as bytes"),
];

/// Properties that take text and hold no secret. All others that take text do, as far as is known here.
const HARMLESS: &[&str] = &[
    "broker.version.fallback",
    "builtin.features",
    "client.id",
    "client.rack",
    "group.protocol.type",
    "https.ca.location",
    "offset.store.path",
    "plugin.library.paths",
    "sasl.kerberos.keytab",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "ssl.ca.certificate.stores",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.engine.id",
    "ssl.engine.location",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.providers",
    "ssl.sigalgs.list",
    "topic.blacklist",
];

/// Properties whose own names end in `.file`, which elsewhere means: the value stands in this file.
const NAMED_FILE: &[&str] = &[
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
];

const SETTING: &str = "properties";
/// How unlike a name may be to be asked for.
const LIKENESS: f64 = 0.8;

/// A property of librdkafka as it was given.
#[derive(Debug, Clone)]
pub struct Property {
    /// Its value.
    pub value: SecretString,
    /// Where it was given: the variable's name, or the setting's and the file's.
    pub place: String,
}

impl Property {
    /// Set by the program itself.
    pub fn preset(value: &str) -> Self {
        Self { value: value.into(), place: "set by the command".to_owned() }
    }

    /// Its value, as librdkafka takes it.
    pub fn expose(&self) -> &str {
        self.value.expose_secret()
    }
}

/// What librdkafka takes for a property, to complete "must be …"; `None` of one that is not known or takes any text.
pub fn allowed_for(property: &str) -> Option<String> {
    let (_, range) = PROPERTIES.iter().find(|(name, _)| *name == property)?;
    match range.split_once(" .. ") {
        Some((from, to)) if from.contains('.') => {
            Some(format!("a number from {} to {}", from.trim_end_matches(".0"), to.trim_end_matches(".0")))
        }
        Some((from, to)) => Some(format!("a whole number from {from} to {to}")),
        None if property == "debug" => Some(format!("some of {range}")),
        None if range.is_empty() => None,
        None => Some(format!("one of {range}")),
    }
}

/// Whether nothing that the property holds is secret.
pub fn is_harmless(property: &str) -> bool {
    HARMLESS.contains(&property) || allowed_for(property).is_some()
}

pub(super) fn read(section: &mut Section<'_>) -> BTreeMap<String, Property> {
    let mut properties = BTreeMap::new();
    for (written, given) in section.take_below(SETTING) {
        let named = written.replace('_', ".");
        let from_file = named.strip_suffix(".file").filter(|_| !NAMED_FILE.contains(&named.as_str()));
        let property = from_file.unwrap_or(&named).to_owned();
        let name = format!("{SETTING}.{named}");
        let place = given.origin.place(&section.key(&name));
        if let Some(wrong) = wrong_name(&property, from_file.is_some(), |name| {
            given.origin.spell(&section.key(&format!("{SETTING}.{name}")))
        }) {
            section.note(&name, &given.origin, None, &wrong);
            continue;
        }
        let text = match (&given, from_file) {
            (_, Some(_)) => section.read_file(&name, &given),
            (Given { raw: Raw::Text(text), .. }, None) => Some(text.clone()),
            (Given { raw: Raw::List(items), .. }, None) => Some(items.join(",")),
            (Given { raw: Raw::Nested, origin }, None) => {
                section.note(&name, origin, None, "must be text");
                None
            }
        };
        let Some(text) = text else { continue };
        if let Some(allowed) = allowed_for(&property).filter(|_| !takes(&property, &text)) {
            section.note(&name, &given.origin, None, &format!("must be {allowed}"));
            continue;
        }
        if properties.contains_key(&property) {
            section.note(&name, &given.origin, None, "must be given only once, itself or as …_file");
            continue;
        }
        let is_secret = from_file.is_some() || !is_harmless(&property);
        let shown = if is_secret { STARS.to_owned() } else { plain(&text) };
        section.enter(&format!("{SETTING}.{property}"), None, Some(literal(&shown, false)), given.origin);
        properties.insert(property, Property { value: text.into(), place });
    }
    properties
}

/// What is wrong with a property's name.
fn wrong_name(property: &str, from_file: bool, spell: impl Fn(&str) -> String) -> Option<String> {
    if let Some((_, instead)) = RESERVED_PROPERTIES.iter().find(|(reserved, _)| *reserved == property) {
        return Some(format!("must be left to Ordercast: {instead}"));
    }
    if PROPERTIES.iter().any(|(name, _)| *name == property) {
        return None;
    }
    let ours = |(name, _): &&(&str, &str)| {
        property.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if let Some((_, instead)) = OF_JAVA.iter().find(ours) {
        return Some(format!("is a property of Java's clients, which librdkafka does not have: {instead}"));
    }
    let likeness = |name: &str| strsim::jaro_winkler(property, name);
    let nearest = names().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|name| likeness(name) >= LIKENESS);
    let ending = if from_file { ".file" } else { "" };
    let hint = nearest.map(|name| format!("; did you mean {}?", spell(&format!("{name}{ending}")))).unwrap_or_default();
    Some(format!("is not a property of librdkafka{hint}"))
}

/// Whether librdkafka takes this value, as far as it documents it.
fn takes(property: &str, value: &str) -> bool {
    let Some((_, range)) = PROPERTIES.iter().find(|(name, _)| *name == property) else { return false };
    if let Some((from, to)) = range.split_once(" .. ") {
        let read = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        let is_whole = from.contains('.') || value.trim().parse::<i64>().is_ok();
        return is_whole && read(value) >= read(from) && read(value) <= read(to);
    }
    let is_word = |text: &str| range.split(", ").any(|word| word.eq_ignore_ascii_case(text));
    match *range {
        "true, false" => is_word(value) || ["t", "f", "1", "0"].contains(&value.to_ascii_lowercase().as_str()),
        _ if property == "debug" => value.split(',').all(|flag| is_word(flag.trim().trim_start_matches(['+', '-']))),
        _ => is_word(value.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_as_librdkafka_documents_them() {
        for (property, good, bad) in [
            ("message.max.bytes", "1000", "999"),
            ("message.max.bytes", " 1000000000", "1000000001"),
            ("message.max.bytes", "2000", "2000k"),
            ("message.max.bytes", "2000", ""),
            ("compression.level", "-1", "-2"),
            ("linger.ms", "0.5", "half"),
            ("linger.ms", "900000", "900000.1"),
            ("linger.ms", "5", "NaN"),
            ("security.protocol", "SASL_SSL", "SASL-SSL"),
            ("socket.keepalive.enable", "True", "yes"),
            ("socket.keepalive.enable", "1", "2"),
            ("debug", "broker, -security,+ALL", "broker;security"),
        ] {
            assert!(takes(property, good), "{property} = {good}");
            assert!(!takes(property, bad), "{property} = {bad}");
        }
    }

    #[test]
    fn all_text_is_secret_that_is_not_known_to_be_harmless() {
        let secret: Vec<&str> = names().filter(|name| !is_harmless(name)).collect();
        for name in ["sasl.password", "ssl.key.pem", "ssl.key.password", "sasl.oauthbearer.config"] {
            assert!(secret.contains(&name), "{secret:?}");
        }
        assert!(!is_harmless("sasl.jaas.config") && is_harmless("security.protocol") && is_harmless("linger.ms"));
        for name in HARMLESS {
            assert!(PROPERTIES.contains(&(name, "")), "{name} is none that takes text");
        }
    }
}
