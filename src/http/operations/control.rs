//! What operators do to all instances: end sessions, revoke tokens and lift that, announce. Only sends to the control topic;
//! the effect, here too, comes from reading it, within a second.

use actix_web::{HttpRequest, HttpResponse, Result, web};
use serde::Serialize;

use super::{
    Operations,
    form::{Body, Form, Misread},
    guard::Operator,
};
use crate::{
    auth::{Revocation, Subject},
    control::{Announcement, ControlMessage, Kick, MAX_CONTENT_CHARS},
    domain::Timestamp,
    http::refusal::Refusal,
    telemetry::{OutsideLine, shown},
};

const MAX_NAME_CHARS: usize = 1_024;

const ONE_SUBJECT: &str = "name either a \"jti\" or a \"user_id\"";
const ONE_TARGET: &str = "name either a \"user_id\" or a \"session_id\"";
const OF_THE_OTHER: &str = "\"expires_at\" goes with \"jti\", and \"issued_before\" with \"user_id\"";

/// Answers `DELETE /sessions`.
pub(super) async fn disconnect(
    _: Operator,
    request: HttpRequest,
    body: Body,
    operations: web::Data<Operations>,
) -> Result<HttpResponse> {
    let mut target = Form::in_query(&request, body, &["user_id", "session_id"])?;
    let kick = match (target.user("user_id")?, target.name("session_id", MAX_NAME_CHARS)?) {
        (Some(user_id), None) => Kick::User { user_id },
        (None, Some(session_id)) => Kick::Session { session_id },
        _ => return Err(Misread::new(ONE_TARGET).into()),
    };
    send(&operations, ControlMessage::Kick(kick)).await
}

/// Answers `POST /announcements`.
pub(super) async fn announce(
    _: Operator,
    request: HttpRequest,
    body: Body,
    operations: web::Data<Operations>,
) -> Result<HttpResponse> {
    let mut said = Form::in_body(&request, body, &["content", "user_id"])?;
    let user_id = said.user("user_id")?;
    let content = said.text("content", MAX_CONTENT_CHARS)?.ok_or(Misread::new("\"content\" is missing"))?;
    send(&operations, ControlMessage::Announcement(Announcement { content, user_id, timestamp: Timestamp::now() }))
        .await
}

/// Whose tokens a form names.
fn subject(form: &mut Form) -> Result<Subject, Misread> {
    match (form.name("jti", MAX_NAME_CHARS)?, form.user("user_id")?) {
        (Some(jti), None) => Ok(Subject::Token(jti)),
        (None, Some(user_id)) => Ok(Subject::User(user_id)),
        _ => Err(Misread::new(ONE_SUBJECT)),
    }
}

/// Answers `POST /revocations`.
pub(super) async fn revoke(
    _: Operator,
    request: HttpRequest,
    body: Body,
    operations: web::Data<Operations>,
) -> Result<HttpResponse> {
    let mut revoked = Form::in_body(&request, body, &["jti", "expires_at", "user_id", "issued_before"])?;
    let (expires_at, issued_before) = (revoked.moment("expires_at")?, revoked.moment("issued_before")?);
    let revocation = match (subject(&mut revoked)?, expires_at, issued_before) {
        (Subject::Token(jti), expires_at, None) => Revocation::Token { jti, expires_at },
        (Subject::User(user_id), None, issued_before) => {
            Revocation::User { user_id, issued_before: issued_before.unwrap_or_else(Timestamp::now) }
        }
        _ => return Err(Misread::new(OF_THE_OTHER).into()),
    };
    send(&operations, ControlMessage::Revocation(revocation)).await
}

/// Answers `GET /revocations`, as this instance knows them.
pub(super) async fn revoked(
    _: Operator,
    request: HttpRequest,
    body: Body,
    operations: web::Data<Operations>,
) -> Result<HttpResponse> {
    #[derive(Serialize)]
    struct List {
        revocations: Vec<Revocation>,
    }
    Form::in_query(&request, body, &[])?;
    let revocations = operations.revocations.read(|revocations| revocations.list(Timestamp::now()));
    Ok(HttpResponse::Ok().json(List { revocations }))
}

/// Answers `DELETE /revocations`; whose is said in the query, or in a body.
pub(super) async fn lift(
    _: Operator,
    request: HttpRequest,
    body: Body,
    operations: web::Data<Operations>,
) -> Result<HttpResponse> {
    #[derive(Serialize)]
    struct Lifted {
        lifted: usize,
    }
    let known = ["jti", "user_id"];
    let mut named = match body {
        Ok(body) if body.is_empty() => Form::in_query(&request, Ok(body), &known)?,
        body => Form::in_body(&request, body, &known)?,
    };
    let subject = subject(&mut named)?;
    let keys = operations.revocations.read(|revocations| revocations.keys_of(&subject));
    operations.control.erase(&keys).await.map_err(|error| unavailable(&operations, &error))?;
    if let Some(left_out) = operations.metrics.outside.admits(OutsideLine::Operator) {
        let (records, left_out) = (keys.len(), left_out.told());
        tracing::info!(records, log.left_out = left_out, "an operator lifted a revocation");
    }
    Ok(HttpResponse::Accepted().json(Lifted { lifted: keys.len() }))
}

async fn send(operations: &Operations, message: ControlMessage) -> Result<HttpResponse> {
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

fn unavailable(operations: &Operations, error: &crate::log::kafka::producer::ProduceError) -> Refusal {
    if let Some(left_out) = operations.metrics.outside.admits(OutsideLine::ControlTopic) {
        tracing::warn!(%error, log.left_out = left_out.told(), "the control topic did not take a record");
    }
    Refusal::KafkaUnavailable
}
