//! `GET /order-status`: who may connect, and how the one who may not is told.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};

use super::{
    access,
    entry::{connection, enter},
    public::Public,
    refusal::Refusal,
};
use crate::{
    protocol::CloseCause,
    transport::{
        Beginning,
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
    let beginning = match access::query(request, "sync").as_deref() {
        Some("wait") => Beginning::Claims,
        _ => Beginning::Snapshot,
    };
    match enter(request, public, &admission, websocket::NAME, beginning).await {
        Ok(viewer) => accept(request, payload, FRAMES, public.viewers.limits.send_timeout, viewer),
        Err(refusal) => reject(request, payload, public, refusal, told_after_upgrade),
    }
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
