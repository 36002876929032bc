//! `GET /demo/settings.json`: what the page cannot know by itself, with new tokens at every call.

use std::time::Duration;

use actix_web::{HttpResponse, http::header::CACHE_CONTROL, web};
use serde::Serialize;

use super::Page;
use crate::domain::UserId;

/// The page asks again when a token has expired.
const TOKEN_TTL: Duration = Duration::from_secs(3600);

pub(super) async fn settings(page: web::Data<Page>) -> HttpResponse {
    #[derive(Serialize)]
    struct Settings<'a> {
        customer: Viewer<'a>,
        merchant: Viewer<'a>,
        statuses: &'a [String],
        terminal: &'a [String],
        kafka_brokers: &'a str,
        topic: &'a str,
        operations_url: &'a str,
    }
    #[derive(Serialize)]
    struct Viewer<'a> {
        user_id: &'a UserId,
        token: String,
    }
    let viewer = |user_id| Viewer { user_id, token: page.tokens.token(user_id, TOKEN_TTL) };
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(Settings {
        customer: viewer(&page.customer),
        merchant: viewer(&page.merchant),
        statuses: &page.statuses,
        terminal: &page.terminal,
        kafka_brokers: &page.kafka_brokers,
        topic: &page.topic,
        operations_url: &page.operations_url,
    })
}
