//! `GET /order-status`: the handshake, and the connection that follows it.
//!
//! ```text
//! socket ── bytes ──► incoming, reader ── messages ──► speaker (a viewer's session) ── finished frames ──► socket
//!           `upgrade` begins it, `connection` carries it, `farewell` is what is told to who may not stay
//! ```

mod connection;
mod farewell;
mod incoming;
mod membership;
mod reader;
mod speaker;
mod upgrade;
mod viewing;

pub use self::{
    reader::{FrameReader, FrameRules, Received},
    speaker::Speaker,
    upgrade::{order_status, speak},
};
