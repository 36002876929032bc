//! The WebSocket: the handshake, and the connection that follows it.
//!
//! ```text
//! socket ── bytes ──► inbound, reader ── messages ──► handler (a viewer's connection) ── messages ──► frame ──► socket
//!           `upgrade` begins it, `connection` carries it, `closing` ends it
//! ```

/// How operators see it, in the list of sessions and in metrics.
pub const NAME: &str = "websocket";

mod closing;
mod connection;
mod frame;
mod handler;
mod inbound;
mod reader;
mod upgrade;

pub use self::{
    handler::{ConnectionHandler, Incoming, Outgoing},
    reader::{FrameReader, FrameRules, Received},
    upgrade::{NotAHandshake, accept, check, close_after_upgrade, has_body},
};
