//! One WebSocket conversation, whatever carries its bytes: what the client sends goes to the handler, and what the handler
//! has to say is put together as frames, so much at once that a burst leaves in one write. Per turn, in this order: what the
//! client sent, what the handler has besides, output; then the deadline.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::BytesMut;

use super::{
    closing::{Closing, LastWords},
    frame::{self, Opcode},
    handler::{ConnectionHandler, Incoming, Outgoing},
    inbound::{Inbound, Lost, Source},
    reader::{FrameRules, Received},
};
use crate::{
    protocol::CloseCause,
    session::Now,
    transport::{Worker, progress::SendProgress, worker::Alarm},
};

/// Bytes put together at once, unless a single frame is longer.
const WRITE_BYTES: usize = 16 * 1024;
/// Messages taken from the client before anything else is looked at again.
const INBOUND_AT_ONCE: usize = 32;

/// The conversation over one socket. Dropping it is its end, whatever ended it.
pub(super) struct Conversation<H: ConnectionHandler, S: Source> {
    handler: H,
    pub(super) inbound: Inbound<S>,
    alarm: Alarm,
    progress: SendProgress,
    /// RFC 6455, section 5.5.3: of several Pings, it is enough to answer the last.
    pong: Option<Vec<u8>>,
    closing: Closing,
    /// The handler panicked: it is told no more, and the client only this.
    last_words: Option<Box<LastWords>>,
}

/// What is to follow the output of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The next turn, once it is written.
    Next,
    /// Nothing before the task is woken.
    Wait,
    /// The end of the connection.
    Over,
}

/// When a client is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// It has taken all that was handed over, as far as its kernel goes.
    InTurn,
    /// It has not: what it says does not mean that it reads.
    WhileStuck,
}

impl<H: ConnectionHandler, S: Source> Conversation<H, S> {
    /// Follows a handshake. `send_timeout` is the one that ends a reader without progress.
    pub(super) fn new(handler: H, source: S, rules: FrameRules, send_timeout: Duration, worker: Rc<Worker>) -> Self {
        Self {
            handler,
            inbound: Inbound::new(source, rules),
            alarm: Alarm::new(worker),
            progress: SendProgress::new(send_timeout),
            pong: None,
            closing: Closing::default(),
            last_words: None,
        }
    }

    /// Takes a turn: `out`, which is empty, gets what is to be written. To be called only when that can be, so that a handler
    /// is asked for output no earlier.
    pub(super) fn turn(&mut self, out: &mut BytesMut, cx: &mut Context<'_>) -> Turn {
        if self.last_words.is_none() {
            match catch_unwind(AssertUnwindSafe(|| self.turn_of_handler(out, cx))) {
                Ok(turn) => return turn,
                // The panic hook has logged and counted it.
                Err(_) => self.on_panic(out),
            }
        }
        let Some(last_words) = &mut self.last_words else { return Turn::Over };
        match last_words.poll(&mut self.inbound, cx) {
            Poll::Ready(Some(bytes)) => {
                out.extend_from_slice(&bytes);
                Turn::Next
            }
            Poll::Ready(None) => Turn::Over,
            Poll::Pending => Turn::Wait,
        }
    }

    /// The client has taken some of what was handed over, and not all.
    pub(super) fn on_part_taken(&mut self) {
        self.progress.on_part_taken(Instant::now());
    }

    /// Hears the client, whose connection takes nothing for now. `false`: it is broken.
    pub(super) fn hear(&mut self, cx: &mut Context<'_>) -> bool {
        let heard = catch_unwind(AssertUnwindSafe(|| self.take_inbound(Now::read(), cx, Heard::WhileStuck)));
        heard
            .unwrap_or_else(|_| {
                self.on_panic(&mut BytesMut::new());
                Ok(Poll::Pending)
            })
            .is_ok()
    }

    fn turn_of_handler(&mut self, out: &mut BytesMut, cx: &mut Context<'_>) -> Turn {
        loop {
            let now = Now::read();
            let Ok(heard) = self.take_inbound(now, cx, Heard::InTurn) else { return Turn::Over };
            let rests = self.handler.poll(now, cx).is_pending() && heard.is_pending();
            self.take_output(out, now.instant);
            if !out.is_empty() {
                self.progress.on_handed_over(now.instant);
                if !rests || out.len() >= WRITE_BYTES || self.closing.has_sent() {
                    return Turn::Next;
                }
            }
            let ends = self.closing.ends(self.inbound.heard());
            if ends.is_some_and(|at| now.instant >= at) {
                return Turn::Over;
            }
            let deadline = if self.closing.has_sent() { None } else { Some(self.handler.deadline(now)) };
            let next = [ends, deadline].into_iter().flatten().min().unwrap_or(now.instant);
            match self.alarm.poll(next, now.instant, cx) {
                Poll::Pending => return Turn::Wait,
                Poll::Ready(()) if !out.is_empty() => return Turn::Next,
                Poll::Ready(()) => {}
            }
        }
    }

    /// Pending: the task is woken when more comes. An error: the connection broke without a word.
    fn take_inbound(&mut self, now: Now, cx: &mut Context<'_>, heard: Heard) -> Result<Poll<()>, Lost> {
        for _ in 0..INBOUND_AT_ONCE {
            if self.closing.is_over() {
                return Ok(Poll::Pending);
            }
            if !self.handler.wants_inbound() {
                return Ok(Poll::Ready(()));
            }
            let received = match self.inbound.poll_read(now.instant, cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Err(Lost::Broken)) => return Err(Lost::Broken),
                Poll::Ready(Err(Lost::HungUp)) => Err(CloseCause::ConnectionLost),
                Poll::Ready(Ok(received)) => received,
            };
            if received.is_ok() && heard == Heard::InTurn {
                self.progress.on_taken();
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
        Ok(Poll::Ready(()))
    }

    fn take_output(&mut self, out: &mut BytesMut, now: Instant) {
        if let Some(pong) = self.pong.take()
            && self.handler.cause().is_none()
        {
            frame::put(out, Opcode::Pong, &pong);
        }
        while out.len() < WRITE_BYTES
            && !self.closing.has_sent()
            && let Some(output) = self.handler.next_outgoing()
        {
            match output {
                Outgoing::Text(text) => frame::put(out, Opcode::Text, &text),
                Outgoing::Binary(bytes) => frame::put(out, Opcode::Binary, &bytes),
                Outgoing::Ping => frame::put(out, Opcode::Ping, &[]),
                Outgoing::End(cause) => self.closing.send(cause, out, now),
            }
        }
    }

    /// Whatever the handler was about to do is lost with it; frames leave whole, so the stream is still in order.
    fn on_panic(&mut self, out: &mut BytesMut) {
        out.clear();
        let cause = CloseCause::InternalError;
        self.last_words = Some(Box::new(LastWords::new(cause, None)));
        // What panicked once may do so again; the last words are due in any case.
        let _ = catch_unwind(AssertUnwindSafe(|| self.handler.on_end(cause)));
    }
}

impl<H: ConnectionHandler, S: Source> Drop for Conversation<H, S> {
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
