//! The handshake: who may connect, and how the one who may not is told.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix_http::ws::{HandshakeError, verify_handshake};
use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{self, RequestHead},
    http::{
        Version,
        header::{HeaderValue, UPGRADE},
    },
    web,
};
use futures_util::FutureExt;
use ulid::Ulid;

use super::{
    connection::Connection,
    farewell::{Farewell, TurnedAway},
    incoming::Incoming,
    membership::Membership,
    reader::FrameRules,
    speaker::Speaker,
    viewing::Viewing,
};
use crate::{
    auth::{Principal, SUBPROTOCOL},
    event::Timestamp,
    http::{
        access::{self, Admission},
        conduct::has_body,
        line::Guest,
        public::Public,
        refusal::Refusal,
    },
    hub::{Badge, Joining, Mailbox},
    protocol::CloseCause,
    session::{Now, Opening, Session},
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
        public.metrics.refused(refusal.code());
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
    let handshake = check_handshake(request.head());
    // A browser's script can be told after an upgrade only; everybody else reads the HTTP answer.
    let told_after_upgrade = from_page && handshake.is_ok();
    let admission = match access::admit(request, public).await {
        Ok(admission) => admission,
        Err(refusal) => return turn_away(request, payload, public, refusal, told_after_upgrade),
    };
    handshake?;
    if public.at_capacity() {
        return Err(Refusal::AtCapacity);
    }
    match enter(request, public, &admission).await {
        Ok((session, membership)) => open(request, payload, public, session, membership),
        Err(refusal) => turn_away(request, payload, public, refusal, told_after_upgrade),
    }
}

/// Whether bare frames follow the request's head: what is read behind it otherwise is a body, or another request.
fn check_handshake(head: &RequestHead) -> Result<(), Refusal> {
    verify_handshake(head).map_err(|error| match error {
        HandshakeError::BadWebsocketKey => Refusal::BadRequest("the Sec-WebSocket-Key is missing or malformed"),
        _ => Refusal::UpgradeRequired,
    })?;
    if has_body(head) {
        return Err(Refusal::BadRequest("a WebSocket handshake has no body"));
    }
    // The server takes nothing else for one; a list of protocols, WebSocket among them, leaves the choice to it.
    let is_websocket = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket");
    let is_bare = head.version >= Version::HTTP_11 && head.headers().get_all(UPGRADE).any(is_websocket);
    if is_bare { Ok(()) } else { Err(Refusal::UpgradeRequired) }
}

/// Joins the hub, and only then uses the ticket up, if it is one: whoever is one too many may show it again.
async fn enter(
    request: &HttpRequest,
    public: &Public,
    admission: &Admission,
) -> Result<(Session, Membership), Refusal> {
    let joined = join(request, public, &admission.principal)?;
    admission.redeem(public).await?;
    Ok(joined)
}

/// Tells why not: a browser's script after the upgrade, where the same token cannot cure it, and everybody else by HTTP.
fn turn_away(
    request: &HttpRequest,
    payload: web::Payload,
    public: &Public,
    refusal: Refusal,
    told_after_upgrade: bool,
) -> Result<HttpResponse, Refusal> {
    match farewell_of(refusal) {
        Some((cause, retry)) if told_after_upgrade => {
            public.metrics.refused(refusal.code());
            farewell(request, payload, cause, retry)
        }
        _ => Err(refusal),
    }
}

/// The refusals that the same token cannot cure.
fn farewell_of(refusal: Refusal) -> Option<(CloseCause, Option<Duration>)> {
    match refusal {
        Refusal::ExpiredToken => Some((CloseCause::TokenExpired, None)),
        Refusal::MissingToken | Refusal::InvalidToken => Some((CloseCause::InvalidToken, None)),
        Refusal::Revoked => Some((CloseCause::Revoked, None)),
        Refusal::TooManySessions => Some((CloseCause::TooManySessions, Some(TOO_MANY_RETRY))),
        _ => None,
    }
}

fn waits_for_sync(request: &HttpRequest) -> bool {
    access::query(request, "sync").is_some_and(|sync| sync == "wait")
}

fn join(request: &HttpRequest, public: &Public, principal: &Principal) -> Result<(Session, Membership), Refusal> {
    let waits_for_sync = waits_for_sync(request);
    let opening = Opening {
        session_id: Ulid::generate().to_string(),
        user: principal.viewer.user().cloned(),
        expires_at: principal.expires_at,
        waits_for_sync,
    };
    let badge = Badge {
        session_id: opening.session_id.as_str().into(),
        token_id: principal.token_id.as_deref().map(Into::into),
        issued_at: principal.issued_at,
        transport: "websocket",
        address: Some(public.client_address(request.head())),
        connected_at: Timestamp::now(),
        expires_at: principal.expires_at,
    };
    let joining = Joining {
        viewer: principal.viewer.clone(),
        mailbox: Arc::new(Mailbox::new(public.limits.mailbox_bytes)),
        start: !waits_for_sync,
        place: Some(public.limits.place(principal)),
        badge: Some(badge),
    };
    let (metrics, outside) = (public.metrics.clone(), public.outside.clone());
    let membership = Membership::join(public.hub.clone(), joining, opening.session_id.clone(), metrics, outside)
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
    membership.open();
    let send_timeout = public.limits.send_timeout;
    speak(request, payload, FRAMES, send_timeout, Viewing::new(session, membership, public.clone()))
}

/// Upgrades the connection and lets `speaker` speak on it. `send_timeout` is the one its socket was prepared with.
pub fn speak(
    request: &HttpRequest,
    payload: web::Payload,
    rules: FrameRules,
    send_timeout: Duration,
    speaker: impl Speaker,
) -> Result<HttpResponse, Refusal> {
    let response = handshake(request, Connection::new(speaker, payload.into_inner(), rules, send_timeout))?;
    if let Some(guest) = request.conn_data::<Rc<Guest>>() {
        guest.leave();
    }
    Ok(response)
}

fn farewell(
    request: &HttpRequest,
    payload: web::Payload,
    cause: CloseCause,
    reconnect_after: Option<Duration>,
) -> Result<HttpResponse, Refusal> {
    let incoming = Incoming::new(payload.into_inner(), FRAMES);
    handshake(request, TurnedAway { farewell: Farewell::new(cause, reconnect_after), incoming })
}

/// Answers the handshake; after it the body writes finished frames. `actix_ws` is given a payload of its own, which is
/// empty: its session and its stream go unused, because the connection reads and writes frames itself.
fn handshake(request: &HttpRequest, body: impl MessageBody + 'static) -> Result<HttpResponse, Refusal> {
    check_handshake(request.head())?;
    let empty = web::Payload::from_request(request, &mut dev::Payload::None).now_or_never().and_then(Result::ok);
    let empty = empty.expect("a payload is taken as it is, at once");
    let (response, _session, _messages) = actix_ws::handle_with_protocols(request, empty, &[SUBPROTOCOL])
        .map_err(|_| Refusal::BadRequest("the WebSocket handshake is malformed"))?;
    Ok(response.map_body(|_, _| BoxBody::new(body)))
}
