//! One WebSocket connection: a response body that is the whole conversation.
//!
//! The HTTP dispatcher polls it whenever the socket has taken all that was written, so a speaker is asked for output only
//! when that can be sent, and a burst leaves in one write. Per poll, in this order: what the client sent, what the speaker
//! has besides, output; then the timer.

use std::{
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
use futures_util::FutureExt;
use tokio::time::Sleep;

use super::{
    farewell::Farewell,
    incoming::Incoming,
    reader::{FrameRules, Received},
    speaker::Speaker,
};
use crate::{
    protocol::CloseCause,
    session::{Inbound, Now},
};

/// Bytes handed to the socket at once, unless a single frame is longer.
const WRITE_BYTES: usize = 16 * 1024;
/// Messages taken from the client before anything else is looked at again.
const INBOUND_AT_ONCE: usize = 32;
/// How long a client that broke a rule has to be silent before the connection is ended: longer than most round trips.
const LINGER_SILENCE: Duration = Duration::from_millis(250);
/// How long it is read on at most.
const LINGER_LIMIT: Duration = Duration::from_secs(2);

/// The conversation over one socket. Dropping it is its end, whatever ended it.
pub(super) struct Connection<S: Speaker> {
    speaker: S,
    incoming: Incoming,
    timer: Pin<Box<Sleep>>,
    pace: Pace,
    /// The client broke a rule.
    linger: Option<Linger>,
    /// The speaker panicked: it is told no more, and the client only this.
    farewell: Option<Farewell>,
}

/// The rest of a connection whose client broke a rule (RFC 6455, 7.1.7). Nothing is made of what it sends now, its Close
/// included, so nobody waits for that. But it is read on for a moment: a connection ended with bytes unread is reset, and
/// a reset may keep the client from reading our Close.
#[derive(Debug, Clone, Copy)]
struct Linger {
    broken_at: Instant,
}

impl Linger {
    fn ends(self, heard: Instant) -> Instant {
        (heard + LINGER_SILENCE).min(self.broken_at + LINGER_LIMIT)
    }
}

/// When the client last took and gave something: what tells a stalled reader from a lost connection.
#[derive(Debug)]
struct Pace {
    send_timeout: Duration,
    /// Bytes were handed over, and nothing has come from the client since.
    unanswered_since: Option<Instant>,
}

impl Pace {
    /// The connection broke off. Was it because the client took nothing? The kernel ends a connection without progress
    /// after `send_timeout`, measured on its own coarser clock.
    fn cause_of_loss(&self, now: Instant) -> CloseCause {
        let stalled =
            self.unanswered_since.is_some_and(|since| now.duration_since(since) >= self.send_timeout.mul_f32(0.75));
        if stalled { CloseCause::SlowConsumer } else { CloseCause::ConnectionLost }
    }
}

impl<S: Speaker> Connection<S> {
    /// Takes over a socket whose handshake is done. `send_timeout` is the one that ends a reader without progress.
    pub(super) fn new(speaker: S, payload: Payload, rules: FrameRules, send_timeout: Duration) -> Self {
        Self {
            speaker,
            incoming: Incoming::new(payload, rules),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            pace: Pace { send_timeout, unanswered_since: None },
            linger: None,
            farewell: None,
        }
    }

    fn poll_speaker(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let now = Now::read();
            self.take_inbound(now, cx);
            self.speaker.poll(now, cx);
            if let Some(bytes) = self.speaker.take_output(WRITE_BYTES) {
                self.pace.unanswered_since.get_or_insert(now.instant);
                return Poll::Ready(Some(bytes));
            }
            let lingers_until = self.linger.map(|linger| linger.ends(self.incoming.heard()));
            if self.speaker.has_ended() || lingers_until.is_some_and(|until| now.instant >= until) {
                return Poll::Ready(None);
            }
            let deadline = self.speaker.deadline(now);
            self.timer.as_mut().reset(lingers_until.map_or(deadline, |until| until.min(deadline)).into());
            ready!(self.timer.poll_unpin(cx));
        }
    }

    fn take_inbound(&mut self, now: Now, cx: &mut Context<'_>) {
        for _ in 0..INBOUND_AT_ONCE {
            if self.speaker.has_ended() || !self.speaker.wants_inbound() {
                return;
            }
            let Poll::Ready(received) = self.incoming.poll_read(now.instant, cx) else { return };
            if received.is_ok() {
                self.pace.unanswered_since = None;
            }
            if matches!(received, Err(cause) if cause != CloseCause::ConnectionLost) {
                self.linger.get_or_insert(Linger { broken_at: now.instant });
            }
            let inbound = match &received {
                Ok(Received::Text(text)) => Inbound::Text(text),
                Ok(Received::Binary(bytes)) => Inbound::Binary(bytes),
                Ok(Received::Ping(payload)) => Inbound::Ping(payload),
                Ok(Received::Pong) => Inbound::Pong,
                Ok(Received::Close(code)) => Inbound::Close(*code),
                Err(cause) => Inbound::Broken(*cause),
            };
            self.speaker.on_inbound(inbound, now);
        }
        cx.waker().wake_by_ref();
    }

    /// Whatever the speaker was about to do is lost with it; frames leave whole, so the stream is still in order.
    fn on_panic(&mut self) {
        let cause = CloseCause::InternalError;
        self.farewell = Some(Farewell::new(cause, None));
        // What panicked once may do so again; the farewell is due in any case.
        let _ = catch_unwind(AssertUnwindSafe(|| self.speaker.on_end(cause)));
    }
}

impl<S: Speaker> MessageBody for Connection<S> {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        if this.farewell.is_none() {
            match catch_unwind(AssertUnwindSafe(|| this.poll_speaker(cx))) {
                Ok(polled) => return polled.map(|bytes| bytes.map(Ok)),
                // The panic hook has logged and counted it.
                Err(_) => this.on_panic(),
            }
        }
        match &mut this.farewell {
            Some(farewell) => farewell.poll(&mut this.incoming, cx).map(|bytes| bytes.map(Ok)),
            None => Poll::Ready(None),
        }
    }
}

impl<S: Speaker> Drop for Connection<S> {
    fn drop(&mut self) {
        if self.farewell.is_some() {
            return;
        }
        // A client that hung up was heard to. Where the connection broke without a word, nobody told the speaker.
        let cause = self.speaker.cause().unwrap_or_else(|| self.pace.cause_of_loss(Instant::now()));
        self.speaker.on_end(cause);
    }
}
