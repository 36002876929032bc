//! What is told to who may not stay: a refusal after the upgrade, because a browser's script sees nothing of an HTTP answer,
//! and the end of a session that had a bug.
//!
//! One `closing` frame and a Close. Of what the client sends, only its Close is looked at: with it, the connection ends.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use actix_web::{
    body::{BodySize, MessageBody},
    web::Bytes,
};
use futures_util::FutureExt;
use tokio::time::Sleep;

use super::{incoming::Incoming, reader::Received};
use crate::protocol::{CloseCause, Frame, outbound};

/// How long the client may take to answer it.
const LINGER: Duration = Duration::from_secs(2);

/// The last words on a connection.
pub(super) struct Farewell {
    frames: std::vec::IntoIter<Frame>,
    dropped: Pin<Box<Sleep>>,
}

impl Farewell {
    pub(super) fn new(cause: CloseCause, reconnect_after: Option<Duration>) -> Self {
        let after_ms = reconnect_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        let frames = vec![outbound::closing(cause, after_ms), Frame::close(Some((cause.code(), cause.reason())))];
        Self { frames: frames.into_iter(), dropped: Box::pin(tokio::time::sleep(LINGER)) }
    }

    /// The next frame; `None` once the client has answered or is gone, and soon in any case.
    pub(super) fn poll(&mut self, incoming: &mut Incoming, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(frame) = self.frames.next() {
            return Poll::Ready(Some(frame.bytes().clone()));
        }
        while let Poll::Ready(received) = incoming.poll_read(Instant::now(), cx) {
            if matches!(received, Ok(Received::Close(_)) | Err(CloseCause::ConnectionLost)) {
                return Poll::Ready(None);
            }
        }
        self.dropped.poll_unpin(cx).map(|()| None)
    }
}

/// The body of a refusal: the connection of a client that never enters the registry.
pub(super) struct TurnedAway {
    pub(super) farewell: Farewell,
    pub(super) incoming: Incoming,
}

impl MessageBody for TurnedAway {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let Self { farewell, incoming } = self.get_mut();
        farewell.poll(incoming, cx).map(|bytes| bytes.map(Ok))
    }
}
