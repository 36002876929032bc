//! A refusal that is told after the upgrade, because a browser's script sees nothing of an HTTP answer.
//!
//! One `closing` frame and a Close; the socket is not read from, never enters the registry, and is dropped soon.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    body::{BodySize, MessageBody},
    web::Bytes,
};
use futures_util::FutureExt;
use tokio::time::Sleep;

use crate::protocol::{CloseCause, Frame, outbound};

/// How long the client may take to read it.
const LINGER: Duration = Duration::from_secs(2);

/// The body of such a refusal.
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
}

impl MessageBody for Farewell {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        match self.frames.next() {
            Some(frame) => Poll::Ready(Some(Ok(frame.bytes().clone()))),
            None => self.dropped.poll_unpin(cx).map(|()| None),
        }
    }
}
