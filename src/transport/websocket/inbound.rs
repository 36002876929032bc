//! What the client of one connection sends, as it comes.

use std::{
    task::{Context, Poll, ready},
    time::Instant,
};

use actix_web::dev::Payload;
use futures_util::StreamExt;

use super::reader::{FrameReader, FrameRules, Received};
use crate::protocol::CloseCause;

/// The client's side of a connection.
pub(super) struct Inbound {
    payload: Payload,
    reader: FrameReader,
    /// When the last bytes came.
    heard: Instant,
}

impl Inbound {
    /// All that follows a handshake.
    pub(super) fn new(payload: Payload, rules: FrameRules) -> Self {
        Self { payload, reader: FrameReader::new(rules), heard: Instant::now() }
    }

    /// When the last bytes came; first, when the handshake was done.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// The next message, or what is wrong with it; a connection that ended is lost.
    pub(super) fn poll_read(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<Result<Received, CloseCause>> {
        loop {
            if let Some(read) = self.reader.read() {
                return Poll::Ready(read);
            }
            match ready!(self.payload.poll_next_unpin(cx)) {
                Some(Ok(chunk)) => {
                    self.heard = now;
                    self.reader.push(chunk);
                }
                Some(Err(_)) | None => return Poll::Ready(Err(CloseCause::ConnectionLost)),
            }
        }
    }
}
