//! The WebSocket: the handshake, and the connection that follows it.
//!
//! ```text
//! socket ── bytes ──► inbound, reader ── messages ──► handler (a viewer's connection) ── messages ──► frame ──► socket
//!           `upgrade` begins it, `conversation` leads it, `closing` ends it
//! ```
//!
//! Two things can carry the bytes of a conversation: `raw`, the bare socket, which `handover` takes from the HTTP server, and
//! `body`, the body of the handshake's answer.

/// How operators see it, in the list of sessions and in metrics.
pub const NAME: &str = "websocket";

/// What carries a connection after its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// The bare socket.
    Socket,
    /// The body of the handshake's answer, which whatever stands around the routes of the server sees go by.
    Body,
}

mod body;
mod closing;
mod conversation;
mod frame;
mod handler;
mod handover;
mod inbound;
mod raw;
mod reader;
mod upgrade;

pub use self::{
    handler::{ConnectionHandler, Incoming, Outgoing},
    reader::{FrameReader, FrameRules, Received},
    upgrade::{
        Afterwards, NotAHandshake, Terms, accept_as_body, accept_on_socket, check, close_after_upgrade, has_body,
    },
};
