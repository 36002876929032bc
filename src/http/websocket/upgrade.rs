//! The handshake: who may connect, and how the one who may not is told.

use std::{sync::Arc, time::Duration};

use actix_http::ws::{HandshakeError, verify_handshake};
use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev, web,
};
use futures_util::FutureExt;
use ulid::Ulid;

use super::{
    connection::Connection, farewell::Farewell, membership::Membership, reader::FrameRules, speaker::Speaker,
    viewing::Viewing,
};
use crate::{
    auth::{Principal, SUBPROTOCOL},
    http::{access, lobby::Guest, public::Public, refusal::Refusal},
    hub::{Joining, Mailbox},
    protocol::CloseCause,
    session::{Now, Opening, Session},
};

/// Longest message of a client, its fragments together.
const MAX_MESSAGE_BYTES: u64 = 64 * 1024;
/// Most fragments of one; browsers and client libraries send one.
const MAX_FRAGMENTS: u32 = 1024;
/// When a client that was one too many should try again.
const TOO_MANY_RETRY: Duration = Duration::from_secs(30);

/// Answers `GET /order-status`.
pub async fn order_status(
    request: HttpRequest,
    payload: web::Payload,
    public: web::Data<Public>,
) -> Result<HttpResponse, Refusal> {
    let answer = connect(&request, payload, &public);
    if let Err(refusal) = &answer {
        public.metrics.refused(refusal.code());
    }
    answer
}

fn connect(request: &HttpRequest, payload: web::Payload, public: &web::Data<Public>) -> Result<HttpResponse, Refusal> {
    public.check_serving()?;
    let from_page = access::check_origin(request, public)?;
    let handshake = verify_handshake(request.head());
    // A browser's script can be told after an upgrade only; everybody else reads the HTTP answer.
    let told_after_upgrade = from_page && handshake.is_ok();
    let principal = match access::principal(request, public) {
        Ok(principal) => principal,
        Err(refusal) => match farewell_of(refusal) {
            Some((cause, retry)) if told_after_upgrade => {
                public.metrics.refused(refusal.code());
                return farewell(request, cause, retry);
            }
            _ => return Err(refusal),
        },
    };
    handshake.map_err(|error| match error {
        HandshakeError::BadWebsocketKey => Refusal::BadRequest("the Sec-WebSocket-Key is missing or malformed"),
        _ => Refusal::UpgradeRequired,
    })?;
    if public.at_capacity() {
        return Err(Refusal::AtCapacity);
    }
    match join(public, &principal, waits_for_sync(request)) {
        Ok((session, membership)) => open(request, payload, public, session, membership),
        Err(refusal) if from_page => {
            public.metrics.refused(refusal.code());
            farewell(request, CloseCause::TooManySessions, Some(TOO_MANY_RETRY))
        }
        Err(refusal) => Err(refusal),
    }
}

/// The refusals that the same token cannot cure.
fn farewell_of(refusal: Refusal) -> Option<(CloseCause, Option<Duration>)> {
    match refusal {
        Refusal::ExpiredToken => Some((CloseCause::TokenExpired, None)),
        Refusal::MissingToken | Refusal::InvalidToken => Some((CloseCause::InvalidToken, None)),
        _ => None,
    }
}

fn waits_for_sync(request: &HttpRequest) -> bool {
    access::query(request, "sync").is_some_and(|sync| sync == "wait")
}

fn join(public: &Public, principal: &Principal, waits_for_sync: bool) -> Result<(Session, Membership), Refusal> {
    let opening = Opening {
        session_id: Ulid::generate().to_string(),
        user: principal.viewer.user().cloned(),
        expires_at: principal.expires_at,
        waits_for_sync,
    };
    let joining = Joining {
        viewer: principal.viewer.clone(),
        mailbox: Arc::new(Mailbox::new(public.limits.mailbox_bytes)),
        start: !waits_for_sync,
        max_per_user: Some(public.limits.max_per_user),
        closes_oldest: public.limits.closes_oldest,
    };
    let membership = Membership::join(public.hub.clone(), joining, opening.session_id.clone(), public.metrics.clone())
        .map_err(|_| Refusal::TooManySessions)?;
    Ok((Session::open(public.rules.clone(), opening, Now::read()), membership))
}

fn open(
    request: &HttpRequest,
    payload: web::Payload,
    public: &web::Data<Public>,
    session: Session,
    membership: Membership,
) -> Result<HttpResponse, Refusal> {
    let rules = FrameRules { max_message_bytes: MAX_MESSAGE_BYTES, max_fragments: MAX_FRAGMENTS, binary: false };
    let send_timeout = public.limits.send_timeout;
    speak(request, payload, rules, send_timeout, Viewing::new(session, membership, public.clone()))
}

/// Upgrades the connection and lets `speaker` speak on it. `send_timeout` is the one its socket was prepared with.
pub fn speak(
    request: &HttpRequest,
    payload: web::Payload,
    rules: FrameRules,
    send_timeout: Duration,
    speaker: impl Speaker,
) -> Result<HttpResponse, Refusal> {
    if let Some(guest) = request.conn_data::<Guest>() {
        guest.leave();
    }
    handshake(request, Connection::new(speaker, payload.into_inner(), rules, send_timeout))
}

fn farewell(
    request: &HttpRequest,
    cause: CloseCause,
    reconnect_after: Option<Duration>,
) -> Result<HttpResponse, Refusal> {
    handshake(request, Farewell::new(cause, reconnect_after))
}

/// Answers the handshake; after it the body writes finished frames. `actix_ws` is given a payload of its own, which is
/// empty: its session and its stream go unused, because the connection reads and writes frames itself.
fn handshake(request: &HttpRequest, body: impl MessageBody + 'static) -> Result<HttpResponse, Refusal> {
    let empty = web::Payload::from_request(request, &mut dev::Payload::None).now_or_never().and_then(Result::ok);
    let empty = empty.expect("a payload is taken as it is, at once");
    let (response, _session, _messages) = actix_ws::handle_with_protocols(request, empty, &[SUBPROTOCOL])
        .map_err(|_| Refusal::BadRequest("the WebSocket handshake is malformed"))?;
    Ok(response.map_body(|_, _| BoxBody::new(body)))
}
