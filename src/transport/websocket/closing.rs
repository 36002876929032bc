//! How a connection ends: the closing handshake (RFC 6455, section 7.1), and the last words to who may not stay.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
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
    frame::{self, Opcode},
    inbound::{Inbound, Source},
    reader::Received,
};
use crate::protocol::{CloseCause, Closing as Farewell};

/// How long a client may take to answer our Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a client that broke a rule has to be silent before the connection is ended: longer than most round trips.
const LINGER_SILENCE: Duration = Duration::from_millis(250);
/// How long it is read on at most.
const LINGER_LIMIT: Duration = Duration::from_secs(2);

/// The closing handshake of one connection: who has sent a Close, and how long is waited for the other side.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// The client has sent its Close, with its code if that had one.
    heard: Option<Option<u16>>,
    /// Ours is out, or none is to be sent.
    sent: Option<Instant>,
    /// The client broke a rule (7.1.7). Nothing is made of what it sends now, its Close included, so nobody waits for that. But
    /// it is read on for a moment: a connection ended with bytes unread is reset, and a reset may keep the client from reading
    /// our Close.
    broken_at: Option<Instant>,
    /// The client is gone.
    lost: bool,
}

impl Closing {
    /// The client has sent its Close.
    pub(super) fn on_close(&mut self, code: Option<u16>) {
        self.heard = Some(code);
    }

    /// The client broke a rule, or is gone.
    pub(super) fn on_broken(&mut self, cause: CloseCause, now: Instant) {
        match cause {
            CloseCause::ConnectionLost => self.lost = true,
            _ => _ = self.broken_at.get_or_insert(now),
        }
    }

    /// Appends our Close for this cause: an answer to the client's has its own code.
    pub(super) fn send(&mut self, cause: CloseCause, buffer: &mut BytesMut, now: Instant) {
        self.sent = Some(now);
        match (cause, self.heard) {
            (CloseCause::ClientClosed, Some(code)) => {
                frame::put_close(buffer, code.map(|code| (code, cause.reason())));
            }
            _ if cause.is_announced() => frame::put_close(buffer, Some((cause.code(), cause.reason()))),
            _ => {}
        }
    }

    /// Whether nothing is written any more.
    pub(super) fn has_sent(&self) -> bool {
        self.sent.is_some()
    }

    /// Whether nothing of what the client may still send matters.
    pub(super) fn is_over(&self) -> bool {
        self.lost || self.heard.is_some()
    }

    /// When the connection is to be ended, whose last bytes came at `heard_at`; `None`: not yet known.
    pub(super) fn ends(&self, heard_at: Instant) -> Option<Instant> {
        if self.lost {
            return Some(heard_at);
        }
        let lingers = self.broken_at.map(|broken_at| (heard_at + LINGER_SILENCE).min(broken_at + LINGER_LIMIT));
        let answered = match (self.sent, self.heard) {
            (Some(sent), Some(_)) => Some(sent),
            (Some(sent), None) => Some(sent + CLOSE_TIMEOUT),
            (None, _) => None,
        };
        [lingers, answered].into_iter().flatten().min()
    }
}

/// The last words on a connection whose handler is not there: one `closing` message and a Close. Of what the client sends, only
/// its Close is looked at: with it, the connection ends.
pub(super) struct LastWords {
    bytes: Option<Bytes>,
    dropped: Pin<Box<Sleep>>,
}

impl LastWords {
    pub(super) fn new(cause: CloseCause, reconnect_after: Option<Duration>) -> Self {
        let mut buffer = BytesMut::new();
        frame::put(&mut buffer, Opcode::Text, Farewell { cause, reconnect_after }.message().bytes());
        frame::put_close(&mut buffer, Some((cause.code(), cause.reason())));
        Self { bytes: Some(buffer.freeze()), dropped: Box::pin(tokio::time::sleep(CLOSE_TIMEOUT)) }
    }

    /// What is to be written; `None` once the client has answered or is gone, and soon in any case.
    pub(super) fn poll(&mut self, inbound: &mut Inbound<impl Source>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(bytes));
        }
        while let Poll::Ready(received) = inbound.poll_read(Instant::now(), cx) {
            if matches!(received, Ok(Ok(Received::Close(_))) | Err(_)) {
                return Poll::Ready(None);
            }
        }
        self.dropped.poll_unpin(cx).map(|()| None)
    }
}

/// The body of a refusal: the connection of a client that never enters the registry.
pub(super) struct Rejected {
    pub(super) last_words: LastWords,
    pub(super) inbound: Inbound<Payload>,
}

impl MessageBody for Rejected {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let Self { last_words, inbound } = self.get_mut();
        last_words.poll(inbound, cx).map(|bytes| bytes.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(closing: &mut Closing, cause: CloseCause, now: Instant) -> Vec<u8> {
        let mut buffer = BytesMut::new();
        closing.send(cause, &mut buffer, now);
        buffer.to_vec()
    }

    #[test]
    fn a_client_s_own_code_is_returned_and_nobody_is_waited_for() {
        let now = Instant::now();
        for (code, frame) in [(Some(1009), &b"\x88\x0f\x03\xf1client_closed"[..]), (None, &b"\x88\0"[..])] {
            let mut closing = Closing::default();
            closing.on_close(code);
            assert_eq!(sent(&mut closing, CloseCause::ClientClosed, now), frame);
            assert_eq!(closing.ends(now), Some(now));
        }
    }

    #[test]
    fn a_client_that_does_not_answer_our_close_is_not_waited_for_long() {
        let now = Instant::now();
        let mut closing = Closing::default();
        assert_eq!(closing.ends(now), None, "it is open");
        assert_eq!(sent(&mut closing, CloseCause::ServerRestart, now)[2..4], 1012_u16.to_be_bytes());
        assert_eq!(closing.ends(now), Some(now + CLOSE_TIMEOUT));
        closing.on_close(Some(1012));
        assert_eq!(closing.ends(now), Some(now), "it has answered");
    }

    #[test]
    fn who_broke_a_rule_is_read_until_it_is_silent_and_not_for_ever() {
        let now = Instant::now();
        let mut closing = Closing::default();
        closing.on_broken(CloseCause::ProtocolError, now);
        assert!(!sent(&mut closing, CloseCause::ProtocolError, now).is_empty());
        assert_eq!(closing.ends(now), Some(now + LINGER_SILENCE));
        let heard_at = now + Duration::from_secs(9);
        assert_eq!(closing.ends(heard_at), Some(now + LINGER_LIMIT));
        closing.on_broken(CloseCause::ConnectionLost, now);
        assert_eq!(closing.ends(now), Some(now), "it is gone");
    }
}
