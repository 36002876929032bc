//! `ordercast migrate`: prepares what `serve` needs: the schema, and the dead-letter and control topics.

use secrecy::ExposeSecret;

use super::{
    block_on,
    context::Context,
    error::CommandError,
    output::{print, say},
};
use crate::{
    config::{Need, Settings},
    domain::Lifecycle,
    log::kafka::{
        KafkaClients,
        topics::{Prepared, Topics},
    },
    store::{self, Restated},
};

/// Prepares all; running it again changes nothing.
pub(super) fn run(context: &Context) -> Result<(), CommandError> {
    let settings = context.settings(&[Need::Brokers, Need::Database])?;
    block_on(migrate(&settings))?
}

async fn migrate(settings: &Settings) -> Result<(), CommandError> {
    let clients = KafkaClients::new(&settings.kafka)?;
    let url = settings.database.url.as_ref().map_or("", |url| url.expose_secret());
    let store = store::connect(url, crate::app::store_limits(settings))
        .map_err(|error| CommandError::Usage(format!("database.url {error}")))?;
    store.migrate().await.map_err(CommandError::failed)?;
    print("the database schema is up to date")?;
    let lifecycle = Lifecycle::new(&settings.lifecycle.statuses, &settings.lifecycle.terminal);
    let restated = store::restate_all(&*store, &lifecycle).await.map_err(CommandError::failed)?;
    print(format_args!(
        "orders restated by lifecycle.terminal: {}, rows of lists: {}",
        restated.orders, restated.rows
    ))?;

    let kafka = &settings.kafka;
    let topics = Topics::new(&clients);
    let dead_letters = topics.prepare_dead_letters(kafka).await.map_err(CommandError::failed)?;
    print(format_args!("the dead-letter topic {} {}", kafka.dead_letter_topic, did(dead_letters)))?;
    let control = topics.prepare_control(kafka).await.map_err(CommandError::failed)?;
    print(format_args!("the control topic {} {}", kafka.control_topic, did(control)))?;
    match topics.is_compacted(&kafka.topic).await {
        Some(true) => say(format_args!(
            "warning: the topic {} is compacted, which keeps the last record of an order, and that may be a late one",
            kafka.topic
        )),
        Some(false) => {}
        None if !topics.is_missing(&kafka.topic) => say(format_args!(
            "warning: the brokers do not tell how large records of the topic {} may be (a new dead-letter topic takes them \
             up to Kafka's default), nor whether it is compacted: perhaps {}",
            kafka.topic,
            topics.lacks_describe_configs(&kafka.topic)
        )),
        None => {}
    }
    match restated.unreadable.is_empty() {
        true => Ok(()),
        false => Err(CommandError::failed(unreadable(&restated))),
    }
}

/// One line each. All else was done.
fn unreadable(restated: &Restated) -> String {
    let lines = restated.unreadable.iter().map(|(order, error)| {
        format!("the stored row of the order {order} cannot be read, so it was not restated: {error}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn did(prepared: Prepared) -> &'static str {
    match prepared {
        Prepared::Created => "was made",
        Prepared::Existing => "is there",
    }
}
