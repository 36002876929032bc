//! `GET /order-status`: who may connect, and how the one who may not is told.

use std::{rc::Rc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, web};

use super::{
    access::{self, Admission},
    line::HttpConnection,
    public::Public,
    refusal::Refusal,
};
use crate::{
    protocol::CloseCause,
    transport::{
        Arrival, ViewerConnection,
        websocket::{self, Carrier, ConnectionHandler, FrameRules, NotAHandshake, Terms},
    },
};

const FRAMES: FrameRules = FrameRules {
    max_message_bytes: 64 * 1024,
    // Browsers and client libraries send one.
    max_fragments: 1024,
    binary: false,
};
/// When a client that was one too many should try again.
const TOO_MANY_RETRY: Duration = Duration::from_secs(30);

/// Answers `GET /order-status`.
pub async fn order_status(
    request: HttpRequest,
    payload: web::Payload,
    public: web::Data<Public>,
) -> Result<HttpResponse, Refusal> {
    let answer = connect(&request, payload, &public).await;
    if let Err(refusal) = &answer {
        public.viewers.metrics.refused(refusal.code());
    }
    answer
}

async fn connect(
    request: &HttpRequest,
    payload: web::Payload,
    public: &web::Data<Public>,
) -> Result<HttpResponse, Refusal> {
    public.check_serving()?;
    let from_page = access::check_origin(request, public)?;
    let handshake = websocket::check(request.head());
    // A browser's script can be told after an upgrade only; everybody else reads the HTTP answer.
    let told_after_upgrade = from_page && handshake.is_ok();
    let admission = match access::admit(request, public).await {
        Ok(admission) => admission,
        Err(refusal) => return reject(request, payload, public, refusal, told_after_upgrade),
    };
    handshake?;
    if public.at_capacity() {
        return Err(Refusal::AtCapacity);
    }
    match enter(request, public, &admission).await {
        Ok(viewer) => {
            viewer.open();
            accept(request, payload, FRAMES, public.viewers.limits.send_timeout, viewer)
        }
        Err(refusal) => reject(request, payload, public, refusal, told_after_upgrade),
    }
}

/// Joins the hub, and only then uses the ticket up, if it is one: whoever is one too many may show it again.
async fn enter(request: &HttpRequest, public: &Public, admission: &Admission) -> Result<ViewerConnection, Refusal> {
    let arrival = Arrival {
        transport: websocket::NAME,
        wakes: Some(connection(request).worker().wakes().clone()),
        address: Some(public.client_address(request.head())),
        waits_for_sync: access::query(request, "sync").is_some_and(|sync| sync == "wait"),
    };
    let joined =
        ViewerConnection::join(&public.viewers, &admission.principal, arrival).map_err(|_| Refusal::TooManySessions)?;
    admission.redeem(public).await?;
    Ok(joined)
}

/// Tells why not: a browser's script after the upgrade, where the same token cannot cure it, and everybody else by HTTP.
fn reject(
    request: &HttpRequest,
    payload: web::Payload,
    public: &Public,
    refusal: Refusal,
    told_after_upgrade: bool,
) -> Result<HttpResponse, Refusal> {
    match close_of(refusal) {
        Some((cause, retry)) if told_after_upgrade => {
            public.viewers.metrics.refused(refusal.code());
            Ok(websocket::close_after_upgrade(request, payload, FRAMES, cause, retry)?)
        }
        _ => Err(refusal),
    }
}

/// The refusals that the same token cannot cure.
fn close_of(refusal: Refusal) -> Option<(CloseCause, Option<Duration>)> {
    match refusal {
        Refusal::ExpiredToken => Some((CloseCause::TokenExpired, None)),
        Refusal::MissingToken | Refusal::InvalidToken => Some((CloseCause::InvalidToken, None)),
        Refusal::Revoked => Some((CloseCause::Revoked, None)),
        Refusal::TooManySessions => Some((CloseCause::TooManySessions, Some(TOO_MANY_RETRY))),
        _ => None,
    }
}

/// Upgrades the connection and lets `handler` speak on it. `send_timeout` is the one its socket was prepared with.
pub fn accept(
    request: &HttpRequest,
    payload: web::Payload,
    rules: FrameRules,
    send_timeout: Duration,
    handler: impl ConnectionHandler,
) -> Result<HttpResponse, Refusal> {
    let connection = connection(request);
    let terms = Terms { rules, send_timeout, worker: connection.worker().clone() };
    match connection.carrier() {
        Carrier::Socket => {
            let left = connection.clone();
            let hand_over = move |afterwards| left.hand_over(afterwards);
            let response = websocket::accept_on_socket(request, payload, terms, handler, hand_over)?;
            connection.leave();
            Ok(response)
        }
        Carrier::Body => {
            let response = websocket::accept_as_body(request, payload, terms, handler)?;
            connection.hold_session();
            Ok(response)
        }
    }
}

/// The connection that a request came over.
fn connection(request: &HttpRequest) -> &Rc<HttpConnection> {
    request.conn_data::<Rc<HttpConnection>>().expect("the listener gives every connection one")
}

impl From<NotAHandshake> for Refusal {
    fn from(flaw: NotAHandshake) -> Self {
        match flaw {
            NotAHandshake::OtherRequest => Self::UpgradeRequired,
            NotAHandshake::Key => Self::BadRequest("the Sec-WebSocket-Key is missing or malformed"),
            NotAHandshake::Body => Self::BadRequest("a WebSocket handshake has no body"),
            NotAHandshake::Malformed => Self::BadRequest("the WebSocket handshake is malformed"),
        }
    }
}
