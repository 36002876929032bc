//! What holds for every request of a listener, whatever answers it: how much of a body is read and for how long, and after
//! which answer the connection ends.
//!
//! A body that nobody asks for is read so far and no farther, and if its end has not come with it, the answer is the
//! connection's last. actix-http would read such a body on for as long as it comes. Likewise an upgrade that is not taken:
//! actix-http then ends the connection after the answer without saying so.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::{ConnectionType, Payload, Request, Response, StatusCode, error::PayloadError};
use actix_service::Service;
use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    http::Method,
    web::Bytes,
};
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::time::{Sleep, timeout};

use super::line::HttpConnection;
use crate::transport::websocket::has_body;

/// Largest body of a request.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Time a client may take to send a request's body, from its head on.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer waits for the rest of a body that nobody reads, because with it the connection can go on.
const UNREAD_BODY_TIMEOUT: Duration = Duration::from_millis(250);

/// Calls `service` with a request, within the bounds.
pub(super) fn conduct<S, B>(
    mut request: Request,
    service: &S,
) -> impl Future<Output = Result<Response<Answer>, S::Error>> + use<S, B>
where
    S: Service<Request>,
    S::Response: Into<Response<B>>,
    S::Error: Into<actix_web::Error>,
    B: MessageBody + 'static,
{
    let connection = request.conn_data::<Rc<HttpConnection>>().cloned();
    let over = connection.as_ref().is_some_and(|connection| connection.is_closing());
    if let Some(connection) = connection.as_ref().filter(|_| !over) {
        connection.begin();
    }
    // Whatever follows a request that asks for a WebSocket, or for a tunnel, has no end of its own.
    let is_stream = !has_body(request.head()) && !matches!(request.payload(), Payload::None);
    let is_last = is_stream || request.head().connection_type() != ConnectionType::KeepAlive;
    // A handshake leaves the bounds of a body behind with its head; it is known by its method here, as no other GET is read.
    let is_bounded = has_body(request.head()) || (is_stream && request.head().method != Method::GET);
    let body = is_bounded.then(|| Unread::taken_from(&mut request));
    let answer = (!over).then(|| service.call(request));
    async move {
        let Some(answer) = answer else { return std::future::pending().await };
        let mut response = match answer.await {
            Ok(response) => response.into().map_into_boxed_body(),
            Err(error) => error.into().error_response().into(),
        };
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let unread = match body {
            Some(body) if !switched && !body.ends().await => Some(body),
            _ => None,
        };
        let is_last = is_last || connection.as_ref().is_some_and(|connection| connection.is_closing());
        if is_last || unread.is_some() {
            if !switched {
                response.head_mut().set_connection_type(ConnectionType::Close);
            }
            if let Some(connection) = &connection {
                connection.close();
            }
        }
        Ok(response.map_body(|_, body| Answer { body, connection, _unread: unread }))
    }
}

/// A request's body: read by whoever answers, and by [`conduct`] behind that.
#[derive(Clone)]
struct Unread(Rc<RefCell<Bounded>>);

impl Unread {
    /// Leaves a request this body, with its bounds.
    fn taken_from(request: &mut Request) -> Self {
        let bounded = Bounded {
            payload: request.take_payload(),
            left: MAX_BODY_BYTES,
            timer: Box::pin(tokio::time::sleep(BODY_TIMEOUT)),
            has_ended: false,
        };
        let body = Self(Rc::new(RefCell::new(bounded)));
        *request.payload() = Payload::Stream { payload: Box::pin(body.clone()) };
        body
    }

    /// Throws away what is left of it; `false`: that is more, or takes longer, than anybody waits for.
    async fn ends(&self) -> bool {
        let mut rest = self.clone();
        let ends = async {
            loop {
                match rest.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(_)) => return false,
                    None => return true,
                }
            }
        };
        timeout(UNREAD_BODY_TIMEOUT, ends).await.unwrap_or(false)
    }
}

impl Stream for Unread {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.borrow_mut().poll_next(cx)
    }
}

struct Bounded {
    payload: Payload,
    left: usize,
    timer: Pin<Box<Sleep>>,
    has_ended: bool,
}

impl Bounded {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        if self.timer.poll_unpin(cx).is_ready() {
            return Poll::Ready(Some(Err(PayloadError::Io(io::ErrorKind::TimedOut.into()))));
        }
        let next = ready!(self.payload.poll_next_unpin(cx));
        Poll::Ready(match next {
            Some(Ok(bytes)) => match self.left.checked_sub(bytes.len()) {
                Some(left) => {
                    self.left = left;
                    Some(Ok(bytes))
                }
                None => Some(Err(PayloadError::Overflow)),
            },
            Some(Err(error)) => Some(Err(error)),
            None => {
                self.has_ended = true;
                None
            }
        })
    }
}

/// The body of an answer.
pub(super) struct Answer {
    body: BoxBody,
    connection: Option<Rc<HttpConnection>>,
    /// While a request's body is held and has not ended, actix-http reads no farther than its buffers, and takes the answer for
    /// the last.
    _unread: Option<Unread>,
}

impl MessageBody for Answer {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let next = ready!(Pin::new(&mut self.body).poll_next(cx));
        // What comes in chunks has one more to write, which says that it has ended.
        let has_ended = next.is_none() && self.body.size() != BodySize::Stream;
        if let Some(connection) = self.connection.as_ref().filter(|_| has_ended) {
            ready!(connection.poll_written(cx));
        }
        Poll::Ready(next)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.end();
        }
    }
}
