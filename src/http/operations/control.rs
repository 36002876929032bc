//! What operators do to all instances: end sessions, revoke tokens and lift that, announce. Only sends to the control topic;
//! the effect, here too, comes from reading it, within a second.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::{Operations, guard::Operator};
use crate::{
    auth::{Revocation, Subject},
    event::{Timestamp, UserId},
    http::refusal::Refusal,
    ingest::control::{Announcement, ControlMessage, Kick, MAX_CONTENT_CHARS},
    telemetry::{OutsideLine, shown},
};

const MAX_BODY_BYTES: usize = 16 * 1024;
const MAX_TOKEN_ID_CHARS: usize = 1_024;

const ONE_SUBJECT: &str = "name either a \"jti\" or a \"user_id\"";
const ONE_TARGET: &str = "name either a user_id or a session_id in the query";

/// How bodies are read. The content type has to be JSON's: a page of another origin cannot send that unasked.
pub(super) fn json() -> web::JsonConfig {
    let refusal =
        Refusal::BadRequest("the body must be JSON of the documented form, with content type application/json");
    web::JsonConfig::default().limit(MAX_BODY_BYTES).error_handler(move |_, _| refusal.into())
}

/// How queries are read.
pub(super) fn query() -> web::QueryConfig {
    web::QueryConfig::default()
        .error_handler(|_, _| Refusal::BadRequest("the query is not of the documented form").into())
}

#[derive(Debug, Deserialize)]
pub(super) struct Target {
    user_id: Option<UserId>,
    session_id: Option<String>,
}

/// Answers `DELETE /sessions`.
pub(super) async fn disconnect(
    _: Operator,
    target: web::Query<Target>,
    operations: web::Data<Operations>,
) -> Result<HttpResponse, Refusal> {
    let kick = match target.into_inner() {
        Target { user_id: Some(user_id), session_id: None } => Kick::User { user_id },
        Target { user_id: None, session_id: Some(session_id) } => Kick::Session { session_id },
        _ => return Err(Refusal::BadRequest(ONE_TARGET)),
    };
    send(&operations, ControlMessage::Kick(kick)).await
}

#[derive(Debug, Deserialize)]
pub(super) struct Announced {
    content: String,
    user_id: Option<UserId>,
}

/// Answers `POST /announcements`.
pub(super) async fn announce(
    _: Operator,
    announced: web::Json<Announced>,
    operations: web::Data<Operations>,
) -> Result<HttpResponse, Refusal> {
    let Announced { content, user_id } = announced.into_inner();
    if content.is_empty() || content.chars().count() > MAX_CONTENT_CHARS {
        return Err(Refusal::BadRequest("\"content\" must have 1 to 1,024 characters"));
    }
    send(&operations, ControlMessage::Announcement(Announcement { content, user_id, timestamp: Timestamp::now() }))
        .await
}

#[derive(Debug, Deserialize)]
pub(super) struct Revoked {
    jti: Option<Id>,
    expires_at: Option<Moment>,
    user_id: Option<Id>,
    issued_before: Option<Moment>,
}

impl Revoked {
    fn subject(self) -> Result<Subject, Refusal> {
        match (self.jti, self.user_id) {
            (Some(jti), None) => Ok(Subject::Token(jti.into_token_id()?)),
            (None, Some(user_id)) => Ok(Subject::User(user_id.into_user()?)),
            _ => Err(Refusal::BadRequest(ONE_SUBJECT)),
        }
    }
}

/// Answers `POST /revocations`.
pub(super) async fn revoke(
    _: Operator,
    revoked: web::Json<Revoked>,
    operations: web::Data<Operations>,
) -> Result<HttpResponse, Refusal> {
    let revoked = revoked.into_inner();
    let expires_at = revoked.expires_at.as_ref().map(Moment::timestamp).transpose()?;
    let issued_before = revoked.issued_before.as_ref().map(Moment::timestamp).transpose()?;
    let revocation = match revoked.subject()? {
        Subject::Token(jti) => Revocation::Token { jti, expires_at },
        Subject::User(user_id) => {
            Revocation::User { user_id, issued_before: issued_before.unwrap_or_else(Timestamp::now) }
        }
    };
    send(&operations, ControlMessage::Revocation(revocation)).await
}

