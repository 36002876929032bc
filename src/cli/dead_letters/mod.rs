//! `ordercast dead-letters`: the records that could not be used, listed and sent to their topic again.

mod filter;
mod list;
mod replay;
mod table;

use std::sync::Arc;

use clap::Subcommand;
use secrecy::ExposeSecret;

use super::{block_on, context::Context, error::CommandError};
use crate::{
    config::{Need, Settings},
    log::kafka::KafkaClients,
    recorder::dead_letters::DeadLetters,
    store::{self, DeadLetterStore},
};

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show them: which record, when and why
    List(list::List),
    /// Send them to the topic they came from again, each once
    Replay(replay::Replay),
}

/// What both are given.
struct Sources {
    settings: Settings,
    clients: KafkaClients,
    store: Arc<dyn DeadLetterStore>,
}

impl Command {
    /// Does it.
    pub(super) fn run(self, context: &Context) -> Result<(), CommandError> {
        let settings = context.settings_or_dev(&[Need::Brokers, Need::Database])?;
        block_on(async {
            let sources = Sources::open(settings).await?;
            match self {
                Self::List(list) => list.run(&sources).await,
                Self::Replay(replay) => replay.run(&sources).await,
            }
        })?
    }
}

impl Sources {
    async fn open(settings: Settings) -> Result<Self, CommandError> {
        let clients = KafkaClients::new(&settings.kafka)?;
        let url = settings.database.url.as_ref().map_or("", |url| url.expose_secret());
        let store = store::connect_to_dead_letters(url, crate::app::store_limits(&settings))
            .map_err(|error| CommandError::Usage(format!("database.url {error}")))?;
        store.check_schema().await.map_err(CommandError::failed)?;
        Ok(Self { settings, clients, store })
    }

    fn dead_letters(&self) -> Result<DeadLetters, CommandError> {
        DeadLetters::open(&self.clients, &self.settings.kafka, self.store.clone()).map_err(CommandError::failed)
    }
}
