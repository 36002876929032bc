//! The page and its two endpoints. Mounted by `ordercast dev` alone: they hand out tokens and publish for anybody.

mod assets;
mod events;
mod settings;

use std::sync::Arc;

use actix_web::web;

use super::tokens::Tokens;
use crate::{
    domain::{UserId, decode::Decoder},
    log::kafka::producer::Producer,
};

/// What the page shows, and what it publishes with.
pub(super) struct Page {
    /// Signs what the page connects with.
    pub(super) tokens: Arc<Tokens>,
    /// Whose orders the page shows.
    pub(super) customer: UserId,
    /// Who sees the same orders beside them.
    pub(super) merchant: UserId,
    /// The statuses its form offers, in order.
    pub(super) statuses: Vec<String>,
    /// Those of them after which nothing more is expected.
    pub(super) terminal: Vec<String>,
    /// The brokers, as Kafka clients take them.
    pub(super) kafka_brokers: String,
    /// The topic of order-status events.
    pub(super) topic: String,
    /// The base of the operations endpoints.
    pub(super) operations_url: String,
    /// Tells what is wrong with an event before it is published.
    pub(super) decoder: Decoder,
    /// Publishes.
    pub(super) producer: Arc<Producer>,
}

/// Its routes, to be mounted on the public listener.
pub(super) fn routes(config: &mut web::ServiceConfig, page: web::Data<Page>) {
    config
        .app_data(page)
        .configure(assets::routes)
        .route("/demo/settings.json", web::get().to(settings::settings))
        .route("/demo/events", web::post().to(events::publish));
}
