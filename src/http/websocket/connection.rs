//! One WebSocket connection: a response body that is the whole session.
//!
//! The HTTP dispatcher polls it whenever the socket has taken all that was written, so deliveries leave the mailbox only
//! when they can be sent, and a burst leaves in one write. Per poll, in this order: what the client sent, what the
//! instance says, deadlines, deliveries; then output, if there is any.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    error::PayloadError,
    web::Bytes,
};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, ProtocolError};
use futures_util::{FutureExt, StreamExt};
use tokio::time::Sleep;

use super::{frame_guard::Verdict, membership::Membership};
use crate::{
    http::instance::Instance,
    hub::Delivery,
    protocol::CloseCause,
    session::{HubRequest, Inbound, Now, Session},
};

/// Bytes handed to the socket at once, unless a single frame is longer.
const WRITE_BYTES: usize = 16 * 1024;
/// Messages taken from the client before anything else is looked at again.
const INBOUND_AT_ONCE: usize = 32;

/// The session of one socket. Dropping it is the end of the session, whatever ended it.
pub(super) struct Connection {
    session: Session,
    membership: Membership,
    instance: Arc<Instance>,
    messages: AggregatedMessageStream,
    verdict: Verdict,
    timer: Pin<Box<Sleep>>,
    pace: Pace,
    /// The body that came with the handshake: it ends `messages` when it is dropped.
    _handshake: BoxBody,
}

/// When the client last took and gave something: what tells a stalled reader from a lost connection.
#[derive(Debug, Default)]
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

/// What a connection is made of.
pub(super) struct Parts {
    /// The session's decisions.
    pub session: Session,
    /// Its place in the hub.
    pub membership: Membership,
    /// What it shares with all others.
    pub instance: Arc<Instance>,
    /// What the client sends.
    pub messages: AggregatedMessageStream,
    /// What the frame guard found.
    pub verdict: Verdict,
    /// See the `session.send_timeout` setting.
    pub send_timeout: Duration,
    /// The body that came with the handshake.
    pub handshake: BoxBody,
}

impl Connection {
    /// Takes over a socket whose handshake is done.
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            session: parts.session,
            membership: parts.membership,
            instance: parts.instance,
            messages: parts.messages,
            verdict: parts.verdict,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            pace: Pace { send_timeout: parts.send_timeout, unanswered_since: None },
            _handshake: parts.handshake,
        }
    }

    fn poll_session(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let now = Now::read();
            self.take_inbound(now, cx);
            self.hear_instance(now);
            let request = self.session.on_time(now);
            self.ask(request);
            self.take_deliveries(cx);
            self.hear_hub(now);
            if let Some(bytes) = self.session.take_output(WRITE_BYTES) {
                self.pace.unanswered_since.get_or_insert(now.instant);
                return Poll::Ready(Some(bytes));
            }
            if self.session.has_ended() {
                return Poll::Ready(None);
            }
            self.timer.as_mut().reset(self.session.deadline(now).into());
            ready!(self.timer.poll_unpin(cx));
        }
    }

    fn take_inbound(&mut self, now: Now, cx: &mut Context<'_>) {
        for _ in 0..INBOUND_AT_ONCE {
            if self.session.has_ended() {
                return;
            }
            let Poll::Ready(message) = self.messages.poll_next_unpin(cx) else {
                if let Some(cause) = self.verdict.get() {
                    self.session.on_inbound(Inbound::Broken(cause), now);
                }
                return;
            };
            self.pace.unanswered_since = None;
            let inbound = match &message {
                Some(Ok(AggregatedMessage::Text(text))) => Inbound::Text(text),
                Some(Ok(AggregatedMessage::Ping(payload))) => Inbound::Ping(payload),
                Some(Ok(AggregatedMessage::Pong(_))) => Inbound::Pong,
                Some(Ok(AggregatedMessage::Close(reason))) => {
                    Inbound::Close(reason.as_ref().map(|reason| reason.code.into()))
                }
                Some(Ok(AggregatedMessage::Binary(_))) => Inbound::Broken(CloseCause::BinaryNotSupported),
                Some(Err(error)) => Inbound::Broken(cause_of(error)),
                None => Inbound::Broken(CloseCause::ConnectionLost),
            };
            let request = self.session.on_inbound(inbound, now);
            self.ask(request);
            if message.is_none() {
                return;
            }
        }
        cx.waker().wake_by_ref();
    }

    fn hear_instance(&mut self, now: Now) {
        if !self.session.is_departing()
            && let Some(departure) = self.instance.departure()
        {
            self.session.on_departure(departure);
        }
        let staleness = self.instance.staleness();
        let proven = self.membership.mailbox().is_proven();
        let since = if staleness.reasons.is_fresh() { now.wall } else { staleness.since };
        self.session.on_stale(staleness.reasons, since, proven);
    }

    /// The hub ends sessions, whatever else waits for them. Looked at after the mailbox has kept the waker, so that an
    /// end which comes in between is not slept through.
    fn hear_hub(&mut self, now: Now) {
        if let Some(cause) = self.membership.mailbox().closed() {
            self.session.close(cause, None, now);
        }
    }

    fn take_deliveries(&mut self, cx: &Context<'_>) {
        while self.session.wants_delivery() {
            let delivery = self.membership.mailbox().poll_take(cx);
            let waits = matches!(delivery, Delivery::Nothing);
            let request = self.session.on_delivery(delivery);
            self.ask(request);
            if waits {
                return;
            }
        }
    }

    fn ask(&self, request: Option<HubRequest>) {
        if let Some(request) = request {
            self.membership.ask(request);
        }
    }
}

fn cause_of(error: &ProtocolError) -> CloseCause {
    match error {
        ProtocolError::Overflow => CloseCause::MessageTooBig,
        // The guard has judged the headers, so what is left of bad data is text that is not UTF-8.
        ProtocolError::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => CloseCause::InvalidUtf8,
        ProtocolError::Io(_) => CloseCause::ConnectionLost,
        _ => CloseCause::ProtocolError,
    }
}

impl MessageBody for Connection {
    type Error = PayloadError;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        self.get_mut().poll_session(cx).map(|bytes| bytes.map(Ok))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let lost = || self.pace.cause_of_loss(Instant::now());
        let cause = match self.session.cause() {
            _ if std::thread::panicking() => CloseCause::InternalError,
            None | Some(CloseCause::ConnectionLost) => lost(),
            Some(cause) => cause,
        };
        self.membership.end(cause);
    }
}