/// Answers `GET /revocations`, as this instance knows them.
pub(super) async fn revoked(_: Operator, operations: web::Data<Operations>) -> HttpResponse {
    #[derive(Serialize)]
    struct List {
        revocations: Vec<Revocation>,
    }
    let revocations = operations.revocations.read(|revocations| revocations.list(Timestamp::now()));
    HttpResponse::Ok().json(List { revocations })
}

/// Answers `DELETE /revocations`; whose is said in the query, or in a body like that of the revocation.
pub(super) async fn lift(
    _: Operator,
    request: HttpRequest,
    body: Option<web::Json<Revoked>>,
    operations: web::Data<Operations>,
) -> Result<HttpResponse, Refusal> {
    #[derive(Serialize)]
    struct Lifted {
        lifted: usize,
    }
    let revoked = match body {
        Some(body) if request.query_string().is_empty() => body.into_inner(),
        _ => web::Query::<Revoked>::from_query(request.query_string())
            .map_err(|_| Refusal::BadRequest(ONE_SUBJECT))?
            .into_inner(),
    };
    let subject = revoked.subject()?;
    let keys = operations.revocations.read(|revocations| revocations.keys_of(&subject));
    operations.control.erase(&keys).await.map_err(|error| unavailable(&operations, &error))?;
    if let Some(left_out) = operations.metrics.outside.admits(OutsideLine::Operator) {
        let (records, left_out) = (keys.len(), left_out.told());
        tracing::info!(records, log.left_out = left_out, "an operator lifted a revocation");
    }
    Ok(HttpResponse::Accepted().json(Lifted { lifted: keys.len() }))
}

async fn send(operations: &Operations, message: ControlMessage) -> Result<HttpResponse, Refusal> {
    #[derive(Serialize)]
    struct Accepted {
        accepted: String,
    }
    let sent = operations.control.send(&message).await;
    let accepted = sent.map_err(|error| unavailable(operations, &error))?;
    if let Some(left_out) = operations.metrics.outside.admits(OutsideLine::Operator) {
        let (key, left_out) = (shown(&accepted), left_out.told());
        tracing::info!(control.key = key, log.left_out = left_out, "an operator told all instances");
    }
    Ok(HttpResponse::Accepted().json(Accepted { accepted }))
}

fn unavailable(operations: &Operations, error: &crate::ingest::producer::ProduceError) -> Refusal {
    if let Some(left_out) = operations.metrics.outside.admits(OutsideLine::ControlTopic) {
        tracing::warn!(%error, log.left_out = left_out.told(), "the control topic did not take a record");
    }
    Refusal::KafkaUnavailable
}

/// An id as tokens have it: text, or a whole number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Id {
    Number(i64),
    Text(String),
}

impl Id {
    fn into_text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }

    fn into_user(self) -> Result<UserId, Refusal> {
        UserId::parse(&self.into_text()).map_err(|_| Refusal::BadRequest("\"user_id\" is no id"))
    }

    fn into_token_id(self) -> Result<String, Refusal> {
        let text = self.into_text();
        let fits = !text.is_empty() && text.chars().count() <= MAX_TOKEN_ID_CHARS;
        if fits { Ok(text) } else { Err(Refusal::BadRequest("\"jti\" must have 1 to 1,024 characters")) }
    }
}

/// A moment as the wire or as a token has it: RFC 3339, or seconds since 1970.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Moment {
    Seconds(i64),
    Text(String),
}

impl Moment {
    fn timestamp(&self) -> Result<Timestamp, Refusal> {
        let timestamp = match self {
            Self::Seconds(seconds) => seconds.checked_mul(1000).and_then(Timestamp::from_millis),
            Self::Text(text) => Timestamp::parse_rfc3339(text),
        };
        timestamp.ok_or(Refusal::BadRequest("a time must be RFC 3339, or a token's seconds since 1970"))
    }
}
