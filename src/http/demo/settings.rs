//! `GET /demo/settings.json`: what the page cannot know by itself, with new tokens at every call.

use std::time::Duration;

use actix_web::{HttpResponse, http::header::CACHE_CONTROL, web};
use serde::Serialize;

use super::Demo;
use crate::event::UserId;

/// The page asks again when a token has expired.
const TOKEN_TTL: Duration = Duration::from_secs(3600);

pub(super) async fn settings(demo: web::Data<Demo>) -> HttpResponse {
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
    let viewer = |user_id| Viewer { user_id, token: demo.tokens.token(user_id, TOKEN_TTL) };
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(Settings {
        customer: viewer(&demo.customer),
        merchant: viewer(&demo.merchant),
        statuses: &demo.statuses,
        terminal: &demo.terminal,
        kafka_brokers: &demo.kafka_brokers,
        topic: &demo.topic,
        operations_url: &demo.operations_url,
    })
}
