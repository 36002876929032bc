//! What speaks on a WebSocket: the seam between the connection, which knows frames, and whoever decides.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;

use crate::{
    protocol::{CloseCause, close::NO_CODE},
    session::{Now, Output},
    transport::ViewerConnection,
};

/// A message of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// Text.
    Text(&'a str),
    /// Anything else.
    Binary(&'a [u8]),
}

/// What goes to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// A text message.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A Ping.
    Ping,
    /// The closing handshake, by the code of this cause. It comes last.
    End(CloseCause),
}

/// One end of a conversation over a WebSocket. The connection owns it, polls it, and tells it the end; pongs and the closing
/// handshake are the connection's own matter.
///
/// Everything is called from one task. A panic in any of it ends this connection as `internal_error` and no other.
pub trait ConnectionHandler: Unpin + 'static {
    /// Takes a message of the client.
    fn on_message(&mut self, message: Incoming<'_>, now: Now);

    /// The client sent a Ping or a Pong, with so many bytes.
    fn on_noise(&mut self, bytes: usize, now: Now);

    /// The client sent its Close.
    fn on_closed(&mut self, code: Option<u16>);

    /// The client broke a rule, or is gone.
    fn on_broken(&mut self, cause: CloseCause);

    /// Acts on whatever else has come and on the deadlines that have passed. Pending: there is nothing more, and the waker of `cx`
    /// is kept for what comes; ready: it wants to be polled again once its output is out.
    fn poll(&mut self, now: Now, cx: &mut Context<'_>) -> Poll<()>;

    /// The next thing to write; `None`: nothing, for now.
    fn next_outgoing(&mut self) -> Option<Outgoing>;

    /// Whether the client is to be read on: not while answers to what it sent would pile up.
    fn wants_inbound(&self) -> bool {
        true
    }

    /// When [`poll`](Self::poll) wants to be called at the latest.
    fn deadline(&self, now: Now) -> Instant;

    /// Why it ends, once that is known.
    fn cause(&self) -> Option<CloseCause>;

    /// The connection is over, for this reason. Called once, last.
    fn on_end(&mut self, cause: CloseCause);
}

/// The product's: messages are text.
impl ConnectionHandler for ViewerConnection {
    fn on_message(&mut self, message: Incoming<'_>, now: Now) {
        match message {
            Incoming::Text(text) => self.on_text(text, now),
            Incoming::Binary(_) => self.on_broken(CloseCause::BinaryNotSupported),
        }
    }

    fn on_noise(&mut self, bytes: usize, now: Now) {
        self.on_noise(bytes, now);
    }

    fn on_closed(&mut self, code: Option<u16>) {
        self.on_closed(code.unwrap_or(NO_CODE));
    }

    fn on_broken(&mut self, cause: CloseCause) {
        self.on_broken(cause);
    }

    fn poll(&mut self, now: Now, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(now, cx)
    }

    fn next_outgoing(&mut self) -> Option<Outgoing> {
        self.next_output().map(|output| match output {
            Output::Message(message) => Outgoing::Text(message.bytes().clone()),
            Output::Closing(closing) => Outgoing::Text(closing.message().bytes().clone()),
            Output::Probe => Outgoing::Ping,
            Output::End(cause) => Outgoing::End(cause),
        })
    }

    fn deadline(&self, now: Now) -> Instant {
        self.deadline(now)
    }

    fn cause(&self) -> Option<CloseCause> {
        self.cause()
    }

    fn on_end(&mut self, cause: CloseCause) {
        self.on_end(cause);
    }
}
