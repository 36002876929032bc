//! The body of a handshake's answer behind which the socket is taken from the server: empty, and over once it has taken all that
//! the server had read behind the handshake.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    body::{BodySize, MessageBody},
    dev::Payload,
    web::Bytes,
};
use futures_util::StreamExt;

use super::handler::ConnectionHandler;
use crate::protocol::CloseCause;

/// The body.
pub(super) struct Handover {
    payload: Payload,
    early: VecDeque<Bytes>,
    /// Called once, with what was read early.
    end: Option<Box<dyn FnOnce(VecDeque<Bytes>)>>,
}

impl Handover {
    pub(super) fn new(payload: Payload, end: impl FnOnce(VecDeque<Bytes>) + 'static) -> Self {
        Self { payload, early: VecDeque::new(), end: Some(Box::new(end)) }
    }
}

impl MessageBody for Handover {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        let before = this.early.len();
        // An end of the client's side is seen on the socket, too.
        while let Poll::Ready(Some(Ok(chunk))) = this.payload.poll_next_unpin(cx) {
            this.early.push_back(chunk);
        }
        if this.early.len() > before {
            // The server may have more in its buffer, which it looks into before it asks again.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(end) = this.end.take() {
            end(std::mem::take(&mut this.early));
        }
        Poll::Ready(None)
    }
}

/// A handler between the handshake and its conversation. Where that never begins, its end is told here.
pub(super) struct Opened<H: ConnectionHandler>(Option<H>);

impl<H: ConnectionHandler> Opened<H> {
    pub(super) fn new(handler: H) -> Self {
        Self(Some(handler))
    }

    pub(super) fn take(mut self) -> H {
        self.0.take().expect("it is taken once, by value")
    }
}

impl<H: ConnectionHandler> Drop for Opened<H> {
    fn drop(&mut self) {
        if let Some(handler) = &mut self.0 {
            handler.on_end(CloseCause::ConnectionLost);
        }
    }
}
