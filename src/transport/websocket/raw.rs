//! A conversation on the bare socket. Nothing of HTTP is left of the connection: no buffer, no timer and no task but its own.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::web::Bytes;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    conversation::{Conversation, Turn},
    handler::ConnectionHandler,
    inbound::{Lost, Source},
    reader::FrameRules,
};
use crate::transport::Worker;

/// The socket, as what the client sends comes out of it.
pub(super) struct Socket<IO> {
    io: IO,
    /// What had been read together with the handshake.
    early: VecDeque<Bytes>,
    worker: Rc<Worker>,
}

impl<IO: AsyncRead + Unpin> Source for Socket<IO> {
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Lost>> {
        if let Some(bytes) = self.early.pop_front() {
            return Poll::Ready(Ok(bytes));
        }
        let mut buffer = self.worker.read_buffer();
        let mut bytes = ReadBuf::new(&mut buffer);
        Poll::Ready(match ready!(Pin::new(&mut self.io).poll_read(cx, &mut bytes)) {
            Ok(()) if bytes.filled().is_empty() => Err(Lost::HungUp),
            Ok(()) => Ok(Bytes::copy_from_slice(bytes.filled())),
            Err(_) => Err(Lost::Broken),
        })
    }
}

/// The connection's task from the handshake on.
pub(super) struct Raw<H: ConnectionHandler, IO: AsyncRead + Unpin> {
    conversation: Conversation<H, Socket<IO>>,
    worker: Rc<Worker>,
    /// Frames that the socket has not taken yet. Until it has, the handler is asked for nothing, so that what it has can still
    /// be replaced by something newer.
    unsent: BytesMut,
    is_over: bool,
}

impl<H: ConnectionHandler, IO: AsyncRead + AsyncWrite + Unpin> Raw<H, IO> {
    /// Goes on with a socket whose handshake is answered.
    pub(super) fn new(
        handler: H,
        io: IO,
        early: VecDeque<Bytes>,
        rules: FrameRules,
        send_timeout: Duration,
        worker: Rc<Worker>,
    ) -> Self {
        let socket = Socket { io, early, worker: worker.clone() };
        let conversation = Conversation::new(handler, socket, rules, send_timeout, worker.clone());
        Self { conversation, worker, unsent: BytesMut::new(), is_over: false }
    }

    fn io(&mut self) -> Pin<&mut IO> {
        Pin::new(&mut self.conversation.inbound.source.io)
    }

    fn poll_talk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.poll_flush(cx) {
                Poll::Ready(flushed) => flushed?,
                // The kernel ends a connection that takes nothing for too long, which is heard here.
                Poll::Pending if self.conversation.hear(cx) => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(())),
            }
            if self.is_over {
                return self.io().poll_shutdown(cx);
            }
            match self.turn(cx)? {
                Turn::Over => self.is_over = true,
                Turn::Wait if self.unsent.is_empty() => return Poll::Pending,
                Turn::Wait | Turn::Next => {}
            }
        }
    }

    /// Writes what is left of the last turn.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.unsent.is_empty() {
            let io = Pin::new(&mut self.conversation.inbound.source.io);
            let written = ready!(io.poll_write(cx, &self.unsent))?;
            self.unsent.advance(written);
            self.conversation.on_part_taken();
        }
        self.unsent = BytesMut::new();
        self.io().poll_flush(cx)
    }

    /// Lets the handler speak, and writes it. What the socket does not take at once is kept.
    fn turn(&mut self, cx: &mut Context<'_>) -> io::Result<Turn> {
        let worker = self.worker.clone();
        let mut out = worker.write_buffer();
        let turn = self.conversation.turn(&mut out, cx);
        if out.is_empty() {
            return Ok(turn);
        }
        let mut left = &out[..];
        while !left.is_empty() {
            match self.io().poll_write(cx, left) {
                Poll::Ready(written) => left = &left[written?..],
                Poll::Pending => break,
            }
        }
        if left.is_empty() {
            // A stream that buffers goes on by itself; the next turn comes after it.
            let _ = self.io().poll_flush(cx)?;
        }
        self.unsent = BytesMut::from(left);
        out.clear();
        Ok(turn)
    }
}

impl<H: ConnectionHandler, IO: AsyncRead + AsyncWrite + Unpin> Future for Raw<H, IO> {
    type Output = ();

    /// An error of the socket says nothing more: the connection is dropped, and the handler told what that means.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().poll_talk(cx).map(|_| ())
    }
}
