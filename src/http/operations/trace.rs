//! `GET /orders/{order_id}/trace`: what became of an order's records, from the log over SQL to this instance's screens.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::{Operations, guard::Operator};
use crate::{
    domain::{Known, OrderId, Rev, Timestamp, UserId},
    http::refusal::Refusal,
    hub::Shows,
    store::gateway::KeptDeadLetter,
};

/// Sessions in one answer at most.
const MAX_SESSIONS: usize = 1_000;

#[derive(Serialize)]
struct TraceAnswer<'a> {
    order_id: &'a OrderId,
    /// What SQL holds: `order`, `erased` (with the version at or below which nothing brings it back) or `unknown`.
    stored: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rev: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    steps: Vec<TracedStep<'a>>,
    dead_letters: Vec<TracedDeadLetter>,
    instance: &'a str,
    sessions: Vec<TracedSession>,
}

#[derive(Serialize)]
struct TracedStep<'a> {
    status: &'a str,
    version: u64,
    occurred_at: Timestamp,
    partition: i32,
    offset: i64,
    rev: String,
}

#[derive(Serialize)]
struct TracedDeadLetter {
    partition: i32,
    offset: i64,
    code: String,
    message: String,
    recorded_at: Option<Timestamp>,
    /// Whether SQL alone holds the record, because the dead-letter topic did not take it.
    held: bool,
}

#[derive(Serialize)]
struct TracedSession {
    session_id: Box<str>,
    user_id: Option<UserId>,
    version: Option<u64>,
    rev: Option<String>,
}

/// Answers for any order, known or not: that nothing is known is an answer, too.
pub(super) async fn trace(
    _: Operator,
    order_id: web::Path<String>,
    operations: web::Data<Operations>,
) -> Result<HttpResponse, Refusal> {
    let order_id = OrderId::parse(&order_id).map_err(|_| Refusal::BadRequest("the order's id is no id"))?;
    let trace = operations.store.trace(order_id.clone()).await?;
    let sessions = operations.hub.step(|hub| hub.shows(&order_id, MAX_SESSIONS));
    let known = trace.history.as_ref().map(|history| &history.known);
    let (stored, status, version, rev) = match known {
        Some(Known::Order(state)) => ("order", Some(&*state.status), Some(state.version), Some(state.rev())),
        Some(Known::Erased(marker)) => {
            ("erased", None, Some(marker.version), Some(Rev { stamp: marker.stamp, terminal: false }))
        }
        None => ("unknown", None, None, None),
    };
    let steps = trace.history.iter().flat_map(|history| history.timeline.steps()).map(|step| TracedStep {
        status: &step.status,
        version: step.version,
        occurred_at: step.occurred_at,
        partition: step.stamp.partition,
        offset: step.stamp.offset,
        rev: step.stamp.to_string(),
    });
    Ok(HttpResponse::Ok().json(TraceAnswer {
        order_id: &order_id,
        stored,
        status,
        version: version.map(|version| version.number),
        rev: rev.as_ref().map(Rev::to_string),
        partition: rev.map(|rev| rev.stamp.partition),
        offset: rev.map(|rev| rev.stamp.offset),
        steps: steps.collect(),
        dead_letters: trace.dead_letters.into_iter().map(TracedDeadLetter::from).collect(),
        instance: &operations.name,
        sessions: sessions.into_iter().map(TracedSession::from).collect(),
    }))
}

impl From<KeptDeadLetter> for TracedDeadLetter {
    fn from(dead_letter: KeptDeadLetter) -> Self {
        let KeptDeadLetter { partition, offset, code, message, recorded_at, held } = dead_letter;
        let recorded_at = recorded_at.and_then(Timestamp::from_millis);
        Self { partition, offset, code, message, recorded_at, held }
    }
}

impl From<Shows> for TracedSession {
    fn from(shows: Shows) -> Self {
        let Shows { session_id, user, version, rev } = shows;
        Self { session_id, user_id: user, version, rev: rev.map(|rev| rev.to_string()) }
    }
}
