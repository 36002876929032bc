//! One WebSocket connection: a response body that is the whole conversation.
//!
//! The HTTP dispatcher polls it whenever the socket has taken all that was written, so a handler is asked for output only
//! when that can be sent, and a burst leaves in one write. Per poll, in this order: what the client sent, what the handler
//! has besides, output; then the timer.

use std::{
    cell::RefCell,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use actix_web::{
    body::{BodySize, MessageBody},
    dev::Payload,
    web::Bytes,
};
use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::time::Sleep;

use super::{
    closing::{Closing, LastWords},
    frame::{self, Opcode},
    handler::{ConnectionHandler, Incoming, Outgoing},
    inbound::Inbound,
    reader::{FrameRules, Received},
};
use crate::{protocol::CloseCause, session::Now};

/// Bytes handed to the socket at once, unless a single frame is longer.
const WRITE_BYTES: usize = 16 * 1024;
/// Messages taken from the client before anything else is looked at again.
const INBOUND_AT_ONCE: usize = 32;

thread_local! {
    /// Where frames are put together: every worker has one for all its connections.
    static SCRATCH: RefCell<BytesMut> = RefCell::default();
}

/// The conversation over one socket. Dropping it is its end, whatever ended it.
pub(super) struct Connection<H: ConnectionHandler> {
    handler: H,
    inbound: Inbound,
    timer: Pin<Box<Sleep>>,
    progress: SendProgress,
    /// RFC 6455, section 5.5.3: of several Pings, it is enough to answer the last.
    pong: Option<Vec<u8>>,
    closing: Closing,
    /// The handler panicked: it is told no more, and the client only this.
    last_words: Option<LastWords>,
}

/// When the client last took and gave something: what tells a stalled reader from a lost connection.
#[derive(Debug)]
struct SendProgress {
    send_timeout: Duration,
    /// Bytes were handed over, and nothing has come from the client since.
    unanswered_since: Option<Instant>,
}

impl SendProgress {
    /// The connection broke off. Was it because the client took nothing? The kernel ends a connection without progress
    /// after `send_timeout`, measured on its own coarser clock.
    fn cause_of_loss(&self, now: Instant) -> CloseCause {
        let stalled =
            self.unanswered_since.is_some_and(|since| now.duration_since(since) >= self.send_timeout.mul_f32(0.75));
        if stalled { CloseCause::SlowConsumer } else { CloseCause::ConnectionLost }
    }
}

impl<H: ConnectionHandler> Connection<H> {
    /// Takes over a socket whose handshake is done. `send_timeout` is the one that ends a reader without progress.
    pub(super) fn new(handler: H, payload: Payload, rules: FrameRules, send_timeout: Duration) -> Self {
        Self {
            handler,
            inbound: Inbound::new(payload, rules),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            progress: SendProgress { send_timeout, unanswered_since: None },
            pong: None,
            closing: Closing::default(),
            last_words: None,
        }
    }

    fn poll_handler(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let now = Now::read();
            self.take_inbound(now, cx);
            self.handler.poll(now, cx);
            if let Some(bytes) = self.take_output(now.instant) {
                self.progress.unanswered_since.get_or_insert(now.instant);
                return Poll::Ready(Some(bytes));
            }
            let ends = self.closing.ends(self.inbound.heard());
            if ends.is_some_and(|at| now.instant >= at) {
                return Poll::Ready(None);
            }
            let deadline = if self.closing.has_sent() { None } else { Some(self.handler.deadline(now)) };
            let next = [ends, deadline].into_iter().flatten().min().unwrap_or(now.instant);
            self.timer.as_mut().reset(next.into());
            ready!(self.timer.poll_unpin(cx));
        }
    }

    fn take_inbound(&mut self, now: Now, cx: &mut Context<'_>) {
        for _ in 0..INBOUND_AT_ONCE {
            if self.closing.is_over() || !self.handler.wants_inbound() {
                return;
            }
            let Poll::Ready(received) = self.inbound.poll_read(now.instant, cx) else { return };
            if received.is_ok() {
                self.progress.unanswered_since = None;
            }
            match received {
                Ok(Received::Text(text)) => self.handler.on_message(Incoming::Text(&text), now),
                Ok(Received::Binary(bytes)) => self.handler.on_message(Incoming::Binary(&bytes), now),
                Ok(Received::Ping(payload)) => {
                    self.handler.on_noise(payload.len(), now);
                    self.pong = Some(payload);
                }
                // Nobody asked for more than one a heartbeat.
                Ok(Received::Pong) => self.handler.on_noise(0, now),
                Ok(Received::Close(code)) => {
                    self.closing.on_close(code);
                    self.handler.on_closed(code);
                }
                Err(cause) => {
                    self.closing.on_broken(cause, now.instant);
                    self.handler.on_broken(cause);
                }
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Joins frames up to about [`WRITE_BYTES`], so that a burst is one write.
    fn take_output(&mut self, now: Instant) -> Option<Bytes> {
        SCRATCH.with_borrow_mut(|scratch| {
            // A handler that panicked may have left some of its own.
            scratch.clear();
            if let Some(pong) = self.pong.take()
                && self.handler.cause().is_none()
            {
                frame::put(scratch, Opcode::Pong, &pong);
            }
            while scratch.len() < WRITE_BYTES
                && !self.closing.has_sent()
                && let Some(output) = self.handler.next_outgoing()
            {
                match output {
                    Outgoing::Text(text) => frame::put(scratch, Opcode::Text, &text),
                    Outgoing::Binary(bytes) => frame::put(scratch, Opcode::Binary, &bytes),
                    Outgoing::Ping => frame::put(scratch, Opcode::Ping, &[]),
                    Outgoing::End(cause) => self.closing.send(cause, scratch, now),
                }
            }
            (!scratch.is_empty()).then(|| scratch.split().freeze())
        })
    }

    /// Whatever the handler was about to do is lost with it; frames leave whole, so the stream is still in order.
    fn on_panic(&mut self) {
        let cause = CloseCause::InternalError;
        self.last_words = Some(LastWords::new(cause, None));
        // What panicked once may do so again; the last words are due in any case.
        let _ = catch_unwind(AssertUnwindSafe(|| self.handler.on_end(cause)));
    }
}

impl<H: ConnectionHandler> MessageBody for Connection<H> {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        if this.last_words.is_none() {
            match catch_unwind(AssertUnwindSafe(|| this.poll_handler(cx))) {
                Ok(polled) => return polled.map(|bytes| bytes.map(Ok)),
                // The panic hook has logged and counted it.
                Err(_) => this.on_panic(),
            }
        }
        match &mut this.last_words {
            Some(last_words) => last_words.poll(&mut this.inbound, cx).map(|bytes| bytes.map(Ok)),
            None => Poll::Ready(None),
        }
    }
}

impl<H: ConnectionHandler> Drop for Connection<H> {
    fn drop(&mut self) {
        if self.last_words.is_some() {
            return;
        }
        // A client that hung up was heard to. Where the connection broke without a word, nobody told the handler.
        let cause = self.handler.cause().unwrap_or_else(|| self.progress.cause_of_loss(Instant::now()));
        self.handler.on_end(cause);
    }
}

#[cfg(test)]
mod tests;
