//! `/order-status/events`: a session as server-sent events. `GET` for a browser's EventSource, `POST` for clients that say first
//! what they show.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    dev::RequestHead,
    http::{
        StatusCode,
        header::{ACCEPT, HeaderName},
    },
    web,
};

use super::{
    access,
    claims::{self, Body},
    entry::{connection, enter},
    headers::Said,
    public::Public,
    refusal::Refusal,
};
use crate::{
    domain::OrderId,
    protocol::{ClientMessage, inbound::MAX_SUBSCRIBED},
    transport::{Beginning, sse},
};

/// Where it is.
pub(super) const PATH: &str = "/order-status/events";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Polyfills that cannot send the header put it into the query, under one of these names.
const LAST_EVENT_ID_QUERY: [&str; 2] = ["lastEventId", "Last-Event-ID"];

/// Answers `GET`.
pub(super) async fn get(request: HttpRequest, public: web::Data<Public>) -> HttpResponse {
    if last_event_id(&request).is_some_and(|id| sse::is_stop(&id)) {
        return HttpResponse::NoContent().finish();
    }
    let first = listed(&request)
        .map(|orders| orders.map(|ids| ClientMessage::Subscribe { order_ids: Some(ids), user_id: None, id: None }));
    answer(&request, &public, first).await
}

/// Answers `POST`.
pub(super) async fn post(request: HttpRequest, body: Body, public: web::Data<Public>) -> HttpResponse {
    let first = claims::read(&request, body)
        .map(|claims| claims.orders.map(|orders| ClientMessage::Sync { orders: Some(orders), id: None }));
    answer(&request, &public, first).await
}

async fn answer(request: &HttpRequest, public: &Public, first: Result<Option<ClientMessage>, Refusal>) -> HttpResponse {
    connect(request, public, first).await.unwrap_or_else(|refusal| {
        public.viewers.metrics.refused(refusal.code());
        refuse(request.head(), refusal)
    })
}

async fn connect(
    request: &HttpRequest,
    public: &Public,
    first: Result<Option<ClientMessage>, Refusal>,
) -> Result<HttpResponse, Refusal> {
    public.check_serving()?;
    access::check_origin(request, public)?;
    let admission = access::admit(request, public).await?;
    let first = first?;
    let beginning = if first.is_some() { Beginning::Claims } else { Beginning::Snapshot };
    let mut viewer = enter(request, public, &admission, sse::NAME, beginning).await?;
    if let Some(message) = first {
        viewer.begin_with(message);
    }
    let connection = connection(request);
    connection.stream();
    Ok(sse::answer(viewer, connection.worker().clone(), public.viewers.limits.send_timeout))
}

/// Says no. EventSource takes every status but 200 for the end of all, and shows it to no script: what may pass is told as an
/// event, to whoever asks for events.
pub(super) fn refuse(head: &RequestHead, refusal: Refusal) -> HttpResponse {
    let accept = Said::first(head.headers(), ACCEPT).or_empty().unwrap_or_default();
    let in_events = head.uri.path() == PATH && accept.contains(sse::CONTENT_TYPE) && passes(refusal);
    if in_events { sse::refusal(refusal.code(), come_back(refusal)) } else { refusal.response() }
}

/// Whether the same request may be taken later.
fn passes(refusal: Refusal) -> bool {
    matches!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
}

fn come_back(refusal: Refusal) -> Duration {
    Duration::from_secs(refusal.retry_after().unwrap_or(1))
}

fn last_event_id(request: &HttpRequest) -> Option<String> {
    let header = Said::first(request.headers(), LAST_EVENT_ID).or_empty().map(str::to_owned);
    header.or_else(|| LAST_EVENT_ID_QUERY.iter().find_map(|name| Some(access::query(request, name)?.into_owned())))
}

/// The orders of `?orders=A-1,A-2`.
fn listed(request: &HttpRequest) -> Result<Option<Vec<OrderId>>, Refusal> {
    let Some(orders) = access::query(request, "orders") else { return Ok(None) };
    let ids: Result<Vec<_>, _> = orders.split(',').take(MAX_SUBSCRIBED + 1).map(OrderId::parse).collect();
    match ids {
        Ok(ids) if ids.len() <= MAX_SUBSCRIBED => Ok(Some(ids)),
        _ => Err(Refusal::BadRequest("\"orders\" must be at most 500 order ids with commas between them")),
    }
}
