//! From an HTTP request to a WebSocket connection.

use std::{rc::Rc, time::Duration};

use actix_http::ws::{HandshakeError, verify_handshake};
use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{self, RequestHead},
    http::{
        Version,
        header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING, UPGRADE},
    },
    web,
};
use futures_util::{FutureExt, future::LocalBoxFuture};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    body::Body,
    closing::{LastWords, Rejected},
    conversation::Conversation,
    handler::ConnectionHandler,
    handover::{Handover, Opened},
    inbound::Inbound,
    raw::Raw,
    reader::FrameRules,
};
use crate::{auth::SUBPROTOCOL, protocol::CloseCause, transport::Worker};

/// Why a request cannot become a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAHandshake {
    /// It asks for something else.
    #[error("it does not ask for a WebSocket")]
    OtherRequest,
    /// `Sec-WebSocket-Key`.
    #[error("the Sec-WebSocket-Key is missing or malformed")]
    Key,
    /// A body comes with it.
    #[error("a WebSocket handshake has no body")]
    Body,
    /// Something else of it.
    #[error("the WebSocket handshake is malformed")]
    Malformed,
}

/// Whether a body comes with a request. One without bytes is none.
pub fn has_body(head: &RequestHead) -> bool {
    let headers = head.headers();
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

/// Whether bare frames follow the request's head: what is read behind it otherwise is a body, or another request.
pub fn check(head: &RequestHead) -> Result<(), NotAHandshake> {
    verify_handshake(head).map_err(|error| match error {
        HandshakeError::BadWebsocketKey => NotAHandshake::Key,
        _ => NotAHandshake::OtherRequest,
    })?;
    if has_body(head) {
        return Err(NotAHandshake::Body);
    }
    // The server takes nothing else for one; a list of protocols, WebSocket among them, leaves the choice to it.
    let is_websocket = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket");
    let is_bare = head.version >= Version::HTTP_11 && head.headers().get_all(UPGRADE).any(is_websocket);
    if is_bare { Ok(()) } else { Err(NotAHandshake::OtherRequest) }
}

/// What a connection is about that becomes a WebSocket.
#[derive(Debug, Clone)]
pub struct Terms {
    /// What its client may send.
    pub rules: FrameRules,
    /// The one that its socket was prepared with.
    pub send_timeout: Duration,
    /// The worker that carries it.
    pub worker: Rc<Worker>,
}

/// What follows a handshake on the bare socket, until the end of the connection.
pub type Afterwards<IO> = Box<dyn FnOnce(IO) -> LocalBoxFuture<'static, ()>>;

/// Upgrades the connection and lets `handler` speak on it, as the body of the answer.
pub fn accept_as_body(
    request: &HttpRequest,
    payload: web::Payload,
    terms: Terms,
    handler: impl ConnectionHandler,
) -> Result<HttpResponse, NotAHandshake> {
    let Terms { rules, send_timeout, worker } = terms;
    let conversation = Conversation::new(handler, payload.into_inner(), rules, send_timeout, worker.clone());
    handshake(request, Body { conversation, worker })
}

/// Upgrades the connection and lets `handler` speak on its bare socket. Once the answer is over, `hand_over` is called with what
/// is to follow, and the server ends its part with the socket still open; until then the server reads no more of it.
pub fn accept_on_socket<IO: AsyncRead + AsyncWrite + Unpin + 'static>(
    request: &HttpRequest,
    payload: web::Payload,
    terms: Terms,
    handler: impl ConnectionHandler,
    hand_over: impl FnOnce(Afterwards<IO>) + 'static,
) -> Result<HttpResponse, NotAHandshake> {
    let Terms { rules, send_timeout, worker } = terms;
    let opened = Opened::new(handler);
    let end = move |early| {
        let afterwards = move |io| Raw::new(opened.take(), io, early, rules, send_timeout, worker).boxed_local();
        hand_over(Box::new(afterwards));
    };
    handshake(request, Handover::new(payload.into_inner(), end))
}

/// Upgrades the connection only to tell why it ends: a browser's script sees nothing of an HTTP answer.
pub fn close_after_upgrade(
    request: &HttpRequest,
    payload: web::Payload,
    rules: FrameRules,
    cause: CloseCause,
    reconnect_after: Option<Duration>,
) -> Result<HttpResponse, NotAHandshake> {
    let inbound = Inbound::new(payload.into_inner(), rules);
    handshake(request, Rejected { last_words: LastWords::new(cause, reconnect_after), inbound })
}

/// Answers the handshake; after it the body writes finished frames. `actix_ws` is given a payload of its own, which is
/// empty: its session and its stream go unused, because the connection reads and writes frames itself.
fn handshake(request: &HttpRequest, body: impl MessageBody + 'static) -> Result<HttpResponse, NotAHandshake> {
    check(request.head())?;
    let empty = web::Payload::from_request(request, &mut dev::Payload::None).now_or_never().and_then(Result::ok);
    let empty = empty.expect("a payload is taken as it is, at once");
    let (response, _session, _messages) =
        actix_ws::handle_with_protocols(request, empty, &[SUBPROTOCOL]).map_err(|_| NotAHandshake::Malformed)?;
    Ok(response.map_body(|_, _| BoxBody::new(body)))
}
