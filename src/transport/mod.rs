//! From a session to its client and back, over whatever carries messages: one room per transport, and what all of them share.
//!
//! ```text
//!   client ── bytes ──► a transport ── text ──► viewer: a session, registered in the hub ── messages ──► the transport ──► client
//! ```
//!
//! A [`ViewerConnection`] knows no bytes, no frames and no sockets. A transport feeds it with what its client says, polls it and
//! writes what it gives, each in its own way; how it begins and ends a connection is its own matter, too.

mod alarms;
mod context;
mod instance;
pub mod poll;
mod progress;
mod registration;
pub mod sse;
mod viewer;
pub mod websocket;
mod worker;

pub use self::{
    context::{SessionLimits, ViewerContext},
    instance::Instance,
    viewer::{Arrival, ViewerConnection},
    worker::Worker,
};
pub use crate::session::Beginning;
