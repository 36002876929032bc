//! What the client of one connection sends, as it comes.

use std::{
    task::{Context, Poll, ready},
    time::Instant,
};

use actix_web::{dev::Payload, web::Bytes};
use futures_util::StreamExt;

use super::reader::{FrameReader, FrameRules, Received};
use crate::protocol::CloseCause;

/// How a connection ended that nobody closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// The client ended its side.
    HungUp,
    /// It broke, and nobody knows why.
    Broken,
}

/// Where a connection's bytes come from.
pub(super) trait Source: Unpin {
    /// The next bytes.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Lost>>;
}

impl Source for Payload {
    /// Where the connection broke, the payload is not asked any more, but dropped.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Lost>> {
        self.poll_next_unpin(cx).map(|chunk| chunk.and_then(Result::ok).ok_or(Lost::HungUp))
    }
}

/// The client's side of a connection.
pub(super) struct Inbound<S> {
    pub(super) source: S,
    reader: FrameReader,
    /// When the last bytes came.
    heard: Instant,
}

impl<S: Source> Inbound<S> {
    /// All that follows a handshake.
    pub(super) fn new(source: S, rules: FrameRules) -> Self {
        Self { source, reader: FrameReader::new(rules), heard: Instant::now() }
    }

    /// When the last bytes came; first, when the handshake was done.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// The next message, or what is wrong with it.
    pub(super) fn poll_read(
        &mut self,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Result<Received, CloseCause>, Lost>> {
        loop {
            if let Some(read) = self.reader.read() {
                return Poll::Ready(Ok(read));
            }
            let chunk = ready!(self.source.poll_bytes(cx))?;
            self.heard = now;
            self.reader.push(chunk);
        }
    }
}
