//! A conversation as a response's body, which actix's dispatcher polls whenever the socket has taken all that was written.

use std::{
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    body::{BodySize, MessageBody},
    dev::Payload,
    web::Bytes,
};

use super::{
    conversation::{Conversation, Turn},
    handler::ConnectionHandler,
};
use crate::transport::Worker;

/// The body.
pub(super) struct Body<H: ConnectionHandler> {
    pub(super) conversation: Conversation<H, Payload>,
    pub(super) worker: Rc<Worker>,
}

impl<H: ConnectionHandler> MessageBody for Body<H> {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        let mut out = this.worker.write_buffer();
        let turn = this.conversation.turn(&mut out, cx);
        if !out.is_empty() {
            return Poll::Ready(Some(Ok(out.split().freeze())));
        }
        match turn {
            Turn::Over => Poll::Ready(None),
            Turn::Next | Turn::Wait => Poll::Pending,
        }
    }
}
