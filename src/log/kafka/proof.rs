//! Whether librdkafka takes the settings: asked before anything connects, so that a mistake is told as every other mistake
//! of the settings. Its own words repeat the values that it refuses, so they are not passed on as they are.

use rdkafka::{
    ClientConfig, ClientContext, Statistics,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, ConsumerContext},
    error::{KafkaError, KafkaResult},
    producer::{BaseProducer, ProducerContext},
};

use super::{
    lifetime::{create, retire},
    secrets::Secrets,
};
use crate::config::{self, Problem, Property, allowed_for};

/// What is wrong with the properties: with each by itself, else with all together.
pub(crate) fn problems(
    settings: &config::Kafka,
    secrets: &Secrets,
    consumer: ClientConfig,
    producer: ClientConfig,
) -> Vec<Problem> {
    let alone = settings.properties.iter().filter_map(|(name, property)| {
        let mut config = ClientConfig::new();
        let error = config.set(name, property.expose()).create_native_config().err()?;
        Some(about(name, property, &refusal(name, &error)))
    });
    let alone: Vec<Problem> = alone.collect();
    if !alone.is_empty() {
        return alone;
    }
    let made = without_brokers(consumer)
        .and_then(|consumer| create::<_, BaseConsumer<Unheard>>(&consumer, Unheard).map(retire))
        .and_then(|()| without_brokers(producer))
        .and_then(|producer| create::<_, BaseProducer<Unheard>>(&producer, Unheard).map(retire));
    made.err().map(|error| together(settings, &secrets.hide(&words(&error)))).into_iter().collect()
}

fn about(name: &str, property: &Property, wrong: &str) -> Problem {
    Problem::at(&format!("kafka.properties.{name}"), &property.place, wrong)
}

/// Why one property is refused, without its value.
fn refusal(name: &str, error: &KafkaError) -> String {
    let words = words(error);
    let of_the_build = words.split_once("not supported in this build: ");
    // `Unsupported value "gzip" for configuration property "compression.type": zlib not available at build time`
    let of_the_build = of_the_build.or_else(|| words.strip_prefix("Unsupported value")?.rsplit_once("\": "));
    match (of_the_build, allowed_for(name)) {
        (Some((_, why)), _) => format!("asks for what is not built in ({why})"),
        (None, Some(allowed)) => format!("must be {allowed}"),
        (None, None) => "has a value that librdkafka does not take".to_owned(),
    }
}

/// What does not fit together, or cannot be found out of one property alone: a file, a mechanism.
fn together(settings: &config::Kafka, words: &str) -> Problem {
    if words.contains("No provider for SASL mechanism") || words.contains("Unsupported SASL mechanism") {
        let wrong = "must be PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER";
        let given = ["sasl.mechanism", "sasl.mechanisms"]
            .into_iter()
            .find_map(|name| settings.properties.get(name).map(|property| about(name, property, wrong)));
        return given.unwrap_or_else(|| {
            let (key, place) = ("kafka.properties.sasl.mechanism", config::variable("kafka.properties.sasl.mechanism"));
            Problem::at(key, place, format!("must be given where security.protocol asks for SASL, and {wrong}"))
        });
    }
    let named = settings.properties.iter().filter(|(name, _)| names(words, name));
    let places: Vec<&str> = named.map(|(_, property)| property.place.as_str()).collect();
    let place = if places.is_empty() { "kafka.properties".to_owned() } else { places.join(" and ") };
    Problem::at("kafka.properties", place, format!("cannot be used: {words}"))
}

/// Whether the text has this name, and not only a longer one.
fn names(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
        let after = &text[at + name.len()..];
        let goes_on = after.starts_with(is_inside) && !after.starts_with(". ");
        !text[..at].ends_with(is_inside) && !goes_on
    })
}

/// librdkafka's own words, in one line.
fn words(error: &KafkaError) -> String {
    let words = match error {
        KafkaError::ClientConfig(_, words, ..) | KafkaError::ClientCreation(words) => words.clone(),
        other => other.to_string(),
    };
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn without_brokers(mut config: ClientConfig) -> KafkaResult<ClientConfig> {
    config.remove("bootstrap.servers");
    Ok(config)
}

/// The context of clients that live for a moment.
struct Unheard;

impl ClientContext for Unheard {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn stats(&self, _: Statistics) {}

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Unheard {}

impl ProducerContext for Unheard {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, (): ()) {}
}
