//! The demo page and its two endpoints. Mounted by `ordercast dev` alone: they hand out tokens and publish for anybody.

mod assets;
mod events;
mod settings;
mod tokens;

use std::sync::Arc;

use actix_web::web;

use crate::{
    event::{UserId, decode::Decoder},
    ingest::producer::Producer,
};

pub use tokens::Tokens;

/// What the page shows, and what it publishes with.
pub struct Demo {
    /// Signs what the page connects with.
    pub tokens: Arc<Tokens>,
    /// Whose orders the page shows.
    pub customer: UserId,
    /// Who sees the same orders beside them.
    pub merchant: UserId,
    /// The statuses its form offers, in order.
    pub statuses: Vec<String>,
    /// Those of them after which nothing more is expected.
    pub terminal: Vec<String>,
    /// The brokers, as Kafka clients take them.
    pub kafka_brokers: String,
    /// The topic of order-status events.
    pub topic: String,
    /// The base of the operations endpoints.
    pub operations_url: String,
    /// Tells what is wrong with an event before it is published.
    pub decoder: Decoder,
    /// Publishes.
    pub producer: Arc<Producer>,
}

/// Routes of the demo, to be mounted on the public listener.
pub fn configure(config: &mut web::ServiceConfig, demo: web::Data<Demo>) {
    config
        .app_data(demo)
        .configure(assets::routes)
        .route("/demo/settings.json", web::get().to(settings::settings))
        .route("/demo/events", web::post().to(events::publish));
}
